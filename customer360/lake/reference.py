"""Reference tables: files to checked, versioned tables with the validity of every row.

All files in ``landing/reference/<table>/`` together are the table. A load that fails leaves the last good version in force.
The first version is valid from the beginning of time, later ones from the load's own time, so that a training set sees
a customer as known then.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from customer360.lake.atomic import replacing, write_text
from customer360.lake.contracts import Column, ReferenceTable, reference_tables
from customer360.lake.engine import connect, file_literal, literal, quoted
from customer360.lake.landing import LandedFile, list_folder
from customer360.lake.slices import naive
from customer360.settings import Place, Settings

BEGINNING = "timestamp '1970-01-01'"
SHOWN_PROBLEMS = 5


@dataclass(frozen=True)
class RowProblem:
    """A value that breaks the contract: its row (from 1 after the header), column, and how many rows break the same rule."""

    row: int
    column: str
    reason: str
    such_rows: int

    def __str__(self) -> str:
        """As one line of a message."""
        return f"row {self.row}, column {self.column}: {self.reason} (1 of {self.such_rows} such rows)"


class BrokenReferenceError(ValueError):
    """A reference table's files break its contract. The message names file, row, column and remedy.

    ``problems`` are the values at fault, where the cause is values.
    """

    def __init__(self, message: str, problems: tuple[RowProblem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


@dataclass(frozen=True)
class ReferenceLoad:
    """What a load found: rows now in force, rows that opened or closed a validity, and columns that nobody reads."""

    table: str
    files: int
    rows: int
    opened: int
    closed: int
    version: str
    ignored_columns: list[str]


def history_file(place: Place, table: str) -> Path:
    """All versions of all rows: the contract's columns, valid_from, valid_to (empty while in force)."""
    return place.raw / table / "history.parquet"


def versions_file(place: Place, table: str) -> Path:
    """One JSON line per version that was loaded."""
    return place.raw / table / "versions.jsonl"


def load_reference(settings: Settings, table: str, now: datetime) -> ReferenceLoad:
    """Check the files of one table and, if their content is new, make it the version in force from ``now`` (UTC) on.

    A table without files that was never loaded stays unloaded: its first files will be valid from the beginning.
    Raises ``BrokenReferenceError`` when a file breaks the contract, or all files are gone; nothing is changed then.
    """
    contract = reference_tables(settings.shop)[table]
    folder = settings.place.landing / "reference" / table
    listing = list_folder(folder, recursive=True)
    if not listing.files:
        if history_file(settings.place, table).exists():
            raise BrokenReferenceError(
                f"{table}: {folder} has no files any more. The last good version stays in force; to empty the table, land a "
                "file with its header and no rows."
            )
        return ReferenceLoad(table, 0, 0, 0, 0, "none", [])
    with connect(settings.place.root / ".tmp") as connection:
        ignored = _read_files(connection, contract, listing.files)
        _check_keys(connection, contract)
        return _merge(connection, settings.place, contract, now, files=len(listing.files), ignored=ignored)


def check_reference(settings: Settings, table: str, files: tuple[LandedFile, ...]) -> int:
    """Rows of a table whose files keep the contract; raises ``BrokenReferenceError`` otherwise. Writes nothing."""
    contract = reference_tables(settings.shop)[table]
    with connect(settings.place.root / ".tmp") as connection:
        _read_files(connection, contract, files)
        _check_keys(connection, contract)
        (rows,) = connection.execute("select count(*) from landed").fetchone() or (0,)
        return int(rows)


def unread_columns(settings: Settings, table: str, file: LandedFile) -> list[str]:
    """Columns of a file that its contract does not know; nobody reads them. Raises ``duckdb.Error`` where it cannot be read."""
    known = {column.name for column in reference_tables(settings.shop)[table].columns}
    with connect(settings.place.root / ".tmp") as connection:
        present = connection.execute(f"describe select * from {_relation(connection, file)}").fetchall()
    return sorted({name for name, *_ in present} - known)


def typed_columns(contract: ReferenceTable) -> str:
    """Column list with types, without the validity."""
    return ", ".join(f"{quoted(column.name)} {column.type}" for column in contract.columns)


def _read_files(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, files: tuple[LandedFile, ...]) -> list[str]:
    """Fill the temporary table ``landed`` (typed columns, source_file, source_row); returns the columns that it ignored."""
    connection.execute(f"create temp table landed ({typed_columns(contract)}, source_file varchar, source_row bigint)")
    ignored: set[str] = set()
    for file in files:
        try:
            relation = _relation(connection, file)
            present = [name for name, *_ in connection.execute(f"describe select * from {relation}").fetchall()]
            connection.execute(
                f"create or replace temp table texts as "
                f"select *, row_number() over () as source_row from (select cast(columns(*) as varchar) from {relation})"
            )
        except duckdb.Error as error:
            raise BrokenReferenceError(f"{contract.name}: {file.path} cannot be read: {str(error)[:800]}") from error
        missing = [column.name for column in contract.columns if column.required and column.name not in present]
        if missing:
            raise BrokenReferenceError(
                f"{contract.name}: {file.path} lacks the required column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
                f"it has {', '.join(present)}. Add the column, or rename one; see docs/your-data.md."
            )
        _check_types(connection, contract, file, present)
        fields = ", ".join(_cast(column) if column.name in present else "null" for column in contract.columns)
        connection.execute(f"insert into landed select {fields}, {literal(file.name)}, source_row from texts")
        ignored |= set(present) - {column.name for column in contract.columns}
    return sorted(ignored)


def _relation(connection: duckdb.DuckDBPyConnection, file: LandedFile) -> str:
    path = file_literal(file.path)
    if file.name.endswith(".parquet"):
        return f"read_parquet({path}, hive_partitioning = false)"
    if file.name.endswith((".jsonl", ".jsonl.gz")):
        return _json_relation(connection, path)
    if file.name.endswith((".csv", ".csv.gz")):
        shape = "header = true, skip = 0, comment = '', delim = ',', quote = '\"', escape = '\"'"
        return f"read_csv({path}, all_varchar = true, {shape})"
    raise BrokenReferenceError(f"{file.path} is of no known type: .csv, .jsonl, .jsonl.gz or .parquet")


def _json_relation(connection: duckdb.DuckDBPyConnection, path: str) -> str:
    """Every key as text, as it stands in the file: guessed types rewrite ids that look like dates and quote mixed ones."""
    objects = f"read_ndjson_objects({path}, maximum_object_size = 16777216)"
    keys = connection.execute(
        f"select key from (select unnest(json_keys(json)) as key from {objects}) group by key order by key"
    ).fetchall()
    if not keys:
        return f"(select 1 as nothing from {objects} where false)"
    structure = json.dumps({key: "VARCHAR" for (key,) in keys}, ensure_ascii=False)
    return f"(select fields.* from (select json_transform(json, {literal(structure)}) as fields from {objects}))"


def _cast(column: Column) -> str:
    name = f"nullif({quoted(column.name)}, '')"
    if column.type == "TIMESTAMP":
        return f"cast(try_cast({name} as timestamptz) as timestamp)"
    if column.type == "VARCHAR":
        return name
    value = f"try_cast({name} as {column.type})"
    if column.type == "BIGINT":  # DuckDB would round 1.5
        return f"case when try_cast({name} as double) = {value} then {value} end"
    return f"case when isfinite({value}) then {value} end" if column.type == "DOUBLE" else value


def _check_types(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, file: LandedFile, present: list[str]) -> None:
    problems: list[RowProblem] = []
    for column in contract.columns:
        if column.name not in present:
            continue
        name = quoted(column.name)
        tests = [f"nullif({name}, '') is not null and {_cast(column)} is null"] if column.type != "VARCHAR" else []
        tests += [f"nullif({name}, '') is null"] if column.required else []
        for test in tests:
            rows = connection.execute(
                f"select source_row, {name}, count(*) over () from texts "
                f"where {test} order by source_row limit {SHOWN_PROBLEMS}"
            ).fetchall()
            for row, value, total in rows:
                said = "is empty but required" if value in (None, "") else f"{value!r} is not of type {column.type}"
                problems.append(RowProblem(row, column.name, said, total))
    if problems:
        shown = "\n  ".join(str(problem) for problem in problems[: SHOWN_PROBLEMS * 2])
        raise BrokenReferenceError(
            f"{contract.name}: {file.path} breaks its contract:\n  {shown}\n"
            "Rows count from 1 after the header. Mend the file; the last good version stays in force until then.",
            tuple(problems),
        )


def _key(contract: ReferenceTable) -> str:
    return ", ".join("coalesce(line_no, 0)" if name == "line_no" else quoted(name) for name in contract.key)


def _check_keys(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable) -> None:
    twice = connection.execute(
        f"""
        select string_agg(source_file || ' row ' || source_row, ', ' order by source_file, source_row),
            any_value(concat_ws(' / ', {_key(contract)})), count(*) over ()
        from landed group by {_key(contract)} having count(*) > 1 limit {SHOWN_PROBLEMS}
        """
    ).fetchall()
    if twice:
        lines = "\n  ".join(f"{key}: {rows[:300]}" for rows, key, _ in twice)
        raise BrokenReferenceError(
            f"{contract.name}: {twice[0][2]} keys ({', '.join(contract.key)}) appear more than once, among them:\n  {lines}\n"
            "Keep one row per key over all files of the folder; the last good version stays in force until then."
        )


def _merge(
    connection: duckdb.DuckDBPyConnection,
    place: Place,
    contract: ReferenceTable,
    now: datetime,
    *,
    files: int,
    ignored: list[str],
) -> ReferenceLoad:
    names = ", ".join(quoted(column.name) for column in contract.columns)
    history = history_file(place, contract.name)
    _read_history(connection, contract, history)
    # A clock that went back must not give a moment two versions of a row.
    since = f"greatest(timestamp '{naive(now)}', (select max(valid_from) from past))"
    stamp = since if history.exists() else BEGINNING
    connection.execute(
        f"create temp table closing as (select {names} from past where valid_to is null) except (select {names} from landed)"
    )
    connection.execute(
        f"create temp table opening as (select {names} from landed) except (select {names} from past where valid_to is null)"
    )
    counts = connection.execute(
        "select (select count(*) from landed), (select count(*) from opening), (select count(*) from closing), "
        f"(select format('{{:016x}}', coalesce(bit_xor(hash(content)), 0)) from (select {names} from landed) as content)"
    ).fetchone()
    rows, opened, closed, version = counts or (0, 0, 0, "")
    load = ReferenceLoad(contract.name, files, rows, opened, closed, version, ignored)
    if opened or closed or not history.exists():
        keys = " and ".join(f"past.{quoted(name)} is not distinct from closing.{quoted(name)}" for name in contract.key)
        with replacing(history) as temporary:
            connection.execute(
                f"""
                copy (
                    select {names}, valid_from,
                        case when valid_to is null and exists (select 1 from closing where {keys}) then {stamp}
                            else valid_to end as valid_to
                    from past
                    union all
                    select {names}, {stamp}, null from opening
                    order by {", ".join(quoted(name) for name in contract.key)}, valid_from
                ) to {literal(str(temporary))} (format parquet, compression zstd)
                """
            )
        record = json.dumps({**asdict(load), "valid_from": now.isoformat() if opened != rows or closed else "beginning"})
        past = versions_file(place, contract.name)
        write_text(past, (past.read_text(encoding="utf-8") if past.exists() else "") + record + "\n")
    return load


def _read_history(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, history: Path) -> None:
    """Fill ``past`` with the versions so far; columns that the contract has gained since are empty in old rows."""
    connection.execute(f"create temp table past ({typed_columns(contract)}, valid_from timestamp, valid_to timestamp)")
    if history.exists():
        relation = f"read_parquet({literal(str(history))}, hive_partitioning = false)"
        present = [name for name, *_ in connection.execute(f"describe select * from {relation}").fetchall()]
        wanted = [column.name for column in contract.columns if column.name in present]
        columns = ", ".join(quoted(name) for name in [*wanted, "valid_from", "valid_to"])
        connection.execute(f"insert into past by name select {columns} from {relation}")


def reference_relation(place: Place, contract: ReferenceTable) -> str:
    """SQL of all versions of a table, or of no rows with the right types before the first load."""
    history = history_file(place, contract.name)
    typed = ", ".join(f"cast(null as {column.type}) as {quoted(column.name)}" for column in contract.columns)
    empty = f"select {typed}, cast(null as timestamp) as valid_from, cast(null as timestamp) as valid_to where false"
    if not history.exists():
        return empty
    return f"({empty}) union all by name select * from read_parquet({literal(str(history))}, hive_partitioning = false)"
