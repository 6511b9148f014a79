"""``customer_lifetime``: what each customer spent, is expected to spend in 90 and 365 days, and whether it still buys.

Made from a published version alone, as of it, so that the same version gives the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb
import pandas as pd

from customer360.lake.publishing.tables import TABLES
from ml.lifetime.forecasts import MOST_CUSTOMERS, Known, buying_of, forecasts, purchasing_of
from ml.lifetime.histories import first_known
from ml.lifetime.judging import Judged, judge

TABLE, BACKTEST = "customer_lifetime", "lifetime_backtest"
HORIZONS = (90, 365)
NO_ORDER = "no order yet"


@dataclass(frozen=True)
class Lifetime:
    """The rows of both tables, and by horizon in days why it has no expectations."""

    rows: pd.DataFrame
    backtest: pd.DataFrame
    missing: dict[int, str]


def customer_lifetime(connection: duckdb.DuckDBPyConnection, as_of: datetime, zone: str) -> Lifetime:
    """``customer_lifetime`` and ``lifetime_backtest`` of the customers in ``customer_features``, as of a moment (plain UTC)."""
    known = known_at(connection, as_of, zone)
    customers = known.histories(1)
    rows = customers[["customer_id", "first_ordered_at", "last_ordered_at"]].assign(
        orders=customers["orders"], spend_to_date=customers["spend"], probability_alive=_alive(known, customers)
    )
    missing: dict[int, str] = {}
    backtest: list[pd.DataFrame] = []
    for days in HORIZONS:
        try:
            judged, expected = expected_spend(known, days)
        except ValueError as problem:
            missing[days] = str(problem)
            continue
        rows[f"expected_spend_{days}d"], rows[f"method_{days}d"] = expected.to_numpy(), judged.serves
        backtest.append(_backtest_rows(judged, known, days))
    everybody = connection.execute("select customer_id from customer_features order by customer_id").df()
    rows = everybody.merge(rows, on="customer_id", how="left")
    reason = "; ".join(f"{days} days: {problem}" for days, problem in missing.items()) or None
    rows["reason"] = pd.Series([reason] * len(rows), dtype="object").where(rows["orders"].notna(), NO_ORDER)
    rows = rows.assign(orders=rows["orders"].fillna(0), spend_to_date=rows["spend_to_date"].fillna(0), as_of=as_of)
    return Lifetime(TABLES[TABLE].typed(rows), pd.concat([TABLES[BACKTEST].empty(), *backtest], ignore_index=True), missing)


def known_at(connection: duckdb.DuckDBPyConnection, as_of: datetime, zone: str) -> Known:
    """What ``order_amounts`` tells as of a moment (plain UTC); models are fitted on at most ``MOST_CUSTOMERS``."""
    first, customers = first_known(connection, as_of)
    days = (as_of - first).total_seconds() / 86_400 if first else 0.0
    return Known(connection, as_of, zone, days, -(-customers // MOST_CUSTOMERS) or 1)


def expected_spend(known: Known, horizon_days: int) -> tuple[Judged, pd.Series[float]]:
    """How the methods did, and by that which serves the spend to expect of each customer with an order, in the order of ids.

    Raises ``ValueError`` where the history is shorter than the horizon, or too little of it to learn from or to judge by.
    """
    if known.history_days < horizon_days:
        raise ValueError(f"the shop's history of {known.history_days:.0f} days is shorter than what is to be forecast")
    judged = judge(known, horizon_days)
    customers = known.histories(known.learned_days(horizon_days))
    return judged, pd.Series(forecasts(known, customers, horizon_days)[judged.serves], customers["customer_id"])


def _alive(known: Known, customers: pd.DataFrame) -> pd.Series[float] | None:
    try:
        return pd.Series(purchasing_of(known).alive(buying_of(customers)), customers.index)
    except ValueError:  # nobody has bought on two days
        return None


def _backtest_rows(judged: Judged, known: Known, horizon_days: int) -> pd.DataFrame:
    rows = judged.table.assign(
        horizon_days=horizon_days,
        judged_from=known.moment - pd.Timedelta(days=judged.days),
        judged_until=known.moment,
        customers=judged.customers,
        is_serving=judged.table["method"] == judged.serves,
        reason=judged.reason,
        as_of=known.moment,
    )
    return TABLES[BACKTEST].typed(rows)
