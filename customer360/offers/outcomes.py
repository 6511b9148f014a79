"""``offer_decisions``: every decision that was answered, with what events say became of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from customer360.lake.engine import column_types, file_list, literal, row_count, transaction
from customer360.lake.publishing.tables import TABLES
from customer360.lake.slices import EPOCH, event_slice_minutes, naive, slice_key
from customer360.lake.warehouse.unchanged import set_built_contents
from customer360.offers.conditions import SEPARATOR
from customer360.offers.landed import read_paths
from customer360.offers.log import DecisionRecord
from customer360.settings import Settings

NAME = "offer_decisions"
TABLE = f"marts.{NAME}"
READ = "ops.offer_decision_files"  # the raw slices that the table was made of, and when they were written
DECIDED = DecisionRecord.__struct_fields__
KEPT = timedelta(days=90)  # decisions of so many days are published; raw keeps more


def rebuild(
    connection: duckdb.DuckDBPyConnection, settings: Settings, content: str, changed: bool, *, anew: bool = False
) -> bool:
    """Bring the table up to raw and to the events of the last slice; returns whether it was made again, as ``content``.

    Decisions are taken from the table itself where raw has only later slices than it was made of: 90 days are thousands of
    files. ``anew``: all from raw. Nothing is done where there was no decision and none came (``changed``).
    """
    contract = TABLES[NAME]
    known = connection.execute("select 1 from duckdb_tables() where schema_name = 'marts' and table_name = ?", [NAME])
    is_there = known.fetchone() is not None and column_types(connection, TABLE) == contract.duckdb_types
    if is_there and not changed and not row_count(connection, TABLE):
        return False
    (as_of,) = connection.execute("select max(as_of) from ops.clock").fetchone() or (None,)
    since = (as_of.replace(tzinfo=UTC) if as_of else EPOCH + KEPT) - KEPT
    files = {path.parent.name: path for path in read_paths(settings.place.raw, since)}
    states = {key: path.stat().st_mtime_ns for key, path in files.items()}
    with transaction(connection):
        connection.execute(f"create table if not exists {READ} (slice_key varchar, modified_ns bigint)")
        remembered = f"from {READ} where slice_key >= ?"
        read: dict[str, int] = dict(connection.execute(remembered, [f"slice_key={slice_key(since)}"]).fetchall())
        later = files.keys() - read.keys()
        goes_on = is_there and not anew and read.items() <= states.items() and min(later, default="~") > max(read, default="~")
        decisions = _decisions(since, [files[key] for key in sorted(later if goes_on else files)], goes_on)
        rows = contract.select_casts(_query(settings, since, decisions)) if files else contract.no_rows
        connection.execute(f"create or replace table {TABLE} as {rows}")
        connection.execute(f"delete from {READ}")
        read_now = "select unnest(?::varchar[]), unnest(?::bigint[])"
        connection.execute(f"insert into {READ} {read_now}", [[*states.keys()], [*states.values()]])
        set_built_contents(connection, [NAME], content)
    return True


def _decisions(since: datetime, files: list[Path], goes_on: bool) -> str:
    """SQL of the decisions of these raw files, each once, and with ``goes_on`` of those that the table has."""
    known = f"select {', '.join(DECIDED)} from {TABLE} where decided_at >= {_moment(since)}"
    if not files:
        return known
    text = "array_to_string({0}, " + literal(SEPARATOR) + ") as {0}"
    lists = ", ".join(text.format(name) for name in ("candidates", "propensities", "top_products", "session_products"))
    read = f"""
        select {", ".join(DECIDED)}
        from (select * replace ({lists}) from read_parquet({file_list(files)}, hive_partitioning = false))
        where decided_at >= {_moment(since)}
        qualify row_number() over (partition by decision_id order by slice, source_file, source_line) = 1
    """
    return f"{known} union all from ({read}) anti join {TABLE} using (decision_id)" if goes_on else read


def _moment(at: datetime) -> str:
    return f"timestamp '{naive(at)}'"


def _query(settings: Settings, since: datetime, decisions: str) -> str:
    """SQL of the rows, by decided_at, of SQL of the decisions.

    An event belongs to the decision that it names. One that names none belongs to the newest decision of its offer to the same
    customer or visitor, made before the end of the event's slice and at most ``attribution_days`` before its start.
    """
    shop = settings.shop
    minutes, days = event_slice_minutes(shop.slice_minutes), shop.campaigns.attribution_days
    first = _moment(since)
    return f"""
        with decisions as materialized ({decisions}),
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
        select decisions.*, cast(timezone({literal(shop.time_zone)}, timezone('UTC', decided_at)) as date) as decision_date,
            coalesce(is_shown, false) as is_shown, coalesce(is_clicked, false) as is_clicked,
            coalesce(orders, 0) > 0 as is_bought, coalesce(orders, 0) as orders, coalesce(revenue, 0) as revenue
        from decisions left join outcomes using (decision_id)
        order by decided_at, decision_id
    """
