"""How good ranked products are: recall, NDCG, reciprocal rank, coverage and novelty, with intervals, by length of history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ml.arrays import Floats, Integers, Texts
from ml.bootstrap import clustered_mean_interval

SEED = 360
TOP, LONGER = 10, 20
LENGTHS = (0, 1, 2, 5, 20)


@dataclass(frozen=True)
class Ranking:
    """What a method recommended in each case, and what was then taken.

    ``products``: cases x at most ``LONGER`` codes, the best first, -1 where there is none. ``taken``: the codes of each case.
    ``lengths``: events of the history. ``clusters``: the session or customer of each case. ``shares``: each product's share of
    all interactions before. Recall is that of all that was taken (Hu et al., 2020); of one product it is the hit rate.
    """

    products: Integers
    taken: Sequence[Integers]
    lengths: Integers
    clusters: Texts
    shares: Floats

    def hits(self) -> Floats:
        """Cases x places: whether the product was taken."""
        return np.array([np.isin(row, taken) for row, taken in zip(self.products, self.taken, strict=True)], dtype=np.float64)

    def recalls(self) -> Floats:
        """Recall at 10 of each case."""
        sizes = np.array([len(taken) for taken in self.taken])
        return np.asarray(self.hits()[:, :TOP].sum(axis=1) / sizes, dtype=np.float64)


def measured(rankings: dict[str, Ranking]) -> pd.DataFrame:
    """One row a method and length of history ("all", and from each of ``LENGTHS`` on): cases and measures.

    recall_10 with low and high (95%, cases of a cluster drawn together), ndcg_10 and mrr_20; coverage_10: the share of products
    that anyone was recommended; novelty_10: the mean of -log2 of the recommended products' shares of all interactions.
    """
    rows = []
    for name, ranking in rankings.items():
        hits, recalls = ranking.hits(), ranking.recalls()
        discounts = 1 / np.log2(np.arange(2, TOP + 2))
        ideal = np.array([discounts[: min(TOP, len(taken))].sum() for taken in ranking.taken])
        ndcg = (hits[:, :TOP] * discounts[: hits.shape[1]]).sum(axis=1) / ideal
        reciprocal = (hits / np.arange(1, hits.shape[1] + 1)).max(axis=1)
        classes = np.searchsorted(LENGTHS, ranking.lengths, side="right") - 1
        for number in (-1, *range(len(LENGTHS))):
            chosen = np.ones(len(hits), dtype=bool) if number < 0 else classes == number
            if not chosen.any():
                continue
            shown = ranking.products[chosen, :TOP]
            shown = shown[shown >= 0]
            found = clustered_mean_interval(recalls[chosen], ranking.clusters[chosen], SEED)
            rows.append(
                {
                    "method": name,
                    "history": "all" if number < 0 else _named(number),
                    "cases": int(chosen.sum()),
                    "recall_10": found.estimate,
                    "low": found.low,
                    "high": found.high,
                    "ndcg_10": float(ndcg[chosen].mean()),
                    "mrr_20": float(reciprocal[chosen].mean()),
                    "coverage_10": len(np.unique(shown)) / len(ranking.shares),
                    "novelty_10": float(-np.log2(np.maximum(ranking.shares[shown], 1e-9)).mean()) if len(shown) else np.nan,
                }
            )
    return pd.DataFrame(rows)


def draw_recall(axes: Axes, found: pd.DataFrame) -> None:
    """Recall at 10 by length of history, one line a method, with its interval."""
    by_length = found[found["history"] != "all"]
    for name, rows in by_length.groupby("method", sort=False):
        errors = np.maximum([rows["recall_10"] - rows["low"], rows["high"] - rows["recall_10"]], 0)
        axes.errorbar(rows["history"], rows["recall_10"], yerr=errors, marker="o", markersize=3, linewidth=1, label=str(name))
    axes.set(xlabel="events of the history", ylabel="recall at 10", ylim=(0, None))
    axes.legend(fontsize=7, frameon=False)


def _named(number: int) -> str:
    if number == len(LENGTHS) - 1:
        return f"{LENGTHS[number]} and more"
    low, high = LENGTHS[number], LENGTHS[number + 1] - 1
    return str(low) if low == high else f"{low} to {high}"
