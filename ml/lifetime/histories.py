"""What was known of each customer's orders as of a moment, by ``order_amounts``: no later order, return or late line."""

from __future__ import annotations

from datetime import datetime

import duckdb
import pandas as pd

TABLE = "order_amounts"
FEATURES = (
    *("orders", "order_days", "age_days", "recency_days", "span_days", "gap_days", "overdue"),
    *("spend", "mean_value", "largest_value", "first_value", "last_value", "returned"),
    *("order_days_third", "order_days_window", "spend_window"),
)
_HISTORIES = f"""
with known as (
    select customer_id, order_id, kind, happened_at, amount from {TABLE}
    where happened_at < $moment and known_at <= $moment and hash(customer_id) % $every = 0
),
orders as (
    select customer_id, order_id, min(happened_at) filter (where kind = 'purchase') as ordered_at, sum(amount)::double as spend,
        coalesce(-sum(amount) filter (where kind = 'return'), 0)::double as returned
    from known group by customer_id, order_id
),
days as (
    select customer_id, timezone($zone, timezone('UTC', ordered_at))::date as day, count(*) as orders, sum(spend) as spend,
        min(ordered_at) as first_ordered_at, max(ordered_at) as last_ordered_at
    from orders where ordered_at is not null group by customer_id, day
),
dated as (select *, timezone($zone, timezone('UTC', $moment::timestamp))::date - day as ago from days),
amounts as (select customer_id, sum(spend) as spend, sum(returned) as returned from orders group by customer_id),
customers as (
    select customer_id, sum(orders)::double as orders, count(*)::double as order_days,
        min(first_ordered_at) as first_ordered_at, max(last_ordered_at) as last_ordered_at,
        max(ago)::double as age_days, min(ago)::double as recency_days, max(ago) - min(ago)::double as span_days,
        max(spend) as largest_value, arg_max(spend, ago) as first_value, arg_min(spend, ago) as last_value,
        count(*) filter (where ago < $window / 3)::double as order_days_third,
        count(*) filter (where ago < $window)::double as order_days_window,
        coalesce(sum(spend) filter (where ago < $window), 0) as spend_window
    from dated group by customer_id
)
select *, spend / order_days as mean_value, span_days / greatest(order_days - 1, 1) as gap_days,
    recency_days / (span_days / greatest(order_days - 1, 1) + 1) as overdue
from customers inner join amounts using (customer_id) order by customer_id
"""


def histories(
    connection: duckdb.DuckDBPyConnection, moment: datetime, zone: str, window_days: float, every: int = 1
) -> pd.DataFrame:
    """One row per customer with an order known at ``moment`` (plain UTC): ``FEATURES``, first_ordered_at and last_ordered_at.

    Days are those of ``zone``; orders of a day are one order day, as models of repeat buying count. Amounts are in currency,
    net of the returns known by then. ``..._window``: of the last ``window_days``, ``..._third``: of their last third.
    ``every``: of one in so many customers, drawn by a hash of their ids.
    """
    parameters = {"moment": moment, "zone": zone, "window": window_days, "every": every}
    return connection.execute(_HISTORIES, parameters).df()


def spent_between(
    connection: duckdb.DuckDBPyConnection, start: datetime, end: datetime, known_by: datetime
) -> pd.Series[float]:
    """What each customer spent in [start, end), by what was known at ``known_by``; an index of customer ids.

    Returns of orders of the time count against them, whenever the goods came back; those under a number of their own when made.
    """
    frame = connection.execute(
        f"""
        with orders as (
            select customer_id, order_id,
                coalesce(min(happened_at) filter (where kind = 'purchase'), min(happened_at)) as ordered_at,
                sum(amount)::double as spend
            from {TABLE} where known_at <= $known_by and happened_at < $known_by group by customer_id, order_id
        )
        select customer_id, sum(spend) as spend from orders
        where ordered_at >= $start and ordered_at < $end group by customer_id
        """,
        {"start": start, "end": end, "known_by": known_by},
    ).df()
    return frame.set_index("customer_id")["spend"]


def first_known(connection: duckdb.DuckDBPyConnection, moment: datetime) -> tuple[datetime | None, int]:
    """When the first purchase known at ``moment`` was made (plain UTC; None without), and how many customers have one."""
    first, customers = connection.execute(
        f"select min(happened_at), count(distinct customer_id) from {TABLE} "
        "where kind = 'purchase' and happened_at < $moment and known_at <= $moment",
        {"moment": moment},
    ).fetchone() or (None, 0)
    return first, int(customers)
