"""``recommendation_backtest``: what the backtests of recommendations measured, for BI."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from customer360.lake.publishing.tables import TABLES
from customer360.lake.warehouse.frames import write_parquet
from customer360.settings import Place
from ml.recommendations.measures import Comparison

TABLE = "recommendation_backtest"
RENAMED = {"low": "recall_10_low", "high": "recall_10_high"}


class Outcome(NamedTuple):
    """A comparison of rankings for one use, which of its methods serves, and why."""

    ranking: str
    comparison: Comparison
    serves: str
    reason: str


def keep_backtest(place: Place, name: str, outcomes: Iterable[Outcome], as_of: datetime) -> None:
    """Replace the rows of an asset: its part of the published table. ``as_of``: plain UTC."""
    frames = [
        outcome.comparison.by_split.rename(columns=RENAMED).assign(
            ranking=outcome.ranking,
            is_serving=outcome.comparison.by_split["method"] == outcome.serves,
            reason=outcome.reason,
            as_of=pd.Timestamp(as_of),
        )
        for outcome in outcomes
    ]
    rows = TABLES[TABLE].typed(pd.concat(frames, ignore_index=True) if frames else [])
    write_parquet(place.recommendations / "backtest" / f"{name}.parquet", rows)
