"""A place whose population is many times what was simulated, at the same rate a customer, made by SQL at slice grain.

Replica k of a customer lives k days later than the simulated one, and what runs past the end of the history goes on at its
beginning, so that no two of up to sixty replicas are alike in recency, windows or segments. Its ids end in ``-k``; replica 0 is
the simulated population as it was. The pipeline keeps slice-grain rows and ids in the tables of ``ENLARGED``; they are filled
here, each day in the order of its slices, as a history load leaves them. Everything that follows from them is left to
``history_job``, for which the reference files are enlarged too and all event slices are marked as touched. The raw files of the
history stay those of the simulated population, since no slice reads them; so the slice log has no entry for a slice that was
empty then.
"""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import duckdb

from customer360.lake.engine import literal, quoted
from customer360.lake.landing.listing import list_slice
from customer360.lake.slices import naive, slice_folder
from customer360.lake.warehouse.warehouse import open_warehouse
from customer360.settings import Settings

ENLARGED = (
    "ops.click_ids",
    "intermediate.int_activity_by_slice",
    "intermediate.int_campaign_activity_by_slice",
    "intermediate.int_offer_activity_by_slice",
    "intermediate.int_purchases_by_slice",
    "intermediate.int_sources_by_slice",
    "intermediate.int_visit_starts_by_slice",
    "intermediate.int_visitor_links_by_slice",
)
OWN_IDS = {"customer_id", "visitor_id", "order_id", "session_id", "event_id", "touch_id"}
VISITORS = "visitors"  # a number of them, in a table without their ids: added up over the replicas
POPULATION_TABLES = ("customers", "campaign_touches")


def enlarge(settings: Settings, times: int) -> None:
    """Make the warehouse and the reference files of a loaded history those of ``times`` as many customers.

    The place is one after ``history_job``, without live slices; ``history_job`` has to run again.
    """
    if times == 1:
        return
    with open_warehouse(settings.place) as connection:
        start = f"timestamp '{naive(settings.shop.slices_start)}'"
        (days,) = connection.execute(
            f"select ceil(date_diff('minute', min(slice), {start}) / 1440)::integer from ops.slice_log"
        ).fetchone() or (0,)
        for table in ENLARGED:
            _enlarge_table(connection, table, times, f"{start} - interval '{days}' day", days)
        connection.execute(
            """
            update ops.slice_log set lines = counted.ids + duplicates, good = counted.ids
            from (select slice, count(*) as ids from ops.click_ids group by slice) as counted
            where slice_log.slice = counted.slice;
            insert into ops.touched_event_slices select distinct event_slice from intermediate.int_activity_by_slice
            """
        )
    for name in POPULATION_TABLES:
        shutil.rmtree(settings.place.raw / name, ignore_errors=True)
        for path in (settings.place.landing / "reference" / name).glob("*.csv"):
            _enlarge_csv(path, times)


def _enlarge_table(connection: duckdb.DuckDBPyConnection, table: str, times: int, first: str, days: int) -> None:
    """Add the replicas, and bring all rows into the order of their slices, a day of the history at a time."""
    columns = {name: kind for name, kind, *_ in connection.execute(f"describe {table}").fetchall()}
    shift = "to_days(cast(replica.day - base.day as integer))"
    chosen = ", ".join(f"{_of_replica(name, kind, shift)} as {quoted(name)}" for name, kind in columns.items())
    connection.execute(
        f"create or replace temp table base as select *, date_diff('minute', {first}, slice) // 1440 as day from {table}; "
        f"delete from {table}"
    )
    for day in range(days):
        connection.execute(
            f"""
            insert into {table}
            select {chosen}
            from base
            inner join (
                select number, ({day} - number % {days} + {days}) % {days} as from_day, {day} as day
                from range({times}) as replicas (number)
            ) as replica on base.day = replica.from_day
            {"group by all" if VISITORS in columns else ""} order by 1
            """
        )
    connection.execute("drop table base; checkpoint")


def _of_replica(name: str, kind: str, shift: str) -> str:
    own = f"base.{quoted(name)}"
    if kind == "TIMESTAMP":
        return f"{own} + {shift}"
    if name == VISITORS:
        return f"sum({own})::{kind}"
    if name in OWN_IDS:
        return f"case when replica.number = 0 then {own} else {own} || '-' || replica.number end"
    if name == "event_key":  # 63 bits, as those of event ids are
        return f"case when replica.number = 0 then {own} else cast(hash({own}, replica.number) >> 1 as bigint) end"
    return own


def _enlarge_csv(path: Path, times: int) -> None:
    """Replace a reference file by one with every row ``times`` over."""
    target = path.with_suffix(".parquet")
    with duckdb.connect() as connection:
        relation = f"read_csv({literal(str(path))}, all_varchar = true)"
        names = [name for name, *_ in connection.execute(f"describe from {relation}").fetchall()]
        chosen = ", ".join(
            f"case when number = 0 then {quoted(name)} else {quoted(name)} || '-' || number end as {quoted(name)}"
            if name in OWN_IDS
            else quoted(name)
            for name in names
        )
        connection.execute(
            f"copy (select {chosen} from {relation} cross join range({times}) as replicas (number)) "
            f"to {literal(str(target))} (format parquet)"
        )
    path.unlink()


def enlarge_landed(settings: Settings, times: int) -> int:
    """Give the landed first slice the same events of every replica, in one more file; the number of lines."""
    start = settings.shop.slices_start
    lines = [json.loads(line) for file in list_slice(settings.place.landing, start).files for line in _lines(file.path)]
    if times > 1:
        replicas = (_line_of_replica(line, number) for number in range(1, times) for line in lines)
        target = slice_folder(settings.place.landing / "clicks", start) / f"replicas-{naive(start):%Y%m%dT%H%M}.jsonl.gz"
        target.write_bytes(gzip.compress(b"".join(replicas), 1))
    return len(lines) * times


def _lines(path: Path) -> list[bytes]:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines()


def _line_of_replica(line: dict[str, Any], number: int) -> bytes:
    own = {name: f"{value}-{number}" if name in OWN_IDS and value is not None else value for name, value in line.items()}
    return json.dumps(own, separators=(",", ":")).encode() + b"\n"
