"""The ETL on DuckDB: one query over the three files that reads each of them once for all windows."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.reference.columns import (
    ACTIVITY,
    AS_OF,
    BROWSING,
    COLUMNS,
    CUSTOMER,
    FREQUENCY,
    MONETARY,
    PRODUCTS,
    PURCHASE,
    RECENCY,
    RFM_DAYS,
    WINDOWS,
    each_slice,
)
from customer360.lake.engine import connect, file_literal


def write_profiles(folder: Path, number: int, target: Path) -> None:
    """Write the profiles of a slice; see ``columns``."""
    with tempfile.TemporaryDirectory() as spill, connect(Path(spill)) as connection:
        connection.execute(f"copy ({_query(folder, number)}) to {file_literal(target)} (header)")


def _query(folder: Path, number: int) -> str:
    seconds = [
        f"sum(category_{product}) filter (where {_within('userDatetime', days)}) as {product}count_{days}d"
        for days in WINDOWS
        for product in PRODUCTS
    ]
    spend = [_spend(product, days, f"{product}spend_{days}d") for days in WINDOWS for product in PRODUCTS]
    monetary = [_spend(product, RFM_DAYS, column) for product, column in zip(PRODUCTS, MONETARY, strict=True)]
    labels = [f"when {product}spend_{min(WINDOWS)}d > 0 then {place}" for place, product in enumerate(PRODUCTS, 1)]
    amounts = [f"round(coalesce({column}, 0), 2) as {column}" for column in (*ACTIVITY, *MONETARY)]
    return f"""
        with

        browsing as (

            select customerID, {", ".join(seconds)}
            from {_table(folder / f"browsing_{number}.csv", BROWSING, header=True)}
            where {_within("userDatetime", max(WINDOWS))}
            group by customerID

        ),

        purchases as (

            select
                customerID,
                date_diff('day', max(purchased_at), timestamp '{AS_OF}') as {RECENCY},
                count(*) as purchase_count,
                {", ".join([*spend, *monetary])}
            from {_table(folder / "purchase.csv", PURCHASE)}
            where {_within("purchased_at", RFM_DAYS)}
            group by customerID

        ),

        profiles as (

            select
                customers.*,
                {RECENCY},
                coalesce(purchase_count, 0) as {FREQUENCY},
                case {" ".join(labels)} else 0 end as label,
                {", ".join(amounts)}
            from {_table(folder / "customer.csv", CUSTOMER)} as customers
            left join browsing using (customerID)
            left join purchases using (customerID)

        )

        select {", ".join(COLUMNS)} from profiles order by customerID
    """


def _spend(product: str, days: int, name: str) -> str:
    return f"sum(amount) filter (where product = '{product}' and {_within('purchased_at', days)}) as {name}"


def _within(column: str, days: int) -> str:
    moment = f"timestamp '{AS_OF}'"
    return f"({column} >= {moment} - interval {days} day and {column} < {moment})"


def _table(path: Path, columns: dict[str, str], *, header: bool = False) -> str:
    return f"read_csv({file_literal(path)}, header = {header}, columns = {columns})"


if __name__ == "__main__":
    each_slice("duckdb", write_profiles)
