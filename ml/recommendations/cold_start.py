"""``cold_start``: what visitors saw next who began as this one does, for those of whom nothing else is known.

A beginning is the category, referrer and device of a visitor's first event. The probability of a product after it is the share
among those who began so, smoothed towards that of the wider beginning (category and referrer, category, all visits) with the
weight of so many visitors as tell the newest days best: hierarchical smoothing with a Dirichlet prior (MacKay and Peto, A
hierarchical Dirichlet language model, 1995). Visitors count half as much after each week.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from customer360.lake.engine import literal, transaction
from customer360.lake.publishing.tables import TABLES
from customer360.lake.warehouse.frames import replace_table
from customer360.recommendations.recommend import DIRECT, IS_POPULAR, UNKNOWN, cold_start_entry
from ml.arrays import Floats, Integers
from ml.bootstrap import Interval, interval, resamples
from ml.recommendations.measures import SEED, TOP

TABLE = "cold_start"
COUNT = 20
WINDOW_DAYS, HALF_LIFE_DAYS, JUDGED_DAYS = 30, 7, 3
LEAST_SEEN = 20  # products seen after a beginning, for it to have rows of its own
MOST_REFERRERS, MOST_DEVICES = 20, 5  # free text: others have the wider beginnings
STRENGTHS = (20.0, 100.0, 500.0)
KEPT = 2 * COUNT  # products of a beginning that a narrower one may have without having seen them
PARTS = ("category_id", "referrer", "device")

_BEGUN = f"""
with starts as (
    select s.event_slice, coalesce(s.category_id, p.category_id, {literal(UNKNOWN)}) as category_id,
        s.referrer, s.device, s.product_id, s.visitors, epoch(n.as_of - s.event_slice) / 86400.0 as days
    from intermediate.int_visit_starts_by_slice as s cross join (select cast($as_of as timestamp) as as_of) as n
    left join (select product_id, category_id from raw.products where valid_to is null) as p
        on p.product_id = s.first_product_id
    where s.slice < n.as_of and s.event_slice < n.as_of and s.event_slice >= n.as_of - to_days({WINDOW_DAYS})
),
referrers as (select referrer from starts group by referrer order by sum(visitors) desc, referrer limit {MOST_REFERRERS}),
devices as (select device from starts group by device order by sum(visitors) desc, device limit {MOST_DEVICES})
select case when days <= {JUDGED_DAYS} then event_slice end as judged_slice, category_id, r.referrer, d.device, product_id,
    cast(sum(visitors) as bigint) as visitors,
    -- decimal, so that it does not depend on the order of the rows
    cast(sum(cast(visitors * power(.5, days / {HALF_LIFE_DAYS}) as decimal(18, 9))) as double) as weight
from starts left join referrers as r using (referrer) left join devices as d using (device)
group by all order by all
"""


@dataclass(frozen=True)
class ColdStart:
    """The rows of ``cold_start``, and what served and why: by the newest days, of what was learned before them.

    ``recall`` at 10 of products by beginning, ``popularity_recall`` without it; ``gain``: their difference, slices drawn whole.
    None where nothing can be judged. ``strength``: visitors that the wider beginning counts for.
    """

    rows: pd.DataFrame
    strength: float
    recall: float | None = None
    popularity_recall: float | None = None
    gain: Interval | None = None

    @property
    def is_better(self) -> bool:
        """Better than decayed popularity beyond chance; until then that serves, for all beginnings alike."""
        return self.gain is not None and self.gain.low > 0

    @property
    def reason(self) -> str:
        """The comparison in a sentence."""
        if self.gain is None:
            return f"popularity serves: no visit of the last {JUDGED_DAYS} days can be judged by those before"
        found = f"{self.gain.estimate:+.4f} recall at 10, {self.gain.low:+.4f} to {self.gain.high:+.4f}"
        if self.is_better:
            return f"products by beginning are better than decayed popularity ({found})"
        return f"popularity serves until products by beginning beat it: they are not better beyond chance ({found})"


@dataclass(frozen=True)
class _Begun:
    """Products seen after beginnings, in the order of their beginnings; codes of names, -1 where there is none.

    ``parts``: rows x ``PARTS``. ``judged``: code of the slice, where it is among the newest days.
    """

    parts: Integers
    products: Integers
    visitors: Integers
    weights: Floats
    judged: Integers

    def __getitem__(self, rows: slice | Integers) -> _Begun:
        return _Begun(self.parts[rows], self.products[rows], self.visitors[rows], self.weights[rows], self.judged[rows])


@dataclass(frozen=True)
class _Entry:
    """The products after a beginning, the most probable first, and how many were seen after it."""

    products: Integers
    scores: Floats
    seen: int


def refresh_cold_start(connection: duckdb.DuckDBPyConnection, as_of: datetime | None) -> ColdStart:
    """Replace ``predictions.cold_start`` in the warehouse; see ``cold_start``."""
    found = cold_start(connection, as_of)
    with transaction(connection):
        rows = pa.Table.from_pandas(found.rows, TABLES[TABLE].arrow_schema, preserve_index=False)
        replace_table(connection, f"predictions.{TABLE}", rows)
    return found


def cold_start(connection: duckdb.DuckDBPyConnection, as_of: datetime | None) -> ColdStart:
    """The products after each beginning as of a moment (plain UTC; None before the first slice), by the warehouse's tables."""
    frame = connection.execute(_BEGUN, {"as_of": as_of}).df()
    coded = {name: pd.factorize(frame[name], sort=True) for name in ("judged_slice", *PARTS, "product_id")}
    names = {name: values for name, (_, values) in coded.items()}
    parts = np.column_stack([coded[name][0] for name in PARTS]).astype(np.int64)
    order = np.lexsort(parts.T[::-1])
    begun = _Begun(
        parts,
        coded["product_id"][0].astype(np.int64),
        frame["visitors"].to_numpy(np.int64),
        frame["weight"].to_numpy(np.float64),
        coded["judged_slice"][0].astype(np.int64),
    )[order]
    count = len(names["product_id"])
    before, newest = begun[np.flatnonzero(begun.judged < 0)], begun[np.flatnonzero(begun.judged >= 0)]
    tried = {strength: _hits(dict(_entries(before, count, strength)), newest) for strength in STRENGTHS}
    strength = max(STRENGTHS, key=lambda value: tried[value][:, 0].sum())
    judged = tried[strength]
    found = ColdStart(pd.DataFrame(), strength)
    if judged[:, 2].sum() > 0 and len(before.products):
        recall, popular = judged[:, :2].sum(axis=0) / judged[:, 2].sum()
        found = ColdStart(pd.DataFrame(), strength, float(recall), float(popular), _gain(judged))
    entries = [(entry, value) for entry, value in _entries(begun, count, strength) if found.is_better or not entry]
    titles = dict(connection.execute("select category_id, name from raw.categories where valid_to is null").fetchall())
    rows = [row for entry, value in entries for row in _rows(entry, value, names, titles)]
    return replace(found, rows=TABLES[TABLE].typed(pd.DataFrame(rows).assign(as_of=as_of) if rows else []))


def _entries(begun: _Begun, count: int, strength: float) -> Iterator[tuple[tuple[int, ...], _Entry]]:
    """Each beginning, by the codes of its parts, after the wider ones."""
    yield from _descend(begun, (), np.zeros(count), np.empty(0, dtype=np.int64), strength)


def _descend(
    begun: _Begun, entry: tuple[int, ...], wider: Floats, candidates: Integers, strength: float
) -> Iterator[tuple[tuple[int, ...], _Entry]]:
    seen = int(begun.visitors.sum())
    if seen < LEAST_SEEN:
        return
    weights = np.bincount(begun.products, begun.weights, minlength=len(wider))
    share = strength if entry else 0.0
    scores = (weights + share * wider) / (begun.weights.sum() + share)
    candidates = np.unique(np.concatenate([begun.products, candidates]))
    best = candidates[np.argsort(-scores[candidates], kind="stable")][:KEPT]
    yield entry, _Entry(best, scores[best], seen)
    if len(entry) < len(PARTS):
        column = begun.parts[:, len(entry)]
        values, starts = np.unique(column, return_index=True)
        for value, start, end in zip(values, starts, [*starts[1:], len(column)], strict=True):
            if value >= 0:
                yield from _descend(begun[slice(start, end)], (*entry, int(value)), scores, best, strength)


def _hits(entries: dict[tuple[int, ...], _Entry], newest: _Begun) -> Floats:
    """Slices x (seen among the 10 of their beginning, among the 10 popular ones, seen)."""
    hit = np.zeros((len(newest.products), 3))
    kinds, of = np.unique(newest.parts, axis=0, return_inverse=True)
    every = entries.get(())
    for number, parts in enumerate(kinds.tolist()):
        rows = np.flatnonzero(of.ravel() == number)
        known = next((entries[tuple(parts[:length])] for length in (3, 2, 1) if tuple(parts[:length]) in entries), every)
        for column, entry in enumerate((known, every)):
            if entry is not None:
                hit[rows, column] = np.isin(newest.products[rows], entry.products[:TOP])
    hit[:, 2] = 1
    return np.column_stack([np.bincount(newest.judged, values * newest.visitors) for values in hit.T])


def _gain(judged: Floats) -> Interval:
    gained, seen = judged[:, 0] - judged[:, 1], judged[:, 2]
    drawn = [gained[rows].sum() / max(seen[rows].sum(), 1) for rows in resamples(len(judged), 1_000, SEED)]
    return interval(float(gained.sum() / seen.sum()), np.array(drawn))


def _rows(
    entry: tuple[int, ...], value: _Entry, names: dict[str, pd.Index[str]], titles: dict[str, str | None]
) -> Iterator[dict[str, object]]:
    parts = {name: str(names[name][code]) for name, code in zip(PARTS, entry, strict=False)}
    reason = IS_POPULAR
    if entry:
        category, referrer = parts["category_id"], parts.get("referrer", DIRECT)
        begin = "begin on other pages" if category == UNKNOWN else f"begin with {titles.get(category) or category}"
        reason = f"liked by visitors who {begin}" if referrer == DIRECT else f"liked by visitors from {referrer} who {begin}"
    shown = zip(value.products[:COUNT], value.scores[:COUNT], strict=True)
    for rank, (product, score) in enumerate(shown, start=1):
        yield {
            "entry": cold_start_entry([*parts.values()]),
            **parts,
            "product_id": str(names["product_id"][product]),
            "rank": rank,
            "score": float(score),
            "reason": reason,
            "seen": value.seen,
        }
