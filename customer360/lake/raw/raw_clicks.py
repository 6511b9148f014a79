"""Landed click files to raw slices: read, check, drop copies, write the slice and its quarantine.

A raw slice is a pure function of its slice's files: running it again gives the same rows.
In = good + quarantined + duplicates, always.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from customer360.lake.atomic import replacing
from customer360.lake.disk import explaining_full_disk
from customer360.lake.engine import connect, literal, quoted
from customer360.lake.landing.checked_lines import checked_lines
from customer360.lake.landing.click_rules import ClickBounds
from customer360.lake.landing.contracts import CLICK_COLUMNS, RAW_LINEAGE
from customer360.lake.landing.location import find_landing
from customer360.lake.landing.source_columns import Source
from customer360.lake.slices import naive, slice_key
from customer360.settings import Settings

PART = "part.parquet"
METADATA_KEY = "customer360"
RAW_COLUMNS = (*CLICK_COLUMNS, *RAW_LINEAGE)


@dataclass(frozen=True)
class SliceCounts:
    """Lines in and out of one raw slice. ``lines`` = good + quarantined + duplicates."""

    files: int
    lines: int
    good: int
    quarantined: int
    duplicates: int

    def __add__(self, other: SliceCounts) -> SliceCounts:
        """Sum, for several slices."""
        return SliceCounts(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


def raw_slice_folder(raw: Path, start: datetime) -> Path:
    """Folder of a raw slice. ``slice_key=`` because a Hive folder named ``slice`` would hide the column."""
    return raw / "clicks" / f"slice_key={slice_key(start)}"


def quarantine_folder(quarantine: Path, start: datetime) -> Path:
    """Folder of a slice's quarantined lines."""
    return quarantine / "clicks" / f"slice_key={slice_key(start)}"


def write_raw_slice(settings: Settings, start: datetime, isolate: bool = False) -> SliceCounts:
    """Make the raw slice that starts at ``start`` from the files in its landing folder.

    With ``isolate`` a file whose processing fails is quarantined whole and the rest proceeds; without it such a failure is
    raised as ``BrokenFileError``. Files that are plainly damaged are quarantined either way. Too little memory or a full disk
    is no fault of a file: it is raised either way, as ``BrokenFileError`` or ``DiskFullError``, and the old slice stays.
    So is a store that does not answer, as ``StoreError``.
    """
    bounds = ClickBounds.of_slice(start, start + settings.shop.slice_width)
    source, place = Source.of(settings.shop, "clicks"), settings.place
    with (
        explaining_full_disk(place.root),
        find_landing(settings).open_slice(start) as listing,
        connect(place.scratch) as connection,
        checked_lines(connection, listing.files, bounds, source, isolate),
    ):
        counts = _counts(connection, len(listing.files))
        metadata = {"fingerprint": listing.fingerprint, **asdict(counts)}
        with replacing(raw_slice_folder(place.raw, start) / PART) as temporary:
            copy_raw(connection, kept_rows(f"timestamp '{naive(start)}'"), temporary, metadata)
            # Within the block: where either file cannot be written, both old files stay.
            write_quarantine(connection, quarantine_folder(place.quarantine, start) / PART)
    return counts


def _counts(connection: duckdb.DuckDBPyConnection, files: int) -> SliceCounts:
    lines, good, quarantined = connection.execute(
        "select count(*), count(distinct event_key), count(*) filter (where reason is not null) from checked"
    ).fetchone() or (0, 0, 0)
    return SliceCounts(files, lines, good, quarantined, lines - good - quarantined)


def kept_rows(slice_expression: str, copies_within: str = "event_key") -> str:
    """The good rows without copies: of equal ``copies_within`` the lowest file and line stays. Columns are ``RAW_COLUMNS``."""
    columns = ", ".join(quoted(column.name) for column in CLICK_COLUMNS)
    return f"""
        with good as (
            select *, {slice_expression} as slice, cast(file_no as bigint) * 1099511627776 + line as position
            from checked where reason is null
        ),
        copied as (
            select {copies_within}, min(position) as kept from good group by {copies_within} having count(*) > 1
        )
        select {columns}, extra, slice, event_key, files.name as source_file, line as source_line
        from good
        inner join files using (file_no)
        left join copied using ({copies_within})
        where copied.kept is null or copied.kept = position
    """


def copy_raw(connection: duckdb.DuckDBPyConnection, rows: str, target: Path, metadata: dict[str, object]) -> None:
    """Write rows as Parquet with metadata that can be read without the data."""
    connection.execute(
        f"copy ({rows}) to {literal(str(target))} "
        f"(format parquet, compression zstd, kv_metadata {{ {METADATA_KEY}: {literal(json.dumps(metadata))} }})"
    )


def write_quarantine(connection: duckdb.DuckDBPyConnection, target: Path) -> None:
    """Write the quarantined lines with file, line, column, reason and raw text; without any, no file stays."""
    quarantined = connection.execute("select count(*) from checked where reason is not null").fetchone()
    if quarantined == (0,):
        target.unlink(missing_ok=True)
        return
    with replacing(target) as temporary:
        connection.execute(
            f"""
            copy (
                select files.name as source_file, line as source_line, column_name, reason, text as raw_text
                from checked inner join files using (file_no)
                where reason is not null order by file_no, line
            ) to {literal(str(temporary))} (format parquet, compression zstd)
            """
        )
