"""Reference tables in PostgreSQL: the rows that changed after the last load are fetched as text into a Parquet file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from customer360.lake.engine import literal, quoted
from customer360.lake.landing.contracts import ReferenceTable
from customer360.lake.landing.values import INTEGERS, exact_below
from customer360.lake.reference.postgres import Remote, reading
from customer360.lake.reference.reference_history import PostgresRead, content_version
from customer360.lake.reference.reference_rows import BrokenReferenceError, Origin, check_columns, take_rows
from customer360.settings import PostgresSource

RULES = 2  # changes where values are read differently: then all rows are read again
CURSOR = "_cursor"  # no attribute may be called so
# DuckDB's name of a cursor's type, and PostgreSQL's.
CURSOR_TYPES = {
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "TIMESTAMP": "timestamp",
    "DATE": "date",
    "BIGINT": "bigint",
    "INTEGER": "integer",
    "SMALLINT": "smallint",
}
WHOLE_NUMBERS = ("BIGINT", "INTEGER", "SMALLINT")


@dataclass(frozen=True)
class Fetched:
    """A fetch: a file of text columns, ``present`` with the types of the source, and how far the source was read.

    Columns of the source outside the contract are ``ignored``.
    """

    file: Path
    present: dict[str, str]
    ignored: list[str]
    read: PostgresRead


def trusted_read(
    connection: duckdb.DuckDBPyConnection,
    contract: ReferenceTable,
    source: PostgresSource,
    record: dict[str, Any] | None,
    now: datetime,
) -> PostgresRead | None:
    """The last read to go on from, or None where the whole table is to be read.

    A mark holds only for the source and rows it was recorded with: after a restored history, another source, a new attribute or
    ``full_every_days`` all rows are read.
    """
    if source.cursor is None or record is None or not isinstance(record.get("postgres"), dict):
        return None
    renamed = {"is_whole": "is_full", "whole_at": "full_at"}  # as 0.0 wrote them
    last = PostgresRead(**{renamed.get(name, name): value for name, value in record["postgres"].items()})
    is_due = now - datetime.fromisoformat(last.full_at) >= timedelta(days=source.full_every_days)
    if last.mark is None or is_due or last.source != _fingerprint(source):
        return None
    _, version = content_version(connection, contract, "past where valid_to is null")
    return last if version == record["version"] else None


def fetch(contract: ReferenceTable, source: PostgresSource, last: PostgresRead | None, folder: Path, now: datetime) -> Fetched:
    """Write the rows since ``last``, or all, with only the contract's columns into a Parquet file in ``folder``.

    Raises ``UnreadableSourceError`` where the server cannot be read, ``BrokenReferenceError`` where a column is missing.
    """
    file = folder / f"{contract.name}.parquet"
    with reading(source, folder.parent) as remote:
        columns = remote.columns(f"select * from {_relation(source)}")
        check_columns(contract, origin_of(source), columns, list(columns))
        wanted = [column.name for column in contract.columns if column.name in columns]
        fields = [f"{quoted(name)}::text as {quoted(name)}" for name in wanted]
        condition = ""
        if source.cursor is not None:
            kind = _cursor_type(contract, source, source.cursor, columns)
            fields.append(f"{quoted(source.cursor)}::text as {CURSOR}")
            condition = _since(source, source.cursor, kind, last.mark) if last and last.mark else ""
        remote.copy(f"select {', '.join(fields)} from {_relation(source)}{condition}", file)
        rows, mark = _counted(remote, source, columns, file, last)
    moment = now.isoformat()
    read = PostgresRead(_fingerprint(source), rows, last is None, mark, last.full_at if last else moment, moment)
    ignored = sorted(set(columns) - set(wanted) - {source.cursor})
    return Fetched(file, {name: columns[name] for name in wanted}, ignored, read)


def take(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, source: PostgresSource, fetched: Fetched) -> None:
    """Append the fetched rows to ``incoming``, and those that break the contract to ``set_aside``."""
    connection.execute(
        "create or replace temp view texts as select *, null::bigint as _row, null::varchar as _problem, null::varchar as _raw "
        f"from read_parquet({literal(str(fetched.file))}, hive_partitioning = false)"
    )
    kinds = {column.name: fetched.present[column.name] for column in contract.columns if column.name in fetched.present}
    numeric = {name: (str(_is_number(kind)).lower(), exact_below(kind)) for name, kind in kinds.items()}
    take_rows(connection, contract, origin_of(source), list(fetched.present), numeric)


def _is_number(kind: str) -> bool:
    return kind in {*INTEGERS, "DOUBLE", "FLOAT"} or kind.startswith("DECIMAL")


def origin_of(source: PostgresSource) -> Origin:
    """The source, for error messages."""
    remedy = "Mend the rows in PostgreSQL, or give a query in shop.yaml that leaves them out or shapes them"
    return Origin(source.title, remedy)


def _relation(source: PostgresSource) -> str:
    if source.table is None:
        return f"(\n{source.query}\n) as source"  # on lines of its own: it may end in a comment
    return ".".join(quoted(name) for name in source.table.split("."))


def _cursor_type(contract: ReferenceTable, source: PostgresSource, cursor: str, columns: dict[str, str]) -> str:
    """DuckDB's type of the cursor column."""
    if cursor not in columns:
        raise BrokenReferenceError(
            f"{contract.name}: {source.title} lacks the cursor column {cursor}; it has {', '.join(columns)}. "
            "Name one of these in shop.yaml, or leave the cursor out."
        )
    if columns[cursor] not in CURSOR_TYPES:
        raise BrokenReferenceError(
            f"{contract.name}: the cursor {cursor} of {source.title} is of type {columns[cursor]}. A cursor is a timestamp, "
            "a date or a whole number that grows with every change."
        )
    return columns[cursor]


def _since(source: PostgresSource, cursor: str, kind: str, mark: str) -> str:
    """The condition on changed rows: from the mark on, less the overlap; a row without a value is read every time."""
    bound = f"{literal(mark)}::{CURSOR_TYPES[kind]}"
    if kind not in WHOLE_NUMBERS:
        bound += f" - interval '{source.overlap_minutes} minutes'"
    return f" where {quoted(cursor)} >= {bound} or {quoted(cursor)} is null"


def _counted(
    remote: Remote, source: PostgresSource, columns: dict[str, str], file: Path, last: PostgresRead | None
) -> tuple[int, str | None]:
    """Rows in the file, and the new mark: the highest value, but never after the server's clock or before the last mark."""
    relation = f"read_parquet({literal(str(file))}, hive_partitioning = false)"
    if source.cursor is None:
        ((rows,),) = remote.run(f"select count(*) from {relation}")
        return rows, None
    kind = columns[source.cursor]
    highest = f"max(cast({CURSOR} as {kind}))"
    if kind not in WHOLE_NUMBERS:  # a cursor value in the future must not hide the changes before it
        now = f"cast(timestamptz {literal(remote.started_at)} as {kind})"
        highest = f"case when {highest} > {now} then {now} else {highest} end"
    before = f"cast({literal(last.mark)} as {kind})" if last and last.mark else "null"
    ((rows, mark),) = remote.run(f"select count(*), cast(greatest({highest}, {before}) as varchar) from {relation}")
    return rows, mark


def _fingerprint(source: PostgresSource) -> str:
    """Hash of the reading rules, the connection variable, table, query and cursor: all that selects rows."""
    selection = json.dumps([RULES, source.dsn, source.table, source.query, source.cursor])
    return hashlib.sha256(selection.encode()).hexdigest()[:16]
