"""Landed click files to raw slices: read, check, drop copies, write the slice and its quarantine.

A raw slice is a pure function of its slice's files: running it again gives the same rows.
In = good + quarantined + duplicates, always.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from customer360.lake.atomic import replacing
from customer360.lake.click_rules import ClickBounds, checked, json_source, parquet_source
from customer360.lake.contracts import CLICK_COLUMNS, RAW_LINEAGE
from customer360.lake.engine import connect, file_literal, literal, quoted
from customer360.lake.landing import LandedFile, is_readable, list_slice
from customer360.lake.reading import LineStream
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


class BrokenFileError(RuntimeError):
    """A file could not be processed. ``name`` says which, so that it can be set aside."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"{name}: {cause}")
        self.name = name


def raw_slice_folder(raw: Path, start: datetime) -> Path:
    """Folder of a raw slice. ``slice_key=`` because a Hive folder named ``slice`` would hide the column."""
    return raw / "clicks" / f"slice_key={slice_key(start)}"


def quarantine_folder(quarantine: Path, start: datetime) -> Path:
    """Folder of a slice's quarantined lines."""
    return quarantine / "clicks" / f"slice_key={slice_key(start)}"


def write_raw_slice(settings: Settings, start: datetime, isolate: bool = False) -> SliceCounts:
    """Make the raw slice that starts at ``start`` from the files in its landing folder.

    With ``isolate`` a file whose processing fails for any reason is quarantined whole and the rest proceeds;
    without it such a failure is raised as ``BrokenFileError``. Files that are plainly damaged are quarantined either way.
    """
    listing = list_slice(settings.place.landing, start)
    bounds = ClickBounds.of_slice(start, start + settings.shop.slice_width)
    with connect(settings.place.root / ".tmp") as connection:
        load_checked(connection, listing.files, bounds, settings.shop.currency, isolate)
        counts = _counts(connection, len(listing.files))
        write_quarantine(connection, quarantine_folder(settings.place.quarantine, start) / PART)
        stamp = f"timestamp '{naive(start)}'"
        metadata = {"fingerprint": listing.fingerprint, **asdict(counts)}
        with replacing(raw_slice_folder(settings.place.raw, start) / PART) as temporary:
            copy_raw(connection, kept_rows(stamp), temporary, metadata)
    return counts


def load_checked(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[LandedFile],
    bounds: ClickBounds,
    currency: str,
    isolate: bool = False,
) -> None:
    """Fill the temporary tables ``files`` (file_no, name) and ``checked`` (see ``click_rules.checked``) from ``files``."""
    connection.execute("create or replace temp table files (file_no integer, name varchar)")
    numbers, names = list(range(len(files))), [file.name for file in files]
    connection.execute("insert into files select unnest(?::integer[]), unnest(?::varchar[])", [numbers, names])
    nothing = json_source(
        "(select 0::integer as file_no, 0::bigint as line, ''::varchar as text, ''::varchar as problem limit 0)"
    )
    connection.execute(f"create or replace temp table checked as {checked(nothing, bounds, currency)}")
    text = [(n, file) for n, file in enumerate(files) if is_readable(file.name) and not file.name.endswith(".parquet")]
    try:
        broken = _load_text(connection, text, bounds, currency)
    except (duckdb.Error, OSError, MemoryError):
        if not text:
            raise
        connection.execute("truncate checked")
        broken = _load_text_one_by_one(connection, text, bounds, currency, isolate)
    parquet = [(n, file) for n, file in enumerate(files) if file.name.endswith(".parquet")]
    broken |= _load_parquet(connection, parquet, bounds, currency, isolate)
    unknown = "is of no known type: .jsonl, .jsonl.gz, .csv or .parquet"
    broken |= {number: unknown for number, file in enumerate(files) if not is_readable(file.name)}
    _quarantine_whole(connection, broken)


def _load_text(
    connection: duckdb.DuckDBPyConnection, files: list[tuple[int, LandedFile]], bounds: ClickBounds, currency: str
) -> dict[int, str]:
    stream = LineStream([file for _, file in files], [number for number, _ in files])
    connection.register("landed_lines", stream.reader())
    connection.execute(f"insert into checked {checked(json_source('landed_lines'), bounds, currency)}")
    connection.unregister("landed_lines")
    return stream.broken


def _load_text_one_by_one(
    connection: duckdb.DuckDBPyConnection,
    files: list[tuple[int, LandedFile]],
    bounds: ClickBounds,
    currency: str,
    isolate: bool,
) -> dict[int, str]:
    """After a failure of the whole: find the file that fails, and name it or set it aside."""
    broken: dict[int, str] = {}
    for number, file in files:
        try:
            broken |= _load_text(connection, [(number, file)], bounds, currency)
        except (duckdb.Error, OSError, MemoryError) as error:
            if not isolate:
                raise BrokenFileError(file.name, f"{type(error).__name__}: {error}") from error
            connection.execute("delete from checked where file_no = ?", [number])
            broken[number] = f"could not be processed: {type(error).__name__}: {str(error)[:500]}"
    return broken


def _load_parquet(
    connection: duckdb.DuckDBPyConnection,
    files: list[tuple[int, LandedFile]],
    bounds: ClickBounds,
    currency: str,
    isolate: bool,
) -> dict[int, str]:
    """Load all files at once; where that fails, one by one, so that a damaged file is known by name."""
    if not files:
        return {}
    paths = {str(file.path): number for number, file in files}
    names = ", ".join(file_literal(path) for path in paths)
    relation = f"read_parquet([{names}], hive_partitioning = false, union_by_name = true)"
    try:
        types = {name: kind for name, kind, *_ in connection.execute(f"describe select * from {relation}").fetchall()}
        connection.execute(f"insert into checked {checked(parquet_source(paths, types), bounds, currency)}")
    except duckdb.Error as error:
        if len(files) == 1:
            if isinstance(error, duckdb.OutOfMemoryException) and not isolate:
                raise BrokenFileError(files[0][1].name, f"{type(error).__name__}: {error}") from error
            return {files[0][0]: f"not readable as Parquet: {str(error).splitlines()[0][:300]}"}
        broken: dict[int, str] = {}
        for entry in files:
            broken |= _load_parquet(connection, [entry], bounds, currency, isolate)
        return broken
    _fetch_bad_rows(connection, {number: path for path, number in paths.items()})
    return {}


def _fetch_bad_rows(connection: duckdb.DuckDBPyConnection, paths: dict[int, str]) -> None:
    """Read the rows that broke a rule once more, whole, so that the quarantine keeps what they said."""
    numbers = connection.execute("select distinct file_no from checked where reason is not null and text is null").fetchall()
    for (number,) in numbers:
        if number in paths:
            connection.execute(
                f"""
                update checked set text = again.text
                from (select file_row_number + 1 as line, cast(to_json(landed) as varchar) as text
                      from read_parquet(
                          {file_literal(paths[number])}, file_row_number = true, hive_partitioning = false
                      ) as landed) as again
                where checked.file_no = {number} and checked.line = again.line and checked.reason is not null
                """
            )


def _quarantine_whole(connection: duckdb.DuckDBPyConnection, broken: dict[int, str]) -> None:
    """Set aside every line of the broken files, and one entry (line 0) for the break itself."""
    for number, reason in broken.items():
        connection.execute(
            "update checked set reason = ?, column_name = '', event_key = null where file_no = ?", [f"file {reason}", number]
        )
        connection.execute(
            "insert into checked by name select ? as file_no, 0 as line, '' as column_name, ? as reason",
            [number, f"file {reason}"],
        )


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
