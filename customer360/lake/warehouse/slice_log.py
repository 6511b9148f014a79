"""Which raw slices the warehouse does not hold yet: a transform is planned before dbt and marked after it.

Live slices, late data, repairs, retries, outages and history go the same way: a slice whose raw fingerprint differs from that
of its last transform is pending, and every run transforms all pending slices.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from customer360.lake.engine import file_list, file_literal, quoted, transaction
from customer360.lake.landing.contracts import DUPLICATE_DAYS, EVENT_NAMES, reference_tables
from customer360.lake.landing.listing import NO_FILES
from customer360.lake.raw.history import day_file, history_folder, history_index
from customer360.lake.raw.raw_clicks import METADATA_KEY, PART, RAW_COLUMNS
from customer360.lake.reference.reference_history import reference_relation
from customer360.lake.slices import naive, slice_start
from customer360.lake.warehouse.cutoffs import CUTOFF_COLUMNS, set_first_listing
from customer360.lake.warehouse.reference_lines import create_reference_lines, take_reference_lines
from customer360.settings import REPOSITORY, Settings

LOG_COLUMNS = """
    slice timestamp primary key, source varchar not null, raw_fingerprint varchar not null, raw_modified_ns bigint,
    transformed_fingerprint varchar, files integer, lines bigint, good bigint, quarantined bigint, duplicates bigint,
    repeats bigint, planned_at timestamp, transformed_at timestamp, repaired_at timestamp, is_archived boolean default false
"""
PENDING = "not is_archived and transformed_fingerprint is distinct from raw_fingerprint || '.' || code.fingerprint"


@dataclass(frozen=True)
class Plan:
    """The plan of a transform: the slices that it rewrites (UTC), in time order, and which of them are repairs."""

    pending: list[datetime]
    repaired: list[datetime]
    last_slice: datetime | None


def plan_transform(connection: duckdb.DuckDBPyConnection, settings: Settings, now: datetime) -> Plan:
    """Bring the slice log and the ids up to raw, and set up what dbt reads. One transaction."""
    with transaction(connection):
        _create_tables(connection)
        fingerprint = code_fingerprint(settings)
        is_new_code = is_of_other_code(connection, fingerprint)
        connection.execute("update ops.code set fingerprint = ?", [fingerprint])
        _find_changes(connection, settings)
        repaired = _replace_changed(connection, settings, now)
        _create_views(connection, settings)
        set_first_listing(connection, settings.place)
        _remember_touched(connection, is_new_code)
        _set_clock(connection, settings, now)
        take_reference_lines(connection, settings)
        # From here on their rows may be half rewritten: only the mark makes them transformed again, not the return of old code.
        connection.execute("update ops.slice_log set transformed_fingerprint = null where slice in (from ops.pending_slices)")
        pending = [row[0] for row in connection.execute("select slice from ops.pending_slices order by slice").fetchall()]
        last = connection.execute("select slice from ops.clock").fetchone()
    return Plan(pending, repaired, last[0] if last else None)


def mark_transformed(connection: duckdb.DuckDBPyConnection, now: datetime) -> int:
    """Note, after dbt succeeded, that the pending slices are done. Returns how many there were."""
    with transaction(connection):
        (done,) = connection.execute("select count(*) from ops.pending_slices").fetchone() or (0,)
        connection.execute(
            """
            update ops.slice_log set
                transformed_fingerprint = raw_fingerprint || '.' || (select fingerprint from ops.code),
                transformed_at = ?,
                repeats = good - coalesce(kept.rows, 0)
            from (
                select slice, kept.rows from ops.pending_slices
                left join (select slice, count(*) as rows from staging.stg_clicks group by slice) as kept using (slice)
            ) as kept
            where slice_log.slice = kept.slice
            """,
            [naive(now)],
        )
        connection.execute("delete from ops.touched_event_slices; delete from ops.touched_orders")
    return int(done)


def forget_transforms(connection: duckdb.DuckDBPyConnection) -> None:
    """Make every slice pending: the next run rebuilds the warehouse from raw."""
    connection.execute("update ops.slice_log set transformed_fingerprint = null")


def code_fingerprint(settings: Settings) -> str:
    """Hash of the SQL that makes slice-grain rows, and of the settings in it. A change makes every slice pending."""
    project = REPOSITORY / "dbt_project"
    digest = hashlib.sha256(json.dumps([settings.shop.slice_minutes, *EVENT_NAMES]).encode())
    models = sorted((project / "models").glob("*/by_*slice/*.sql"))
    macros = sorted((project / "macros").glob("*.sql"))
    clicks = sorted((project / "models" / "staging").glob("stg_*clicks.sql"))
    for path in [*models, *clicks, *macros]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def is_of_other_code(connection: duckdb.DuckDBPyConnection, fingerprint: str) -> bool:
    """Whether the warehouse's slice-grain rows were made by other SQL than that of ``code_fingerprint``."""
    return connection.execute("from ops.code where fingerprint <> ?", [fingerprint]).fetchone() is not None


def _create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        f"""
        create table if not exists ops.slice_log ({LOG_COLUMNS});
        create table if not exists ops.click_ids (slice timestamp, event_key bigint);
        create table if not exists ops.clock (slice timestamp, as_of timestamp);
        create table if not exists ops.code (fingerprint varchar);
        create table if not exists ops.training_cutoffs ({CUTOFF_COLUMNS});
        create table if not exists ops.matured_cutoffs (cutoff_no integer, as_of timestamp);
        create table if not exists ops.touched_event_slices (event_slice timestamp);
        create table if not exists ops.touched_orders (order_id varchar);
        create or replace view ops.pending_slices as select slice from ops.slice_log, ops.code where {PENDING};
        insert into ops.code select '' where not exists (select 1 from ops.code);
        """
    )
    create_reference_lines(connection)


def _find_changes(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Fill ``changes``: slices whose raw rows are new or were written again, with their counts and fingerprints.

    Slices whose raw file is gone (retention) are archived: their rows stay in the warehouse and are not rewritten.
    """
    connection.execute(
        "create or replace temp table changes (slice timestamp, source varchar, raw_fingerprint varchar, "
        "raw_modified_ns bigint, files integer, lines bigint, good bigint, quarantined bigint, duplicates bigint)"
    )
    _find_changed_clicks(connection, settings.place.raw)
    if history_index(settings.place.raw).exists():
        _find_changed_history(connection, settings.place.raw)


def _find_changed_clicks(connection: duckdb.DuckDBPyConnection, raw: Path) -> None:
    connection.execute("create or replace temp table found (slice timestamp, path varchar, modified_ns bigint)")
    found = [
        [naive(slice_start(folder.name.removeprefix("slice_key="))), str(folder / PART), (folder / PART).stat().st_mtime_ns]
        for folder in sorted((raw / "clicks").glob("slice_key=*"))
        if (folder / PART).exists()
    ]
    columns = [list(column) for column in zip(*found, strict=True)] or [[], [], []]
    connection.execute("insert into found select unnest(?::timestamp[]), unnest(?::varchar[]), unnest(?::bigint[])", columns)
    connection.execute(
        """
        create or replace temp table changed_files as
        select found.* from found left join ops.slice_log using (slice)
        where slice_log.source is distinct from 'clicks' or slice_log.raw_modified_ns is distinct from found.modified_ns
            or slice_log.is_archived
        """
    )
    paths = [path for (path,) in connection.execute("select path from changed_files").fetchall()]
    if paths:
        connection.execute(
            f"""
            insert into changes
            select slice, 'clicks', document ->> 'fingerprint', modified_ns, (document ->> 'files')::integer,
                (document ->> 'lines')::bigint, (document ->> 'good')::bigint, (document ->> 'quarantined')::bigint,
                (document ->> 'duplicates')::bigint
            from changed_files
            inner join (select file_name as path, decode(value)::json as document from parquet_kv_metadata(?)
                        where decode(key) = '{METADATA_KEY}') using (path)
            """,
            [paths],
        )
    connection.execute(
        "update ops.slice_log set is_archived = true where source = 'clicks' and slice not in (select slice from found)"
    )


def _find_changed_history(connection: duckdb.DuckDBPyConnection, raw: Path) -> None:
    """History that the index lists anew or no more. A slice that has an arrival folder too is the arrival folder's."""
    connection.execute("create or replace temp table history_days (day varchar)")
    days = [
        folder.name.removeprefix("day_key=") for folder in history_folder(raw).glob("day_key=*") if (folder / PART).exists()
    ]
    connection.execute("insert into history_days select unnest(?::varchar[])", [days])
    connection.execute(
        f"""
        create or replace temp table history as
        select index.*, strftime(slice, '%Y-%m-%d') in (from history_days) as is_there
        from read_parquet({file_literal(history_index(raw))}) as index
        where slice not in (select slice from found)
        """
    )
    connection.execute(
        f"""
        insert into changes
        select slice, 'click_history', history.raw_fingerprint, null, null, history.lines, history.good, 0, history.duplicates
        from history left join ops.slice_log using (slice)
        where history.is_there
            and (slice_log.raw_fingerprint is distinct from history.raw_fingerprint or slice_log.is_archived)
        union all
        select slice, 'click_history', '{NO_FILES}', null, null, 0, 0, 0, 0
        from ops.slice_log anti join history using (slice)
        where source = 'click_history' and raw_fingerprint <> '{NO_FILES}' and slice not in (select slice from found)
        """
    )
    connection.execute(
        "update ops.slice_log set is_archived = true where source = 'click_history' "
        "and slice in (select slice from history where not is_there)"
    )


def _replace_changed(connection: duckdb.DuckDBPyConnection, settings: Settings, now: datetime) -> list[datetime]:
    """Replace the ids of changed slices, mark later slices that share a changed id, and write the log."""
    slices = connection.execute("select slice, source from changes order by slice").fetchall()
    if not slices:
        return []
    rows = _raw_rows(settings.place.raw, slices, "changes")
    connection.execute(f"create or replace temp table new_ids as select slice, event_key from ({rows})")
    # A slice that has nothing after it within the duplicate window cannot change another one.
    connection.execute(
        f"""
        create or replace temp table inner_changes as
        select slice from changes where exists (
            select 1 from ops.slice_log as later
            where later.slice > changes.slice and later.slice <= changes.slice + interval '{DUPLICATE_DAYS} days'
        )
        """
    )
    connection.execute(
        f"""
        update ops.slice_log set transformed_fingerprint = null
        where slice in (
            select ids.slice
            from (
                select slice, event_key from (
                    select slice, event_key from new_ids semi join inner_changes using (slice)
                    union all
                    select slice, event_key from ops.click_ids semi join inner_changes using (slice)
                ) group by slice, event_key having count(*) = 1
            ) as difference
            inner join ops.click_ids as ids on ids.event_key = difference.event_key
                and ids.slice > difference.slice and ids.slice <= difference.slice + interval '{DUPLICATE_DAYS} days'
        )
        """
    )
    connection.execute("delete from ops.click_ids where slice in (select slice from changes)")
    connection.execute("insert into ops.click_ids select slice, event_key from new_ids")
    repaired = [
        row[0]
        for row in connection.execute(
            "select slice from changes inner join ops.slice_log using (slice) "
            "where changes.raw_fingerprint <> slice_log.raw_fingerprint order by slice"
        ).fetchall()
    ]
    connection.execute(
        """
        insert into ops.slice_log
            (slice, source, raw_fingerprint, raw_modified_ns, files, lines, good, quarantined, duplicates, planned_at)
        select *, ? from changes
        on conflict (slice) do update set
            source = excluded.source, raw_modified_ns = excluded.raw_modified_ns, files = excluded.files,
            lines = excluded.lines, good = excluded.good, quarantined = excluded.quarantined, duplicates = excluded.duplicates,
            planned_at = excluded.planned_at, is_archived = false,
            repaired_at = case when slice_log.raw_fingerprint <> excluded.raw_fingerprint then excluded.planned_at
                else slice_log.repaired_at end,
            raw_fingerprint = excluded.raw_fingerprint,
            -- also where the landed files are the same: a file may have been set aside, or the rules may have changed
            transformed_fingerprint = null
        """,
        [naive(now)],
    )
    return repaired


def _create_views(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    pending = connection.execute(
        "select slice, source from ops.slice_log semi join ops.pending_slices using (slice) order by slice"
    ).fetchall()
    rows = _raw_rows(settings.place.raw, pending, "(from ops.slice_log semi join ops.pending_slices using (slice))")
    connection.execute(f"create or replace view raw.clicks_pending as {rows}")
    for table in reference_tables(settings.shop).values():
        connection.execute(f"create or replace view raw.{table.name} as {reference_relation(settings.place, table)}")


def _remember_touched(connection: duckdb.DuckDBPyConnection, is_new_code: bool) -> None:
    """Keep what the old rows of pending slices touch: the event slices that they lie in, and the orders that they belong to.

    When the event of a line that counted goes, another one counts, in whatever slice. New code changes all event slices, also
    those of slices whose raw rows retention has removed.
    """
    pending = "" if is_new_code else "semi join ops.pending_slices using (slice)"
    touched = {
        "int_activity_by_slice": "insert into ops.touched_event_slices select distinct event_slice",
        "int_purchases_by_slice": "insert into ops.touched_orders select distinct order_id",
    }
    present = connection.execute(
        "select table_name from information_schema.tables where table_schema = 'intermediate'"
    ).fetchall()
    for (table,) in present:
        if table in touched:
            connection.execute(f"{touched[table]} from intermediate.{table} {pending}")
    if is_new_code:
        connection.execute("insert into ops.touched_event_slices select distinct event_slice from ops.reference_lines")


def _set_clock(connection: duckdb.DuckDBPyConnection, settings: Settings, now: datetime) -> None:
    """The last slice; before the first live one also that of the last reference purchase, which is history as clicks are."""
    connection.execute("delete from ops.clock")
    shop = settings.shop
    known_before = min(naive(shop.slices_start), naive(now))
    bucket = f"time_bucket(interval '{shop.slice_minutes} minutes', max(purchased_at), timestamp '1970-01-01')"
    connection.execute(
        f"""
        insert into ops.clock select max(slice), max(slice) + interval '{shop.slice_minutes} minutes' from (
            select max(slice) as slice from ops.slice_log
            union all
            select {bucket} from raw.purchases
            where valid_to is null and purchased_at < ? and (select coalesce(max(slice) < ?, true) from ops.slice_log)
        ) as known having max(slice) is not null
        """,
        [known_before, naive(shop.slices_start)],
    )


def _raw_rows(raw: Path, slices: list[tuple[datetime, str]], listed: str) -> str:
    """SQL of the raw rows of these (slice, source), or of no rows with the right types.

    ``listed``: a relation that lists the slices too, since a day of the history holds others beside them.
    """
    typed = ", ".join(f"cast(null as {column.type}) as {quoted(column.name)}" for column in RAW_COLUMNS)
    parts = [f"(select {typed} where false)"]
    days = sorted({f"{start:%Y-%m-%d}" for start, source in slices if source == "click_history"})
    history = [str(day_file(raw, day)) for day in days if day_file(raw, day).exists()]
    if history:
        parts.append(
            f"select * from read_parquet({file_list(history)}, hive_partitioning = false, union_by_name = true) "
            f"where slice in (select slice from {listed} where source = 'click_history')"
        )
    clicks = [
        str(raw / "clicks" / f"slice_key={start:%Y-%m-%d-%H:%M}" / PART) for start, source in slices if source == "clicks"
    ]
    if clicks:
        parts.append(f"select * from read_parquet({file_list(clicks)}, hive_partitioning = false, union_by_name = true)")
    return " union all by name ".join(parts)
