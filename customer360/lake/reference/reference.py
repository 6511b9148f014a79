"""Reference tables: from files or PostgreSQL to checked, versioned tables with the validity of every row.

All files in ``landing/reference/<table>/`` together are the table, unless shop.yaml says that it is in PostgreSQL. Rows that
break the contract are set aside in the quarantine; a load that fails leaves the last good version in force. The first version
is valid from the beginning of time, later ones from the time of the load, so that training sees attributes as of each cut-off.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from customer360.lake.atomic import TEMPORARY_PREFIX, exclusive
from customer360.lake.disk import explaining_full_disk, is_disk_full
from customer360.lake.engine import column_types, connect, file_literal, literal, quoted, row_count
from customer360.lake.landing.contracts import ReferenceTable, reference_tables
from customer360.lake.landing.listing import LandedFile
from customer360.lake.landing.location import find_landing
from customer360.lake.landing.reading import SAVE_AS, ContentError, LineStream, csv_fault, csv_relation, is_csv
from customer360.lake.landing.source_columns import Source, UnknownColumnError, source_columns
from customer360.lake.landing.values import TEXT, exact_below, parquet_precisions, refused_precision, refused_type
from customer360.lake.object_store import StoreError
from customer360.lake.raw.quarantine import write_reference_quarantine
from customer360.lake.reference.postgres import UnreadableSourceError
from customer360.lake.reference.reference_addresses import check_addresses, refused_addresses
from customer360.lake.reference.reference_history import (
    NOT_KEPT,
    ReferenceLoad,
    create_past,
    has_other_lines,
    history_file,
    last_version,
    merge,
)
from customer360.lake.reference.reference_postgres import Fetched, fetch, origin_of, take, trusted_read
from customer360.lake.reference.reference_rows import (
    SHOWN_PROBLEMS,
    BrokenReferenceError,
    Origin,
    RowProblem,
    broken_rows,
    check_columns,
    create_incoming,
    keep_distinct,
    set_aside_rows,
    set_faults_aside,
    set_repeats_aside,
    take_rows,
)
from customer360.lake.reference.unknown_keys import POINTERS
from customer360.lake.slices import naive
from customer360.settings import PostgresSource, Settings, Shop
from customer360.text import many

POINTING = {column for _, column, _ in POINTERS}
MEND_FILE = "Rows count from 1, of CSV after the header. Mend the file"
OUT_OF_MEMORY = "too little memory; give CUSTOMER360_MEMORY_LIMIT more, or land it in smaller files"


@dataclass(frozen=True)
class CheckedTable:
    """Good rows, the number of rows that would be set aside and the first ``problems``, unread columns, and ``ids``.

    ``ids``: column -> id -> rows, of the columns that point to another table or are pointed to.
    ``remarks`` are on times that keep the contract and may be wrong all the same.
    """

    rows: int
    set_aside: int
    problems: list[RowProblem]
    ignored: list[str]
    ids: dict[str, dict[str, int]]
    remarks: list[str]


def load_reference(settings: Settings, table: str, now: datetime) -> ReferenceLoad:
    """Check the rows of one table and, if their content is new, make it the version in force from ``now`` (UTC) on.

    A table without files that was never loaded stays unloaded: its first files will be valid from the beginning. Where
    PostgreSQL, or the store of landing, cannot be read, the last good version stays in force and the load says why.
    Raises ``BrokenReferenceError`` when a file cannot be read, all rows are gone, more rows are broken than good while an
    earlier version is in force, or a suppression names no customer, and ``UnreadableSourceError`` or ``StoreError`` when the
    source cannot be read and no version was ever loaded; nothing is changed then. One load of a table at a time: runs load it,
    and so does every sending of campaigns.
    """
    contract = reference_tables(settings.shop)[table]
    source = settings.shop.reference.get(contract.name)
    try:
        with explaining_full_disk(settings.place.root), exclusive(settings.place.root / ".locks" / f"{table}.lock"):
            if source is None:
                return _load_files(settings, contract, now)
            return _load_postgres(settings, contract, source.postgres, now)
    except (UnreadableSourceError, StoreError) as error:
        last = last_version(settings.place, table)
        if last is None:
            raise
        return _still_in_force(table, last, str(error))


def check_files(settings: Settings, table: str, files: tuple[LandedFile, ...], most: int, now: datetime) -> CheckedTable:
    """Judge a table of files; raises ``BrokenReferenceError`` where it would not be loaded. Writes nothing.

    ``now`` is the wall clock, UTC: later times are remarked on.
    """
    contract = reference_tables(settings.shop)[table]
    with connect(settings.place.scratch) as connection:
        ignored = _read_files(connection, settings.shop, contract, files)
        zone = Source.of(settings.shop, table).options.time_zone
        remarks = [*_remarks(connection, contract, now), *_repeated_hour_remarks(connection, contract, zone)]
        return _checked(connection, contract, ignored, most, remarks)


def check_postgres(settings: Settings, table: str, source: PostgresSource, now: datetime, most: int) -> CheckedTable:
    """Judge a table of PostgreSQL, read in full. Raises ``BrokenReferenceError`` or ``UnreadableSourceError``."""
    contract = reference_tables(settings.shop)[table]
    with (
        connect(settings.place.scratch) as connection,
        TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=settings.place.scratch) as folder,
    ):
        fetched = fetch(contract, source, None, Path(folder), now)
        _take_fetched(connection, contract, source, fetched)
        return _checked(connection, contract, fetched.ignored, most, list(_remarks(connection, contract, now)))


def _remarks(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, now: datetime) -> Iterator[str]:
    """Remarks on addresses that are none, and on times after ``now``."""
    count, refused = refused_addresses(connection, SHOWN_PROBLEMS)
    if refused:
        shown = "; ".join(f"row {found.row} {found.fault}" if found.row else f"{found.key} {found.fault}" for found in refused)
        more = f"; and {count - len(refused):,} more" if count > len(refused) else ""
        yield f"{refused[0].column}: {many(count, 'row')} with an address that counts as empty, the rest is used: {shown}{more}"
    for name, rows, example in _times_where(connection, contract, f"{{}} > timestamp '{naive(now)}'"):
        yield f"{name}: {many(rows, 'row')} in the future, the first is {example}; look at day and month, and the time zone"


def _repeated_hour_remarks(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, zone: str | None) -> Iterator[str]:
    """Remarks on local times that were twice, when the clocks of ``zone`` went back."""
    local = f"timezone({literal(zone or 'UTC')}, timezone('UTC', {{}}))"
    again = f"{local} = {local.replace('{}', '{} - interval 1 hour')}"
    for name, rows, example in _times_where(connection, contract, again) if zone else ():
        yield (
            f"{name}: {many(rows, 'row')} lie in the hour that comes twice when the clocks of {zone} go back, the first is "
            f"{example}; they are taken for the later hour"
        )


def _times_where(
    connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, condition: str
) -> Iterator[tuple[str, int, str]]:
    """By column of times: its name, the rows of ``incoming`` in which ``condition`` holds, and the first of them."""
    for name in [column.name for column in contract.columns if column.type == "TIMESTAMP"]:
        rows, example = connection.execute(
            f"select count(*), arg_min(concat_ws(' ', _file, 'row', _row) || ', ' || {quoted(name)} || ' UTC', (_file, _row)) "
            f"from incoming where {condition.replace('{}', quoted(name))}"
        ).fetchone() or (0, "")
        if rows:
            yield name, int(rows), str(example)


def _checked(
    connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, ignored: list[str], most: int, remarks: list[str]
) -> CheckedTable:
    problems = set_aside_rows(connection, contract, most)
    ids = {
        column.name: dict(
            connection.execute(
                f"select {quoted(column.name)}, count(*) from incoming where {quoted(column.name)} is not null group by all"
            ).fetchall()
        )
        for column in contract.columns
        if column.name in POINTING
    }
    rows, aside = row_count(connection, "incoming"), row_count(connection, "set_aside")
    return CheckedTable(rows, aside, problems, ignored, ids, remarks)


def _load_files(settings: Settings, contract: ReferenceTable, now: datetime) -> ReferenceLoad:
    landing = find_landing(settings)
    folder = f"reference/{contract.name}"
    with landing.open_folder(folder) as listing, connect(settings.place.scratch) as connection:
        if not listing.files:
            if history_file(settings.place, contract.name).exists():
                raise BrokenReferenceError(
                    f"{contract.name}: {landing.title}/{folder} has no files any more. The last good version stays in force; "
                    "to empty the table, land a file with its header and no rows."
                )
            return ReferenceLoad(contract.name, 0, 0, 0, 0, "none", [])
        ignored = _read_files(connection, settings.shop, contract, listing.files)
        create_past(connection, settings.place, contract)
        _refuse_mostly_broken(connection, contract, MEND_FILE)
        load = merge(connection, settings.place, contract, now, files=len(listing.files), ignored=ignored)
        return _with_quarantine(connection, settings, contract, load)


def _refuse_mostly_broken(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, remedy: str) -> None:
    """Raise ``BrokenReferenceError`` where most rows are broken and fewer are left than are in force.

    The files of a first load are taken as often as they are read: each of their broken rows costs itself alone.
    """
    good, aside = row_count(connection, "incoming"), row_count(connection, "set_aside")
    if aside > good and row_count(connection, "past where valid_to is null") > good:
        raise broken_rows(
            connection,
            contract,
            f"{contract.name}: {aside:,} of {good + aside:,} rows break the contract, among them",
            f"{remedy}; the last good version stays in force until then.",
        )


def _with_quarantine(
    connection: duckdb.DuckDBPyConnection, settings: Settings, contract: ReferenceTable, load: ReferenceLoad
) -> ReferenceLoad:
    is_full = load.postgres is None or load.postgres.is_full
    count = write_reference_quarantine(connection, settings.place, load.table, is_full)
    faults = tuple(problem.for_logs for problem in set_aside_rows(connection, contract, SHOWN_PROBLEMS))
    addresses, refused = refused_addresses(connection, SHOWN_PROBLEMS)
    return replace(
        load,
        set_aside=count,
        faults=faults,
        refused_addresses=addresses,
        address_faults=tuple(problem.for_logs for problem in refused),
    )


def _load_postgres(settings: Settings, contract: ReferenceTable, source: PostgresSource, now: datetime) -> ReferenceLoad:
    with (
        connect(settings.place.scratch) as connection,
        TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=settings.place.scratch) as folder,
    ):
        create_past(connection, settings.place, contract)
        last = trusted_read(connection, contract, source, last_version(settings.place, contract.name), now)
        fetched = fetch(contract, source, last, Path(folder), now)
        _take_fetched(connection, contract, source, fetched)
        if not fetched.read.is_full and has_other_lines(connection, contract):
            fetched = fetch(contract, source, None, Path(folder), now)
            _take_fetched(connection, contract, source, fetched)
        if fetched.read.is_full and not fetched.read.rows and row_count(connection, "past where valid_to is null"):
            raise BrokenReferenceError(
                f"{contract.name}: {source.title} has no rows any more, as while it is filled anew. The last good version "
                "stays in force; to empty the table, take it out of `reference` in shop.yaml and land a file with its header "
                "and no rows."
            )
        if fetched.read.is_full:
            _refuse_mostly_broken(connection, contract, origin_of(source).remedy)
        load = merge(connection, settings.place, contract, now, files=0, ignored=fetched.ignored, postgres=fetched.read)
        return _with_quarantine(connection, settings, contract, load)


def _take_fetched(
    connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, source: PostgresSource, fetched: Fetched
) -> None:
    create_incoming(connection, contract)
    take(connection, contract, source, fetched)
    check_addresses(connection, contract)
    set_repeats_aside(connection, contract)
    set_faults_aside(connection, contract)


def _still_in_force(table: str, last: dict[str, object], reason: str) -> ReferenceLoad:
    """The last good version as the result of a load that could not read its source, with the reason."""
    field_names = {field.name for field in fields(ReferenceLoad)} - {"postgres", "opened", "closed", *NOT_KEPT}
    written = {name: value for name, value in last.items() if name in field_names}
    read = last.get("postgres")
    rows = many(int(str(last["rows"])), "row")
    in_force = f"read at {read['read_at']}" if isinstance(read, dict) else f"valid from {last['valid_from']}"
    not_read = f"{table}: {reason}. The last good version ({rows}, {in_force}) stays in force."
    return ReferenceLoad(**{**written, "opened": 0, "closed": 0, "not_read": not_read})  # type: ignore[arg-type]  # as it was written


def _read_files(
    connection: duckdb.DuckDBPyConnection, shop: Shop, contract: ReferenceTable, files: tuple[LandedFile, ...]
) -> list[str]:
    """Fill the temporary tables ``incoming`` and ``set_aside``; returns the columns outside the contract."""
    create_incoming(connection, contract)
    source = Source.of(shop, contract.name)
    ignored: set[str] = set()
    for file in files:
        origin = Origin(file.where, MEND_FILE, file.name)
        try:
            columns, present, numeric = _read_file(connection, contract, file, source)
        except (ContentError, UnknownColumnError, csv.Error) as error:
            fault = f"not readable as CSV: {csv_fault(error)}" if isinstance(error, csv.Error) else str(error)
            raise BrokenReferenceError(f"{contract.name}: {file.where} cannot be read: {fault}") from error
        except duckdb.Error as error:
            if is_disk_full(error):
                raise
            fault = OUT_OF_MEMORY if isinstance(error, duckdb.OutOfMemoryException) else _parquet_fault(file)
            raise BrokenReferenceError(f"{contract.name}: {file.where} cannot be read: {fault}") from error
        check_columns(contract, origin, columns, present)
        take_rows(connection, contract, origin, columns, numeric)
        ignored |= set(present) - {column.name for column in contract.read_columns} - source.used_columns
    check_addresses(connection, contract)
    if source.options.distinct:
        keep_distinct(connection, contract)
    set_repeats_aside(connection, contract)
    set_faults_aside(connection, contract)
    return sorted(ignored)


def _parquet_fault(file: LandedFile) -> str:
    with file.path.open("rb") as opened:
        is_parquet = opened.read(4) == b"PAR1"
    return f"it {'is a damaged or unfinished' if is_parquet else 'is no'} Parquet file; write it again, then rename it"


Read = tuple[list[str], list[str], Mapping[str, tuple[str, int]]]


def _read_file(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, file: LandedFile, source: Source) -> Read:
    """Make ``texts`` of a file's rows; returns its columns of the contract, all of them, and ``numeric`` of ``take_rows``."""
    if file.obstacle:
        raise BrokenReferenceError(f"{file.name} {file.obstacle}")
    if file.name.endswith(".parquet"):
        return _read_parquet(connection, contract, file, source.typed)
    if is_csv(file):
        (scratch,) = connection.execute("select current_setting('temp_directory')").fetchone() or ("",)
        with csv_relation(file, source.options, Path(scratch)) as (present, relation):
            columns = source_columns(contract.read_columns, source, present)
            try:
                _create_texts(connection, columns, relation)
            except duckdb.Error:  # a row is not as the others: read line by line, ten times slower, to name it
                return _read_lines(connection, contract, file, source)
        return list(columns), present, {column.name: ("false", 0) for column in contract.columns if column.is_id}
    if file.name.endswith((".jsonl", ".jsonl.gz")):
        return _read_lines(connection, contract, file, source.typed)
    way_out = f"; {SAVE_AS}" if file.name.lower().endswith((".xls", ".xlsx", ".xlsm", ".ods", ".numbers")) else ""
    raise BrokenReferenceError(f"{file.where} is of no known type: .csv, .csv.gz, .jsonl, .jsonl.gz or .parquet{way_out}")


def _create_texts(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, str], relation: str, kinds: Mapping[str, str] | None = None
) -> None:
    texts = "".join(f"{expression} as {quoted(name)}, " for name, expression in columns.items())
    source = "*" if kinds is None else ", ".join(f"cast({quoted(name)} as varchar) as {quoted(name)}" for name in kinds)
    connection.execute(
        f"create or replace temp table texts as select {texts} _row, null::varchar as _problem, null::varchar as _raw "
        f"from (select {source}, row_number() over () as _row from {relation})"
    )


def _read_parquet(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, file: LandedFile, source: Source) -> Read:
    relation = f"read_parquet({file_literal(file.path)}, hive_partitioning = false)"
    kinds = column_types(connection, relation)
    columns = source_columns(contract.read_columns, source, kinds)
    names = {column: source.name_of(column.name) for column in contract.columns}
    typed = {column: kinds[name] for column, name in names.items() if name in kinds}
    wide = refused_precision(parquet_precisions(connection, file.path, [name for name in names.values() if name]))
    refused = [reason for reason in (wide, *(refused_type(column, kind) for column, kind in typed.items())) if reason]
    if refused:
        raise BrokenReferenceError(f"{contract.name}: {file.where} cannot be read by the contract: {'; '.join(refused)}")
    _create_texts(connection, columns, relation, kinds)
    ids = {column.name: typed.get(column, "VARCHAR") for column in contract.columns if column.is_id}
    numeric = {name: (str(kind not in TEXT).lower(), exact_below(kind)) for name, kind in ids.items()}
    return list(columns), list(kinds), numeric


def _read_lines(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, file: LandedFile, source: Source) -> Read:
    """Every value as text, unchanged: DuckDB's type detection rewrites ids that look like dates, and quotes mixed types."""
    stream = LineStream([file], [0], source.options)
    connection.register("file_lines", stream.reader())
    is_object = "problem is null and json_valid(text) and json_type(text) = 'OBJECT'"
    connection.execute(
        f"""
        create or replace temp table lines as
        select line, text, case when problem is not null then problem when not json_valid(text) then 'is not valid JSON'
            when json_type(text) <> 'OBJECT' then 'is not a JSON object' end as problem,
            case when {is_object} then text end as object
        from file_lines where problem is not null or not regexp_full_match(text, '\\s*')
        """
    )
    connection.unregister("file_lines")
    for reason in stream.broken.values():
        raise BrokenReferenceError(f"{contract.name}: {file.where} cannot be read: {reason}")
    keys = connection.execute("select distinct unnest(json_keys(object)) as key from lines order by key").fetchall()
    present = [key for (key,) in keys]
    if not present and (found := connection.execute("select line, problem from lines order by line limit 1").fetchone()):
        raise BrokenReferenceError(f"{contract.name}: {file.where} cannot be read: line {found[0]} {found[1]}")
    columns = source_columns(contract.read_columns, source, present)
    read = sorted({*source.used_columns, *columns} & set(present))
    fields = "".join(f"fields.{quoted(name)} as {quoted(name)}, " for name in read)
    structure = literal(json.dumps(dict.fromkeys(read, "VARCHAR")))
    texts = "".join(f"{expression} as {quoted(name)}, " for name, expression in columns.items())
    row = "row_number() over (order by line)" if is_csv(file) else "line"
    connection.execute(
        f"""
        create or replace temp table texts as
        select {texts} _row, _problem, _raw, _object
        from (
            select {fields} {row} as _row, problem as _problem, text as _raw, object as _object
            from (select *, {f"json_transform(object, {structure})" if read else "null"} as fields from lines)
        )
        """
    )
    connection.execute("drop table lines")
    paths = {column.name: source.name_of(column.name) for column in contract.columns if column.is_id and column.name in columns}
    types = {name: f"json_type(_object, {literal(f'$.{json.dumps(path)}')})" for name, path in paths.items()}
    return list(columns), present, {name: (f"{kind} = 'DOUBLE'", exact_below("DOUBLE")) for name, kind in types.items()}
