"""Scores that were kept beside the same scores made again: equal to the last bit, or how far apart."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ml.frames import require_columns

KEY = ["customer_id", "category_id"]


@dataclass(frozen=True)
class Comparison:
    """Rows (customer x category) of two tables of scores.

    ``largest`` is the largest difference between two probabilities; ``customers`` are those with a row that is not equal, the
    one with the largest difference first.
    """

    equal: int
    different: int
    only_kept: int
    only_recomputed: int
    largest: float
    customers: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Every row is there on both sides and equal."""
        return self.different == self.only_kept == self.only_recomputed == 0


def compare(kept: pd.DataFrame, recomputed: pd.DataFrame) -> Comparison:
    """Compare two tables of scores by customer and category, in all columns that were kept. Raises ``FrameError``."""
    require_columns(kept, "customer_scores", [*KEY, "probability"])
    measures = [str(name) for name in kept.columns if name not in KEY]
    require_columns(recomputed, "customer_scores", [*KEY, *measures])
    both = kept.merge(recomputed, on=KEY, how="outer", suffixes=("_kept", "_now"), indicator=True)
    is_equal = both["_merge"] == "both"
    for measure in measures:
        is_equal &= both[f"{measure}_kept"] == both[f"{measure}_now"]
    distance = (both["probability_kept"] - both["probability_now"]).abs()
    unequal = both.assign(distance=distance.fillna(1.0))[~is_equal]
    worst = unequal.groupby("customer_id")["distance"].max().sort_values(ascending=False, kind="stable")
    sides = both["_merge"].value_counts()
    return Comparison(
        equal=int(is_equal.sum()),
        different=int(sides["both"] - is_equal.sum()),
        only_kept=int(sides["left_only"]),
        only_recomputed=int(sides["right_only"]),
        largest=float(distance.max()) if distance.notna().any() else 0.0,
        customers=tuple(str(customer) for customer in worst.index),
    )
