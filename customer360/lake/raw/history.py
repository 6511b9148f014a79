"""Clicks from before the first slice: ``landing/history`` cut into raw slices by event time, kept in daily files.

Running it again on the same files changes nothing: a slice's fingerprint is that of its rows.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from customer360.lake.atomic import TEMPORARY_PREFIX, replacing
from customer360.lake.disk import explaining_full_disk
from customer360.lake.engine import connect, file_list, literal
from customer360.lake.landing.checked_lines import checked_lines
from customer360.lake.landing.click_rules import ClickBounds
from customer360.lake.landing.location import find_landing
from customer360.lake.landing.source_columns import Source
from customer360.lake.raw.raw_clicks import PART, SliceCounts, kept_rows, write_quarantine
from customer360.settings import Settings, Shop

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class History:
    """Result of a history load: counts over all files, and the first and last day."""

    counts: SliceCounts
    slices: int
    first: datetime | None
    last: datetime | None


def history_folder(raw: Path) -> Path:
    """Folder of the daily files."""
    return raw / "click_history"


def history_index(raw: Path) -> Path:
    """The list of history slices: slice, raw_fingerprint, lines, good, duplicates. Written last: it makes a load count."""
    return history_folder(raw) / "slices.parquet"


def day_file(raw: Path, day: str) -> Path:
    """The daily file of ``YYYY-MM-DD``."""
    return history_folder(raw) / f"day_key={day}" / PART


def history_bounds(shop: Shop) -> ClickBounds:
    """Event times that belong into the history: before the first slice."""
    return ClickBounds(
        EARLIEST,
        shop.slices_start - timedelta(microseconds=1),
        "lies before 1970",
        f"is not before slices_start ({shop.slices_start:%Y-%m-%d %H:%M}); such events belong into landing/clicks",
    )


def slice_of_event(shop: Shop) -> str:
    """SQL of the slice that an event of the history counts for: the one that contains ``event_at``."""
    return f"time_bucket(interval '{shop.slice_minutes} minutes', event_at, timestamp '1970-01-01')"


def write_history(settings: Settings) -> History:
    """Make the raw history from all files below ``landing/history``. Events from ``slices_start`` on are quarantined."""
    shop, place = settings.shop, settings.place
    bounds = history_bounds(shop)
    expression = slice_of_event(shop)
    with (
        explaining_full_disk(place.root),
        find_landing(settings).open_folder("history") as listing,
        connect(place.scratch) as connection,
        checked_lines(connection, listing.files, bounds, Source.of(shop, "history")),
    ):
        connection.execute(
            f"create temp table slices as select {expression} as slice, count(*) as lines, count(distinct event_key) as good "
            "from checked where reason is null group by all"
        )
        counts = _counts(connection, len(listing.files))
        write_quarantine(connection, place.quarantine / "click_history" / PART)
        _write_days(connection, place.raw, expression)
        return _write_index(connection, place.raw, counts)


def _write_days(connection: duckdb.DuckDBPyConnection, raw: Path, expression: str) -> None:
    folder = history_folder(raw)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{TEMPORARY_PREFIX}days"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    # Beyond this many open files (100 by default) DuckDB 1.5.5 closes a day's file and later writes over it: rows are lost.
    days = connection.execute("select count(distinct cast(slice as date)) + 1 from slices").fetchone() or (1,)
    connection.execute(f"set partitioned_write_max_open_files = {days[0]}")
    try:
        connection.execute(
            f"""
            copy (
                select *, strftime(slice, '%Y-%m-%d') as day_key
                from ({kept_rows(expression, "slice, event_key")})
            ) to {literal(str(temporary))}
            (format parquet, compression zstd, partition_by (day_key), filename_pattern 'part', overwrite_or_ignore true)
            """
        )
        made = {path.parent.name: path for path in temporary.glob("day_key=*/*.parquet")}
        _count_again(connection, list(made.values()))
        for name, path in made.items():
            (folder / name).mkdir(exist_ok=True)
            path.replace(folder / name / PART)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for stale in folder.glob("day_key=*"):
        if stale.name not in made:
            shutil.rmtree(stale)


def _count_again(connection: duckdb.DuckDBPyConnection, files: list[Path]) -> None:
    """Raise ``RuntimeError`` unless the files hold every row that was counted: DuckDB lost rows here without an error."""
    (expected,) = connection.execute("select coalesce(sum(good), 0) from slices").fetchone() or (0,)
    written = 0
    if files:
        ((written,),) = connection.execute(f"select sum(num_rows) from parquet_file_metadata({file_list(files)})").fetchall()
    if written != expected:
        raise RuntimeError(
            f"of {expected:,} good rows of the history {written:,} were written; the history in force stays as it was. "
            "Load landing/history in smaller parts, and report this as a fault of the product."
        )


def _write_index(connection: duckdb.DuckDBPyConnection, raw: Path, counts: SliceCounts) -> History:
    columns = "slice timestamp, raw_fingerprint varchar, lines bigint, good bigint, duplicates bigint"
    connection.execute(f"create temp table history ({columns})")
    if days := sorted(history_folder(raw).glob(f"day_key=*/{PART}")):
        connection.execute(
            f"""
            insert into history
            select slice, fingerprint, slices.lines, slices.good, slices.lines - slices.good
            from (
                select slice, format('{{:016x}}', bit_xor(hash(day))) as fingerprint
                from (select * exclude (source_file, source_line) from read_parquet(
                    {file_list(days)}, hive_partitioning = false)) as day
                group by slice
            )
            inner join slices using (slice)
            """
        )
    with replacing(history_index(raw)) as temporary:
        connection.execute(f"copy (select * from history order by slice) to {literal(str(temporary))} (format parquet)")
    ((slices, first, last),) = connection.execute("select count(*), min(slice), max(slice) from history").fetchall()
    return History(counts, slices, first, last)


def _counts(connection: duckdb.DuckDBPyConnection, files: int) -> SliceCounts:
    lines, good = connection.execute("select coalesce(sum(lines), 0), coalesce(sum(good), 0) from slices").fetchone() or (0, 0)
    (quarantined,) = connection.execute("select count(*) from checked where reason is not null").fetchone() or (0,)
    return SliceCounts(files, int(lines) + quarantined, int(good), quarantined, int(lines - good))
