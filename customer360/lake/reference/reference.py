"""Reference tables: from files or PostgreSQL to checked, versioned tables with the validity of every row.

All files in ``landing/reference/<table>/`` together are the table, unless shop.yaml says that it is in PostgreSQL. A load that
fails leaves the last good version in force. The first version is valid from the beginning of time, later ones from the load's
own time, so that a training set sees a customer as known then.
"""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from customer360.lake.atomic import TEMPORARY_PREFIX, exclusive
from customer360.lake.disk import explaining_full_disk
from customer360.lake.engine import connect, file_literal, literal
from customer360.lake.landing.contracts import ReferenceTable, reference_tables
from customer360.lake.landing.listing import LandedFile
from customer360.lake.landing.location import find_landing
from customer360.lake.object_store import StoreError
from customer360.lake.reference.postgres import UnreadableSourceError
from customer360.lake.reference.reference_history import ReferenceLoad, create_past, history_file, last_version, merge
from customer360.lake.reference.reference_postgres import Fetched, fetch, land, origin_of, trusted_read
from customer360.lake.reference.reference_rows import (
    BrokenReferenceError,
    Origin,
    check_columns,
    check_keys,
    create_landed,
    land_texts,
)
from customer360.settings import PostgresSource, Settings
from customer360.text import many

MEND_FILE = "Rows count from 1 after the header. Mend the file"
ONE_ROW_A_KEY = "Keep one row per key over all files of the folder"


def load_reference(settings: Settings, table: str, now: datetime) -> ReferenceLoad:
    """Check the rows of one table and, if their content is new, make it the version in force from ``now`` (UTC) on.

    A table without files that was never loaded stays unloaded: its first files will be valid from the beginning. Where
    PostgreSQL, or the store of landing, cannot be read, the last good version stays in force and the load says why.
    Raises ``BrokenReferenceError`` when the rows break the contract, or all are gone, and ``UnreadableSourceError`` or
    ``StoreError`` when the source cannot be read and no version was ever loaded; nothing is changed then. One load of a table
    at a time: runs load it, and so does every sending of campaigns.
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


def check_files(settings: Settings, table: str, files: tuple[LandedFile, ...]) -> int:
    """Rows of a table whose files keep the contract; raises ``BrokenReferenceError`` otherwise. Writes nothing."""
    contract = reference_tables(settings.shop)[table]
    with connect(settings.place.root / ".tmp") as connection:
        _read_files(connection, contract, files)
        check_keys(connection, contract, ONE_ROW_A_KEY)
        return _rows_of(connection, "landed")


def check_postgres(settings: Settings, table: str, source: PostgresSource, now: datetime) -> tuple[int, list[str]]:
    """Rows of a table of PostgreSQL that keeps the contract, and its columns that nobody reads. Changes nothing.

    Raises ``BrokenReferenceError`` or ``UnreadableSourceError``.
    """
    contract = reference_tables(settings.shop)[table]
    scratch = settings.place.root / ".tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=scratch) as folder, connect(scratch) as connection:
        fetched = fetch(contract, source, None, Path(folder), now)
        _land_fetched(connection, contract, source, fetched)
        return fetched.read.rows, fetched.ignored


def unread_columns(settings: Settings, table: str, file: LandedFile) -> list[str]:
    """Columns of a file that its contract does not know; nobody reads them. Raises ``duckdb.Error`` where it cannot be read."""
    known = {column.name for column in reference_tables(settings.shop)[table].columns}
    with connect(settings.place.root / ".tmp") as connection:
        present = connection.execute(f"describe select * from {_relation(connection, file)}").fetchall()
    return sorted({name for name, *_ in present} - known)


def _load_files(settings: Settings, contract: ReferenceTable, now: datetime) -> ReferenceLoad:
    landing = find_landing(settings)
    folder = f"reference/{contract.name}"
    with landing.open_folder(folder) as listing, connect(settings.place.root / ".tmp") as connection:
        if not listing.files:
            if history_file(settings.place, contract.name).exists():
                raise BrokenReferenceError(
                    f"{contract.name}: {landing.title}/{folder} has no files any more. The last good version stays in force; "
                    "to empty the table, land a file with its header and no rows."
                )
            return ReferenceLoad(contract.name, 0, 0, 0, 0, "none", [])
        ignored = _read_files(connection, contract, listing.files)
        check_keys(connection, contract, ONE_ROW_A_KEY)
        create_past(connection, settings.place, contract)
        return merge(connection, settings.place, contract, now, files=len(listing.files), ignored=ignored)


def _load_postgres(settings: Settings, contract: ReferenceTable, source: PostgresSource, now: datetime) -> ReferenceLoad:
    scratch = settings.place.root / ".tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=scratch) as folder, connect(scratch) as connection:
        create_past(connection, settings.place, contract)
        last = trusted_read(connection, contract, source, last_version(settings.place, contract.name), now)
        fetched = fetch(contract, source, last, Path(folder), now)
        _land_fetched(connection, contract, source, fetched)
        if fetched.read.is_whole and not fetched.read.rows and _rows_of(connection, "past where valid_to is null"):
            raise BrokenReferenceError(
                f"{contract.name}: {source.title} has no rows any more, as while it is filled anew. The last good version "
                "stays in force; to empty the table, take it out of `reference` in shop.yaml and land a file with its header "
                "and no rows."
            )
        return merge(connection, settings.place, contract, now, files=0, ignored=fetched.ignored, postgres=fetched.read)


def _land_fetched(
    connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, source: PostgresSource, fetched: Fetched
) -> None:
    create_landed(connection, contract)
    land(connection, contract, source, fetched)
    check_keys(connection, contract, origin_of(source).remedy)


def _still_in_force(table: str, last: dict[str, object], reason: str) -> ReferenceLoad:
    """The last good version, with what happened instead of a load."""
    known = {field.name for field in fields(ReferenceLoad)} - {"postgres", "opened", "closed"}
    kept = {name: value for name, value in last.items() if name in known}
    read = last.get("postgres")
    rows = many(int(str(last["rows"])), "row")
    since = f"read at {read['read_at']}" if isinstance(read, dict) else f"valid from {last['valid_from']}"
    not_read = f"{table}: {reason}. The last good version ({rows}, {since}) stays in force."
    return ReferenceLoad(**{**kept, "opened": 0, "closed": 0, "not_read": not_read})  # type: ignore[arg-type]  # as it was written


def _rows_of(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    (rows,) = connection.execute(f"select count(*) from {relation}").fetchone() or (0,)
    return int(rows)


def _read_files(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, files: tuple[LandedFile, ...]) -> list[str]:
    """Fill the temporary table ``landed``; returns the columns that it ignored."""
    create_landed(connection, contract)
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
            said = f"{contract.name}: {file.where} cannot be read: "
            told = str(error).replace(str(file.path), file.where)
            # DuckDB's further lines quote the line at fault.
            raise BrokenReferenceError(said + told[:800], for_logs=said + told.splitlines()[0][:300]) from error
        origin = Origin(file.where, MEND_FILE, file.name)
        check_columns(contract, origin, present)
        land_texts(connection, contract, origin, present)
        ignored |= set(present) - {column.name for column in contract.columns}
    return sorted(ignored)


def _relation(connection: duckdb.DuckDBPyConnection, file: LandedFile) -> str:
    if file.obstacle:
        raise BrokenReferenceError(f"{file.name} {file.obstacle}")
    path = file_literal(file.path)
    if file.name.endswith(".parquet"):
        return f"read_parquet({path}, hive_partitioning = false)"
    if file.name.endswith((".jsonl", ".jsonl.gz")):
        return _json_relation(connection, path)
    if file.name.endswith((".csv", ".csv.gz")):
        shape = "header = true, skip = 0, comment = '', delim = ',', quote = '\"', escape = '\"'"
        return f"read_csv({path}, all_varchar = true, {shape})"
    raise BrokenReferenceError(f"{file.where} is of no known type: .csv, .jsonl, .jsonl.gz or .parquet")


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
