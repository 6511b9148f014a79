"""``offer_decisions``: every decision that was answered, with what events say became of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from customer360.lake.engine import column_types, file_list, literal, row_count, transaction
from customer360.lake.publishing.tables import TABLES
from customer360.lake.slices import EPOCH, event_slice_minutes, naive
from customer360.lake.warehouse.unchanged import set_built_contents
from customer360.offers.conditions import SEPARATOR
from customer360.offers.landed import read_paths
from customer360.settings import Settings

NAME = "offer_decisions"
TABLE = f"marts.{NAME}"
KEPT = timedelta(days=90)  # decisions of so many days are published; raw keeps more


def rebuild(connection: duckdb.DuckDBPyConnection, settings: Settings, content: str, changed: bool) -> bool:
    """Bring the table up to raw and to the events of the last slice; returns whether it was made again, as ``content``.

    Nothing is done where there was no decision and none came (``changed``).
    """
    contract = TABLES[NAME]
    known = connection.execute("select 1 from duckdb_tables() where schema_name = 'marts' and table_name = ?", [NAME])
    is_there = known.fetchone() is not None and column_types(connection, TABLE) == contract.duckdb_types
    if is_there and not changed and not row_count(connection, TABLE):
        return False
    (as_of,) = connection.execute("select max(as_of) from ops.clock").fetchone() or (None,)
    since = (as_of.replace(tzinfo=UTC) if as_of else EPOCH + KEPT) - KEPT
    files = read_paths(settings.place.raw, since)
    rows = contract.select_casts(_query(settings, since, files)) if files else contract.no_rows
    with transaction(connection):
        connection.execute(f"create or replace table {TABLE} as {rows}")
        set_built_contents(connection, [NAME], content)
    return True


def _query(settings: Settings, since: datetime, files: list[Path]) -> str:
    """SQL of the rows, by decided_at.

    An event belongs to the decision that it names. One that names none belongs to the newest decision of its offer to the same
    customer or visitor, made before the end of the event's slice and at most ``attribution_days`` before its start.
    """
    shop = settings.shop
    minutes, days = event_slice_minutes(shop.slice_minutes), shop.campaigns.attribution_days
    first = f"timestamp '{naive(since)}'"
    text = "array_to_string({0}, " + literal(SEPARATOR) + ") as {0}"
    lists = ", ".join(text.format(name) for name in ("candidates", "propensities", "top_products", "session_products"))
    return f"""
        with decisions as materialized (
            select * from read_parquet({file_list(files)}, hive_partitioning = false)
            where decided_at >= {first}
            qualify row_number() over (partition by decision_id order by slice, source_file, source_line) = 1
        ),
        lines as (
            select * from intermediate.int_purchases_by_slice
            where event_slice >= {first} and (decision_id is not null or offer_id is not null)
            qualify row_number() over (
                partition by order_id, product_id, line_no, case when unnumbered_amount is not null then event_key end
                order by slice, event_key
            ) = 1
        ),
        reactions as materialized (
            select row_number() over () as reaction, * from (
                select decision_id, offer_id, customer_id, visitor_id, event_slice, shown, clicked,
                    null::varchar as order_id, 0::decimal(18, 2) as amount, false as is_purchase
                from intermediate.int_offer_activity_by_slice
                where event_slice >= {first} and (shown > 0 or clicked > 0)
                union all
                select decision_id, offer_id, customer_id, visitor_id, event_slice, 0, 0, order_id, amount,
                    amount > 0 or (amount = 0 and coalesce(quantity, 1) > 0)
                from lines
            )
            where decision_id is not null or offer_id in (select offer_id from decisions)
        ),
        -- of its customer and of its visitor: an event or a decision may know one of them only
        candidates as (
            select reaction, d.decision_id, d.decided_at
            from (select *, event_slice + interval {minutes} minute as until from reactions where decision_id is null) as r
            asof join decisions as d
                on r.offer_id = d.offer_id and r.customer_id = d.customer_id and r.until >= d.decided_at
            where d.decided_at >= r.event_slice - interval {days} day
            union all
            select reaction, d.decision_id, d.decided_at
            from (select *, event_slice + interval {minutes} minute as until from reactions where decision_id is null) as r
            asof join decisions as d
                on r.offer_id = d.offer_id and r.visitor_id = d.visitor_id and r.until >= d.decided_at
            where d.decided_at >= r.event_slice - interval {days} day
        ),
        attributed as (
            select arg_max(decision_id, (decided_at, decision_id)) as decision_id, reaction from candidates group by reaction
            union all
            select decision_id, reaction from reactions where decision_id is not null
        ),
        outcomes as (
            select attributed.decision_id, sum(shown) > 0 or sum(clicked) > 0 as is_shown, sum(clicked) > 0 as is_clicked,
                count(distinct order_id) filter (where is_purchase) as orders, sum(amount) as revenue
            from attributed inner join reactions using (reaction) group by attributed.decision_id
        )
        select decisions.* replace ({lists}),
            cast(timezone({literal(shop.time_zone)}, timezone('UTC', decided_at)) as date) as decision_date,
            coalesce(is_shown, false) as is_shown, coalesce(is_clicked, false) as is_clicked,
            coalesce(orders, 0) > 0 as is_bought, coalesce(orders, 0) as orders, coalesce(revenue, 0) as revenue
        from decisions left join outcomes using (decision_id)
        order by decided_at, decision_id
    """
