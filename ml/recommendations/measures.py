"""How good ranked products are: recall, NDCG, reciprocal rank, coverage and novelty, with intervals, by length of history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ml.arrays import Floats, Integers, Texts
from ml.bootstrap import Interval, clustered_mean_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SEED = 360
TOP, LONGER = 10, 20
LENGTHS = (0, 1, 2, 5, 20)
EVERY = "all"


@dataclass(frozen=True)
class Ranking:
    """What a method recommended in each case, and what was then taken.

    ``products``: cases x at most ``LONGER`` codes, the best first, -1 where there is none. ``taken``: the codes of each case.
    ``lengths``: events of the history. ``clusters``: the customer or visitor of each case. ``shares``: each product's share of
    all interactions before. Recall is that of all that was taken (Hu et al., 2020); of one product it is the hit rate.
    """

    products: Integers
    taken: Sequence[Integers]
    lengths: Integers
    clusters: Texts
    shares: Floats

    def hits(self) -> Floats:
        """Cases x places: whether the product was taken."""
        sizes = [len(taken) for taken in self.taken]
        codes = np.concatenate([np.empty(0, dtype=np.int64), *self.taken])
        width = max(self.products.max(initial=0), codes.max(initial=0)) + 3  # codes begin at -2
        of_case = np.arange(len(sizes)) * width
        return np.isin(of_case[:, None] + self.products, np.repeat(of_case, sizes) + codes).astype(np.float64)

    def recalls(self) -> Floats:
        """Recall at 10 of each case."""
        sizes = np.array([len(taken) for taken in self.taken])
        return np.asarray(self.hits()[:, :TOP].sum(axis=1) / sizes, dtype=np.float64)


@dataclass(frozen=True)
class Split:
    """Cases of one time (plain UTC), ranked by each method from what was known at its beginning."""

    begins: datetime
    ends: datetime
    rankings: Mapping[str, Ranking]


@dataclass(frozen=True)
class Comparison:
    """Methods on the cases of all splits, and the first of them beside the best of the others by recall at 10.

    ``table``: see ``measured``. ``by_split``: its rows as the split ``all``, and of each split (1 for the oldest) those of all
    histories, with split, judged_from and judged_until (plain UTC). ``gain``: recall at 10 of the first method less that of
    ``best``, users drawn whole.
    """

    table: pd.DataFrame
    by_split: pd.DataFrame
    first: str
    best: str
    gain: Interval
    splits: int

    @property
    def difference(self) -> str:
        """The gain with its interval, in words."""
        return f"{self.gain.estimate:+.4f} recall at 10, {self.gain.low:+.4f} to {self.gain.high:+.4f}"


def compare(splits: Sequence[Split]) -> Comparison:
    """Compare the methods of at least one split with a case; codes of products are the same in all of them."""
    first = next(iter(splits[0].rankings))
    rankings = {name: _together([split.rankings[name] for split in splits]) for name in splits[0].rankings}
    table = measured(rankings)
    every = {EVERY: Split(splits[0].begins, splits[-1].ends, rankings)}
    parts = [
        (table if name == EVERY else measured(split.rankings, classes=())).assign(
            split=name, judged_from=split.begins, judged_until=split.ends
        )
        for name, split in {**every, **{str(number): split for number, split in enumerate(splits, 1)}}.items()
    ]
    overall = table[table["history"] == EVERY].set_index("method")["recall_10"]
    best = str(overall.drop(first).idxmax())
    gain = clustered_mean_interval(rankings[first].recalls() - rankings[best].recalls(), rankings[first].clusters, SEED)
    return Comparison(table, pd.concat(parts, ignore_index=True), first, best, gain, len(splits))


def measured(rankings: Mapping[str, Ranking], classes: Iterable[int] = range(len(LENGTHS))) -> pd.DataFrame:
    """One row a method and length of history ("all", and each class from ``LENGTHS[class]`` on): cases, users and measures.

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
        lengths = np.searchsorted(LENGTHS, ranking.lengths, side="right") - 1
        for number in (-1, *classes):
            chosen = np.ones(len(hits), dtype=bool) if number < 0 else lengths == number
            if not chosen.any():
                continue
            shown = ranking.products[chosen, :TOP]
            shown = shown[shown >= 0]
            found = clustered_mean_interval(recalls[chosen], ranking.clusters[chosen], SEED)
            rows.append(
                {
                    "method": name,
                    "history": EVERY if number < 0 else _named(number),
                    "cases": int(chosen.sum()),
                    "users": len(np.unique(ranking.clusters[chosen].astype(str))),
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
    by_length = found[found["history"] != EVERY]
    for name, rows in by_length.groupby("method", sort=False):
        errors = np.maximum([rows["recall_10"] - rows["low"], rows["high"] - rows["recall_10"]], 0)
        axes.errorbar(rows["history"], rows["recall_10"], yerr=errors, marker="o", markersize=3, linewidth=1, label=str(name))
    axes.set(xlabel="events of the history", ylabel="recall at 10", ylim=(0, None))
    axes.legend(fontsize=7, frameon=False)


def _together(parts: Sequence[Ranking]) -> Ranking:
    return Ranking(
        np.concatenate([part.products for part in parts]),
        [taken for part in parts for taken in part.taken],
        np.concatenate([part.lengths for part in parts]),
        np.concatenate([part.clusters for part in parts]),
        parts[-1].shares,
    )


def _named(number: int) -> str:
    if number == len(LENGTHS) - 1:
        return f"{LENGTHS[number]} and more"
    low, high = LENGTHS[number], LENGTHS[number + 1] - 1
    return str(low) if low == high else f"{low} to {high}"
