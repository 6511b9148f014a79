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
from customer360.lake.disk import explaining_full_disk, is_disk_full
from customer360.lake.engine import connect, file_literal, literal, memory_limit, quoted
from customer360.lake.expansion import ExpandsError, refuse_expansion
from customer360.lake.landing import LandedFile, click_obstacle, list_slice
from customer360.lake.reading import LineStream
from customer360.lake.slices import naive, slice_key
from customer360.settings import Settings

PART = "part.parquet"
FROM_READING = "get_next failed"  # how DuckDB begins its words for an error of ``LineStream``
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

    With ``isolate`` a file whose processing fails is quarantined whole and the rest proceeds; without it such a failure is
    raised as ``BrokenFileError``. Files that are plainly damaged are quarantined either way. Too little memory or a full disk
    is no fault of a file: it is raised either way, as ``BrokenFileError`` or ``DiskFullError``, and the old slice stays.
    """
    listing = list_slice(settings.place.landing, start)
    bounds = ClickBounds.of_slice(start, start + settings.shop.slice_width)
    with explaining_full_disk(settings.place.root), connect(settings.place.root / ".tmp") as connection:
        load_checked(connection, listing.files, bounds, settings.shop.currency, isolate)
        counts = _counts(connection, len(listing.files))
        stamp = f"timestamp '{naive(start)}'"
        metadata = {"fingerprint": listing.fingerprint, **asdict(counts)}
        with replacing(raw_slice_folder(settings.place.raw, start) / PART) as temporary:
            copy_raw(connection, kept_rows(stamp), temporary, metadata)
            # Inside, so that where either cannot be written the old ones stay together.
            write_quarantine(connection, quarantine_folder(settings.place.quarantine, start) / PART)
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
    unusable = {number: reason for number, file in enumerate(files) if (reason := click_obstacle(file))}
    readable = [(number, file) for number, file in enumerate(files) if number not in unusable]
    text = [(number, file) for number, file in readable if not file.name.endswith(".parquet")]
    try:
        broken = _load_text(connection, text, bounds, currency)
    except (duckdb.Error, OSError, MemoryError):
        if not text:
            raise
        connection.execute("truncate checked")
        broken = _load_text_one_by_one(connection, text, bounds, currency, isolate)
    parquet = [(number, file) for number, file in readable if file.name.endswith(".parquet")]
    broken |= _load_parquet(connection, parquet, bounds, currency, isolate)
    _quarantine_whole(connection, broken | unusable)


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
            if not isolate or _is_of_the_machine(error):
                raise _broken(file, error) from None
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
    """Load files of equal columns at once. Others apart: a union would read one file by the types of another."""
    alike: dict[tuple[tuple[str, str], ...], list[tuple[int, LandedFile]]] = {}
    broken: dict[int, str] = {}
    for number, file in files:
        try:
            refuse_expansion(file.size, *_promised(connection, file))
            alike.setdefault(_columns(connection, file), []).append((number, file))
        except ExpandsError as error:
            broken[number] = str(error)
        except duckdb.Error as error:
            broken[number] = _not_parquet(connection, file, error, isolate)
    for group in alike.values():
        broken |= _load_alike(connection, group, bounds, currency, isolate)
    return broken


def _promised(connection: duckdb.DuckDBPyConnection, file: LandedFile) -> tuple[int, int]:
    """Rows, and bytes when decompressed, by the file's own footer."""
    path = file_literal(file.path)
    rows, expanded = connection.execute(
        f"select (select num_rows from parquet_file_metadata({path})), "
        f"(select coalesce(sum(total_uncompressed_size), 0) from parquet_metadata({path}))"
    ).fetchone() or (0, 0)
    return int(rows), int(expanded)


def _columns(connection: duckdb.DuckDBPyConnection, file: LandedFile) -> tuple[tuple[str, str], ...]:
    relation = f"read_parquet({file_literal(file.path)}, hive_partitioning = false)"
    return tuple((name, kind) for name, kind, *_ in connection.execute(f"describe select * from {relation}").fetchall())


def _load_alike(
    connection: duckdb.DuckDBPyConnection,
    files: list[tuple[int, LandedFile]],
    bounds: ClickBounds,
    currency: str,
    isolate: bool,
) -> dict[int, str]:
    """Load all files at once; where that fails, one by one, so that a damaged file is known by name."""
    paths = {str(file.path): number for number, file in files}
    try:
        types = dict(_columns(connection, files[0][1]))
        connection.execute(f"insert into checked {checked(parquet_source(paths, types), bounds, currency)}")
        _fetch_bad_rows(connection, {number: path for path, number in paths.items()})
    except duckdb.Error as error:
        connection.execute("delete from checked where list_contains(?, file_no)", [list(paths.values())])
        if len(files) == 1:
            return {files[0][0]: _not_parquet(connection, files[0][1], error, isolate)}
        broken: dict[int, str] = {}
        for entry in files:
            broken |= _load_alike(connection, [entry], bounds, currency, isolate)
        return broken
    return {}


def _not_parquet(connection: duckdb.DuckDBPyConnection, file: LandedFile, error: duckdb.Error, isolate: bool) -> str:
    """What to say of a file that cannot be read. One that asks for far more memory than it says to hold is damaged."""
    if _is_of_the_machine(error):
        is_damaged = isolate and not is_disk_full(error) and 8 * _promised(connection, file)[1] < memory_limit(connection)
        if not is_damaged:
            raise _broken(file, error) from None
    return f"not readable as Parquet: {str(error).splitlines()[0][:300]}"


def _is_of_the_machine(error: Exception) -> bool:
    return isinstance(error, duckdb.OutOfMemoryException | MemoryError) or is_disk_full(error)


def _broken(file: LandedFile, error: Exception) -> BrokenFileError:
    cause = f"{type(error).__name__}: {error}"
    is_of_reading = isinstance(error, OSError) or FROM_READING in str(error)
    if not is_of_reading and not _is_of_the_machine(error):  # DuckDB's words may quote a line
        cause = f"{type(error).__name__}; customer360 check says more of the file"
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError) and not is_disk_full(error):
        cause = f"too little memory to read it; give CUSTOMER360_MEMORY_LIMIT more, or land it in smaller files. {cause}"
    return BrokenFileError(file.name, cause)


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
