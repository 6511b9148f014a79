"""Landed click files as checked lines: read and judged by the contract, each with its file and line number.

They are the temporary view ``checked`` (see ``click_rules.checked``) beside the table ``files`` (file_no, name). Lines beyond a
third of DuckDB's memory limit are kept in Parquet files meanwhile, so that memory does not grow with the size of the slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from customer360.lake.atomic import TEMPORARY_PREFIX
from customer360.lake.disk import is_disk_full
from customer360.lake.engine import column_types, file_list, file_literal, literal, memory_limit, quoted, registered
from customer360.lake.landing.click_rules import (
    CHECKED_TYPES,
    SAYS_SOMETHING,
    ClickBounds,
    checked,
    json_source,
    parquet_source,
)
from customer360.lake.landing.contracts import CLICK_COLUMNS
from customer360.lake.landing.listing import LandedFile, click_obstacle
from customer360.lake.landing.reading import ExpandsError, LineStream, is_csv, refuse_expansion
from customer360.lake.landing.source_columns import Source, canonical_lines
from customer360.lake.landing.values import parquet_precisions, refused_precision, refused_type
from customer360.settings import SourceOptions

FROM_READING = "get_next failed"  # how DuckDB's message for an error of ``LineStream`` begins
MACHINE_IS_FULL = "Allocation failure"  # DuckDB's message where the system refuses memory below DuckDB's own limit
ROW_BYTES = 600  # of a checked line in DuckDB's memory: 1.2 GB for 2,000,000
HELD_SHARE, TEXT_SHARE = 3, 16  # of the memory limit: lines that are held in memory, and text that is read at once
EXPANSION = 5  # text in a compressed file

NumberedFile = tuple[int, LandedFile]


class BrokenFileError(RuntimeError):
    """A file could not be processed. ``name`` says which, so that it can be set aside."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"{name}: {cause}")
        self.name = name


@contextmanager
def checked_lines(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[LandedFile],
    bounds: ClickBounds,
    source: Source,
    isolate: bool = False,
) -> Iterator[None]:
    """The view ``checked`` and the table ``files`` of these files, for as long as the block lasts.

    The options of ``source`` are those of CSV files; others have the contract's form.

    With ``isolate`` a file whose processing fails is set aside whole; without it that is a ``BrokenFileError``. Files that are
    plainly damaged are set aside either way: with a reason for every line that could be read, and a line 0 for the file.
    """
    (temporary,) = connection.execute("select current_setting('temp_directory')").fetchone() or ("",)
    with TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=temporary, ignore_cleanup_errors=True) as folder:
        _Loading(connection, bounds, source, isolate, Path(folder)).load(files)
        yield


@dataclass
class _Loading:
    """Loads batch after batch into the temporary table ``held``, and empties it into a Parquet file when it grows large."""

    connection: duckdb.DuckDBPyConnection
    bounds: ClickBounds
    source: Source
    isolate: bool
    folder: Path
    expanded: dict[Path, int] = field(default_factory=dict)  # bytes that a Parquet file's footer promises

    def load(self, files: Sequence[LandedFile]) -> None:
        self.connection.execute("create or replace temp table files (file_no integer, name varchar)")
        numbers, names = list(range(len(files))), [file.name for file in files]
        self.connection.execute("insert into files select unnest(?::integer[]), unnest(?::varchar[])", [numbers, names])
        declared = ", ".join(f"{quoted(name)} {kind}" for name, kind in CHECKED_TYPES.items())
        self.connection.execute(f"create or replace temp table held ({declared})")
        broken = {number: reason for number, file in enumerate(files) if (reason := click_obstacle(file))}
        readable = [(number, file) for number, file in enumerate(files) if number not in broken]
        text = [entry for entry in readable if not entry[1].name.endswith(".parquet")]
        parquet = [entry for entry in readable if entry[1].name.endswith(".parquet")]
        limit = memory_limit(self.connection)
        own_form = [entry for entry in text if self._has_own_form(entry[1])]
        text = [entry for entry in text if entry not in own_form]
        for batch in [*_batches(text, _text_bytes, limit // TEXT_SHARE), *([entry] for entry in own_form)]:
            broken |= self._text_batch(batch)
            self._empty_held(limit)
        for group in self._alike(parquet, broken):
            for batch in _batches(group, lambda file: self.expanded[file.path], limit // TEXT_SHARE):
                broken |= self._parquet_batch(batch)
                self._empty_held(limit)
        self._note_whole_files(broken)
        staged = sorted(self.folder.glob("*.parquet"))
        more = f" union all by name from read_parquet({file_list(staged)}, hive_partitioning = false)" if staged else ""
        self.connection.execute(f"create or replace temp view checked as from held{more}")

    def _checked(self, source: str, types: dict[str, str] | None = None) -> str:
        return checked(source, self.bounds, self.source.currency, types)

    def _has_own_form(self, file: LandedFile) -> bool:
        """True for a CSV file that is not written in the contract's form; such files are read one by one."""
        return is_csv(file) and self.source.options != SourceOptions()

    def _empty_held(self, limit: int) -> None:
        (rows,) = self.connection.execute("select count(*) from held").fetchone() or (0,)
        if rows * ROW_BYTES > limit // HELD_SHARE:
            target = self.folder / f"{len(list(self.folder.iterdir())):06d}.parquet"
            self.connection.execute(f"copy held to {literal(str(target))} (format parquet, compression lz4_raw)")
            self.connection.execute("truncate held")

    def _text_batch(self, files: list[NumberedFile]) -> dict[int, str]:
        try:
            return self._text(files)
        except (duckdb.Error, OSError, MemoryError):
            self._drop(files)
            return self._text_one_by_one(files)

    def _text(self, files: list[NumberedFile]) -> dict[int, str]:
        stream = LineStream([file for _, file in files], [number for number, _ in files], self.source.options)
        is_of_own_form = self._has_own_form(files[0][1])
        lines = canonical_lines("landed_lines", CLICK_COLUMNS, self.source) if is_of_own_form else "landed_lines"
        with registered(self.connection, "landed_lines", stream.reader()):
            self.connection.execute(f"insert into held {self._checked(json_source(lines))}")
        by_number = dict(files)
        for number, reason in stream.broken.items():
            self._set_lines_aside((number, by_number[number]), f"file {reason}")
        return stream.broken

    def _set_lines_aside(self, entry: NumberedFile, reason: str) -> None:
        """Read the lines before the damage of a file again, with their text, and set all aside with the file's reason."""
        number, file = entry
        self._drop([entry])
        with registered(self.connection, "landed_lines", LineStream([file], [number], self.source.options).reader()):
            self.connection.execute(
                "insert into held by name select file_no, line, text, '' as column_name, ? as reason from landed_lines "
                f"where {SAYS_SOMETHING}",
                [reason],
            )

    def _text_one_by_one(self, files: list[NumberedFile]) -> dict[int, str]:
        """After loading all files together failed: find the file that fails, and name it or set it aside."""
        broken: dict[int, str] = {}
        for number, file in files:
            try:
                broken |= self._text([(number, file)])
            except (duckdb.Error, OSError, MemoryError) as error:
                if not self.isolate or _is_of_the_machine(error):
                    raise _broken(file, error) from None
                self._drop([(number, file)])
                broken[number] = f"could not be processed: {type(error).__name__}: {str(error)[:500]}"
        return broken

    def _alike(self, files: list[NumberedFile], broken: dict[int, str]) -> list[list[NumberedFile]]:
        """Parquet files of equal columns together: a union would read one file by the types of another."""
        alike: dict[tuple[tuple[str, str], ...], list[NumberedFile]] = {}
        for number, file in files:
            try:
                rows, self.expanded[file.path] = self._promised(file)
                refuse_expansion(file.size, rows, self.expanded[file.path])
                columns = self._columns(file)
                if refused := self._refused_columns(file, dict(columns)):
                    broken[number] = refused
                else:
                    alike.setdefault(columns, []).append((number, file))
            except ExpandsError as error:
                broken[number] = str(error)
            except duckdb.Error as error:
                broken[number] = self._not_parquet(file, error)
        return list(alike.values())

    def _promised(self, file: LandedFile) -> tuple[int, int]:
        """Rows, and bytes when decompressed, by the file's own footer."""
        path = file_literal(file.path)
        rows, expanded = self.connection.execute(
            f"select (select num_rows from parquet_file_metadata({path})), "
            f"(select coalesce(sum(total_uncompressed_size), 0) from parquet_metadata({path}))"
        ).fetchone() or (0, 0)
        return int(rows), int(expanded)

    def _columns(self, file: LandedFile) -> tuple[tuple[str, str], ...]:
        relation = f"read_parquet({file_literal(file.path)}, hive_partitioning = false)"
        return tuple(column_types(self.connection, relation).items())

    def _refused_columns(self, file: LandedFile, types: dict[str, str]) -> str | None:
        """Which columns have a type that cannot be read as the contract's, and the remedy."""
        known = {column.name: column for column in CLICK_COLUMNS}
        refused = refused_precision(parquet_precisions(self.connection, file.path, known))
        found = [refused, *(refused_type(known[name], kind) for name, kind in types.items() if name in known)]
        reasons = "; ".join(reason for reason in found if reason)
        return f"cannot be read by the contract: {reasons}" if reasons else None

    def _parquet_batch(self, files: list[NumberedFile]) -> dict[int, str]:
        """Load all files at once; where that fails, file by file, to find the damaged file."""
        paths = {str(file.path): number for number, file in files}
        try:
            types = dict(self._columns(files[0][1]))
            self.connection.execute(f"insert into held {self._checked(parquet_source(paths, types), types)}")
            self._fetch_bad_rows({number: path for path, number in paths.items()})
        except duckdb.Error as error:
            self._drop(files)
            if len(files) == 1:
                return {files[0][0]: self._not_parquet(files[0][1], error)}
            broken: dict[int, str] = {}
            for entry in files:
                broken |= self._parquet_batch([entry])
            return broken
        return {}

    def _not_parquet(self, file: LandedFile, error: duckdb.Error) -> str:
        """The reason for a file that cannot be read. A file that needs far more memory than its footer declares is damaged."""
        if _is_of_the_machine(error):
            asks_too_much = 8 * self._promised(file)[1] < memory_limit(self.connection)
            if not self.isolate or is_disk_full(error) or MACHINE_IS_FULL in str(error) or not asks_too_much:
                raise _broken(file, error) from None
        return f"not readable as Parquet: {str(error).splitlines()[0][:300]}"

    def _fetch_bad_rows(self, paths: dict[int, str]) -> None:
        """Read the rows that broke a rule again with all columns, for the quarantine."""
        found = self.connection.execute(
            "select distinct file_no from held where reason is not null and text is null"
        ).fetchall()
        for (number,) in found:
            if number in paths:
                self.connection.execute(
                    f"""
                    update held set text = again.text
                    from (select file_row_number + 1 as line, cast(to_json(landed) as varchar) as text
                          from read_parquet(
                              {file_literal(paths[number])}, file_row_number = true, hive_partitioning = false
                          ) as landed) as again
                    where held.file_no = {number} and held.line = again.line and held.reason is not null
                    """
                )

    def _drop(self, files: list[NumberedFile]) -> None:
        self.connection.execute("delete from held where list_contains(?, file_no)", [[number for number, _ in files]])

    def _note_whole_files(self, broken: dict[int, str]) -> None:
        """One entry (line 0) for each file that was set aside whole."""
        for number, reason in broken.items():
            self.connection.execute(
                "insert into held by name select ? as file_no, 0 as line, '' as column_name, ? as reason",
                [number, f"file {reason}"],
            )


def _batches(files: list[NumberedFile], weight: Callable[[LandedFile], int], at_most: int) -> Iterator[list[NumberedFile]]:
    """The files in their order, in runs of at most this weight; a heavier file is alone."""
    batch: list[NumberedFile] = []
    heavy = 0
    for entry in files:
        own = weight(entry[1])
        if batch and heavy + own > at_most:
            yield batch
            batch, heavy = [], 0
        batch.append(entry)
        heavy += own
    if batch:
        yield batch


def _text_bytes(file: LandedFile) -> int:
    return file.size * (EXPANSION if file.name.endswith(".gz") else 1)


def _is_of_the_machine(error: Exception) -> bool:
    return _is_no_memory(error) or is_disk_full(error)


def _is_no_memory(error: Exception) -> bool:
    """True also where DuckDB reports a ``MemoryError`` of the stream that it reads as an invalid input, with that message."""
    text = str(error)
    return isinstance(error, duckdb.OutOfMemoryException | MemoryError) or (FROM_READING in text and "MemoryError" in text)


def _broken(file: LandedFile, error: Exception) -> BrokenFileError:
    cause = f"{type(error).__name__}: {error}"
    is_of_reading = isinstance(error, OSError) or FROM_READING in str(error)
    if not is_of_reading and not _is_of_the_machine(error):  # DuckDB's message may quote a line
        cause = f"{type(error).__name__}; customer360 check says more of the file"
    if _is_no_memory(error) and not is_disk_full(error):
        cause = f"too little memory to read it; give CUSTOMER360_MEMORY_LIMIT more, or land it in smaller files. {cause}"
    return BrokenFileError(file.name, cause)
