"""The published version as tables of a PostgreSQL schema, swapped in one short transaction.

A published table is an empty table of ``<schema>`` that stays: grants, row policies, comments and views are on it. Its rows are
in tables of ``<schema>_parts`` that inherit from it, one for each Parquet file and named after the file's identity. Files that
a version shares with the one before (hard links) are there already, so only what changed is loaded, and a load that was
interrupted is continued. The swap locks the tables that change, drops the old parts and attaches the new ones. Parts are loaded
frozen (``COPY ... FREEZE``), so that a transaction whose snapshot is older than the load sees their rows and not none.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import psycopg
from psycopg.errors import DeadlockDetected, DependentObjectsStillExist, FeatureNotSupported, LockNotAvailable
from pyarrow import csv

from customer360.errors import OperatorError
from customer360.lake.atomic import exclusive
from customer360.lake.engine import column_types, literal, quoted
from customer360.lake.publishing.copies import Copied, remember
from customer360.lake.publishing.version import Publication, current_folder, open_version, parquet_files
from customer360.lake.redaction import redacted
from customer360.lake.reference.postgres import CONNECT_SECONDS, KEEPALIVE, connection_reason, connection_string
from customer360.settings import Place, PostgresTarget

POSTGRES = "postgres"  # name of the copy
PUBLICATION = "publication"  # a table of one row: which version the schema has
PUBLICATION_TEXTS = {
    "": "The version that the tables of this schema have. One row.",
    "version": "Number of the version",
    "as_of": "End of the last slice, UTC; nothing later was known or counted",
    "published_at": "When it was published, UTC",
}
BATCH_ROWS = 20_000
# Seconds that the swap waits for a table's readers, and new ones behind it: at first, and at most.
LEAST_PATIENCE, MOST_PATIENCE = 0.2, 10.0
RETRY_SECONDS = 0.5
LONGEST_NAME = 63  # bytes; PostgreSQL cuts longer names
SESSION: dict[str, Any] = {"application_name": "customer360", "client_encoding": "UTF8", **KEEPALIVE}
TYPES = {
    "BOOLEAN": "boolean",
    **dict.fromkeys(("TINYINT", "UTINYINT", "SMALLINT"), "smallint"),
    **dict.fromkeys(("USMALLINT", "INTEGER"), "integer"),
    **dict.fromkeys(("UINTEGER", "BIGINT"), "bigint"),
    "UBIGINT": "numeric",
    "FLOAT": "real",
    "DOUBLE": "double precision",
    "DATE": "date",
    "TIME": "time without time zone",
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), "timestamp without time zone"),
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "UUID": "uuid",
    "BLOB": "bytea",
}
STATE = """
    select parts.relname, tables.relname
    from pg_class as parts
    left join pg_inherits on inhrelid = parts.oid
    left join pg_class as tables on tables.oid = inhparent and tables.relnamespace = %s::regnamespace
    where parts.relnamespace = %s::regnamespace and parts.relkind = 'r'
"""
COLUMNS = """
    select attname, format_type(atttypid, atttypmod) from pg_attribute
    where attrelid = %s::regclass and attnum > 0 and not attisdropped
"""
COMMENTS = """
    select relname, coalesce(attname, ''), description
    from pg_description
    join pg_class on pg_class.oid = objoid and classoid = 'pg_class'::regclass
    left join pg_attribute on attrelid = objoid and attnum = objsubid and objsubid > 0
    where relnamespace = %s::regnamespace
"""
HOLDERS = """
    select distinct pid, coalesce(usename, '?') from pg_locks join pg_class on pg_class.oid = relation
    join pg_stat_activity using (pid)
    where relnamespace = %s::regnamespace and granted and pid <> pg_backend_pid() order by pid
"""


class PostgresError(OperatorError, RuntimeError):
    """The schema could not be brought to the version; its readers keep the one before. The message has no secret, no row."""


@dataclass(frozen=True)
class Loaded:
    """What a publication did: the version, tables swapped, files and rows loaded, and its time."""

    version: int
    schema: str
    tables: int
    files: int
    rows: int
    seconds: float


@dataclass(frozen=True)
class _Table:
    """A table as it shall be: PostgreSQL's names and types of its columns, comments, and by part the query of its rows."""

    name: str
    columns: Mapping[str, str]
    texts: Mapping[str, str]
    parts: Mapping[str, str]

    @property
    def definition(self) -> str:
        return ", ".join(f"{quoted(name)} {kind}" for name, kind in self.columns.items())


@dataclass(frozen=True)
class _Schema:
    """The schema on an open connection, with the moment at which this publication gives up."""

    remote: psycopg.Connection[Any]
    target: PostgresTarget
    deadline: float

    @property
    def name(self) -> str:
        return self.target.db_schema

    @property
    def parts(self) -> str:
        return f"{self.name}_parts"

    def table(self, name: str) -> str:
        return f"{quoted(self.name)}.{quoted(name)}"

    def part(self, name: str) -> str:
        return f"{quoted(self.parts)}.{quoted(name)}"

    def in_time(self) -> float:
        """Have the next statements end by the deadline; returns the seconds left. Raises ``PostgresError`` after it."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise PostgresError(
                f"{self.target.title}: not done within {self.target.timeout_seconds} seconds (publish_to.postgres."
                "timeout_seconds). What was loaded stays, and the next run continues"
            )
        self.remote.execute(f"set statement_timeout = {max(1, round(left * 1000))}")
        return left


def copy_to_postgres(place: Place, target: PostgresTarget) -> Loaded | None:
    """Bring the schema to the version that is published locally; None before the first one. A second call changes nothing.

    Raises ``PostgresError``; readers then keep their version, and the next call continues.
    """
    if not current_folder(place).exists():
        return None
    started = time.monotonic()
    with (
        exclusive(place.published / ".postgres-lock"),
        open_version(place) as version,
        _explained(target),
        _connect(target) as remote,
    ):
        schema = _Schema(remote, target, started + target.timeout_seconds)
        tables = [_table(version.connection, version.folder, version.publication, name) for name in version.publication.rows]
        tables.append(_publication_table(version.publication))
        _prepare(schema)
        attached = _attached(schema)
        existing = {part for parts in attached.values() for part in parts}
        rows = files = 0
        for table in tables:
            for part in table.parts.keys() - existing:
                rows += _load(schema, version.connection, table, part)
                files += 1
        swapped = _swap(schema, tables)
        remember(place, POSTGRES, Copied(version.publication.version, version.publication.published_at, schema.name))
    return Loaded(version.publication.version, schema.name, swapped, files, rows, round(time.monotonic() - started, 2))


def _table(connection: duckdb.DuckDBPyConnection, folder: Path, publication: Publication, name: str) -> _Table:
    kinds = column_types(connection, quoted(name))
    texts = publication.descriptions.get(name, {})
    names = {column: _short(column) for column in kinds}
    table = _Table(
        name,
        {names[column]: _type(kind) for column, kind in kinds.items()},
        {"": texts.get("", ""), **{short: _comment_of(column, short, texts) for column, short in names.items()}},
        {},
    )
    values = ", ".join(f"{_value(column, kind)} as {quoted(column)}" for column, kind in kinds.items())
    parts = {}
    for file in parquet_files(folder, name):
        status = file.stat()
        identity = [name, table.columns, file.name, status.st_ino, status.st_mtime_ns, status.st_size]
        all_columns = f"select * from {quoted(name)} where false union all by name"
        parts[_part_name(name, identity)] = (
            f"select {values} from ({all_columns} select * from read_parquet({literal(str(file))}, hive_partitioning = false))"
        )
    return replace(table, parts=parts)


def _comment_of(column: str, short: str, texts: Mapping[str, str]) -> str:
    text = texts.get(column, "")
    return text if column == short else f"{column}: {text}"


def _publication_table(publication: Publication) -> _Table:
    kinds = {"version": "bigint", "as_of": TYPES["TIMESTAMP"], "published_at": TYPES["TIMESTAMP"]}
    as_of = f"timestamptz {literal(publication.as_of.isoformat())}" if publication.as_of else "null"
    published_at = f"timestamptz {literal(publication.published_at.isoformat())}"
    query = (
        f"select {publication.version} as version, cast({as_of} as timestamp) as as_of, "
        f"cast({published_at} as timestamp) as published_at"
    )
    return _Table(PUBLICATION, kinds, PUBLICATION_TEXTS, {_part_name(PUBLICATION, [query]): query})


def _part_name(table: str, identity: list[Any]) -> str:
    return f"{table[:40]}_{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:20]}"


def _short(name: str) -> str:
    """A column's name, cut to what PostgreSQL keeps; its comment then begins with the whole name."""
    if len(name.encode()) <= LONGEST_NAME:
        return name
    cut = name.encode()[: LONGEST_NAME - 9].decode(errors="ignore")
    return f"{cut}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _type(kind: str) -> str:
    """PostgreSQL's type, as ``format_type`` names it. Lists and structs become JSON, all others text."""
    if kind.startswith("DECIMAL"):
        return kind.replace("DECIMAL", "numeric")
    return "json" if _is_nested(kind) else TYPES.get(kind, "text")


def _value(name: str, kind: str) -> str:
    """SQL of a column's values as they are copied. PostgreSQL's text has no character of code 0."""
    column = quoted(name)
    if _is_nested(kind):
        return f"cast(to_json({column}) as varchar)"
    if kind == "BLOB":
        return rf"'\x' || hex({column})"
    if kind.startswith("DECIMAL") or (kind in TYPES and kind != "UUID"):
        return column
    return f"replace(cast({column} as varchar), chr(0), '')"


def _is_nested(kind: str) -> bool:
    return kind.endswith("]") or kind.startswith(("STRUCT(", "MAP(", "UNION(", "JSON"))


def _prepare(schema: _Schema) -> None:
    """Make the two schemas, and keep others from publishing into them until the connection ends."""
    schema.in_time()
    for name in (schema.name, schema.parts):
        if schema.remote.execute("select 1 from pg_namespace where nspname = %s", [name]).fetchone() is None:
            schema.remote.execute(f"create schema {quoted(name)}")
    locking = "select pg_try_advisory_lock(hashtext('customer360'), hashtext(%s))"
    if schema.remote.execute(locking, [schema.name]).fetchone() != (True,):
        raise PostgresError(f"{schema.target.title}: another process publishes into it; the next run tries again")


def _attached(schema: _Schema) -> dict[str, set[str]]:
    """Parts by table; "" has those that no table has, of a publication that was interrupted."""
    found: dict[str, set[str]] = {}
    for part, table in schema.remote.execute(STATE, [quoted(schema.name), quoted(schema.parts)]):
        found.setdefault(table or "", set()).add(part)
    return found


def _load(schema: _Schema, local: duckdb.DuckDBPyConnection, table: _Table, part: str) -> int:
    """Load a part in a transaction of its own, and return its rows."""
    rows = 0
    schema.in_time()
    with schema.remote.transaction(), schema.remote.cursor() as cursor:
        cursor.execute(f"create table {schema.part(part)} ({table.definition})")
        with cursor.copy(f"copy {schema.part(part)} from stdin (format csv, freeze)") as copy:
            for batch in local.execute(table.parts[part]).to_arrow_reader(BATCH_ROWS):
                text = io.BytesIO()
                csv.write_csv(batch, text, csv.WriteOptions(include_header=False))
                copy.write(text.getbuffer())
                rows += batch.num_rows
                if time.monotonic() > schema.deadline:
                    break
        schema.in_time()
        cursor.execute(f"analyze {schema.part(part)}")
    return rows


def _swap(schema: _Schema, tables: list[_Table]) -> int:
    """Swap all tables that differ; returns their number. Readers whose transactions have them open are waited for.

    While this waits for a table, new readers of it queue behind, so it waits for a moment at first and then longer. Whoever
    holds a table and waits for another could be part of a deadlock: at the next try the table that was waited for is locked
    first, while this holds nothing, and any later one is given up before PostgreSQL's ``deadlock_timeout`` could end a reader.
    """
    order: list[str] = []
    patience = LEAST_PATIENCE
    while True:
        patience = min(patience, schema.in_time() / 2)
        try:
            with schema.remote.transaction():
                return _swap_now(schema, {table.name: table for table in tables}, order, patience)
        except (LockNotAvailable, DeadlockDetected):
            holders = ", ".join(f"{pid} of {user}" for pid, user in schema.remote.execute(HOLDERS, [quoted(schema.name)]))
        if time.monotonic() + RETRY_SECONDS > schema.deadline:
            raise PostgresError(
                f"{schema.target.title}: loaded, but not swapped in within {schema.target.timeout_seconds} seconds: open "
                f"transactions of other processes hold the tables ({holders or 'gone by now'}). The next run tries again; set "
                "idle_in_transaction_session_timeout for those who read"
            )
        patience = min(2 * patience, MOST_PATIENCE)
        time.sleep(RETRY_SECONDS)


def _swap_now(schema: _Schema, tables: Mapping[str, _Table], order: list[str], patience: float) -> int:
    """Swap within the open transaction. ``order``: tables to lock first; the one that was waited for in vain is put before."""
    run = schema.remote.execute
    attached = _attached(schema)
    orphans = attached.pop("", set())
    changed = [table for table in tables.values() if attached.get(table.name) != set(table.parts)]
    gone = sorted(attached.keys() - tables.keys())
    locked = {*gone, *(table.name for table in changed if table.name in attached)}
    for number, name in enumerate(
        sorted(locked, key=lambda name: (name not in order, name in order and order.index(name), name))
    ):
        run(f"set local lock_timeout = {round(1000 * (patience if number == 0 else min(patience, LEAST_PATIENCE)))}")
        try:
            run(f"lock table {schema.table(name)} in access exclusive mode")
        except LockNotAvailable:
            order[:] = [name, *(other for other in order if other != name)]
            raise
    existing = {part for parts in attached.values() for part in parts} | orphans
    wanted = {part for table in tables.values() for part in table.parts}
    if obsolete := sorted(existing - wanted):
        run(f"drop table {', '.join(map(schema.part, obsolete))}")
    for name in gone:
        with _depended_on(schema, name, "is no longer published"):
            run(f"drop table {schema.table(name)}")
    for table in changed:
        _shape(schema, table, is_known=table.name in attached)
        for part in table.parts.keys() - attached.get(table.name, set()):
            run(f"alter table {schema.part(part)} inherit {schema.table(table.name)}")
    _comment(schema, tables)
    return len(changed) + len(gone)


def _shape(schema: _Schema, table: _Table, *, is_known: bool) -> None:
    """Make the table, or give it the columns that it shall have: it has no rows and, where a column differs, no parts."""
    run, name = schema.remote.execute, schema.table(table.name)
    kind = run("select relkind::text from pg_class where oid = to_regclass(%s)", [name]).fetchone()
    if kind is None:
        run(f"create table {name} ({table.definition})")
        return
    if not is_known and (kind != ("r",) or run(f"select 1 from {name} limit 1").fetchone()):
        raise PostgresError(
            f"{schema.target.title}: {table.name} is there already and was not published; rename it, or give "
            "publish_to.postgres another schema"
        )
    present = dict(run(COLUMNS, [name]).fetchall())
    if present == table.columns:
        return
    changes = [f"drop column {quoted(column)}" for column in present.keys() - table.columns.keys()]
    for column, wanted in table.columns.items():
        if column not in present:
            changes.append(f"add column {quoted(column)} {wanted}")
        elif present[column] != wanted:
            changes.append(f"alter column {quoted(column)} type {wanted} using null::{wanted}")
    with _depended_on(schema, table.name, "has other columns now"):
        run(f"alter table {name} {', '.join(changes)}")


def _comment(schema: _Schema, tables: Mapping[str, _Table]) -> None:
    present = {(table, column): text for table, column, text in schema.remote.execute(COMMENTS, [quoted(schema.name)])}
    statements = []
    for table in tables.values():
        for column in ("", *table.columns):
            text = table.texts.get(column, "")
            if text and present.get((table.name, column)) != text:
                on = f"column {schema.table(table.name)}.{quoted(column)}" if column else f"table {schema.table(table.name)}"
                statements.append(f"comment on {on} is {literal(text)}")
    if statements:
        schema.remote.execute(";".join(statements))


@contextmanager
def _depended_on(schema: _Schema, table: str, change: str) -> Iterator[None]:
    """Have an error name the views of users that stand in the way of a table's change."""
    try:
        yield
    except (DependentObjectsStillExist, FeatureNotSupported) as error:
        detail = " ".join((error.diag.message_detail or error.diag.message_primary or "").split())
    else:
        return
    raise PostgresError(
        f"{schema.target.title}: {table} {change}, and objects of others depend on it: {detail}. Drop or change them; until "
        "then readers keep the version that they have"
    )


@contextmanager
def _connect(target: PostgresTarget) -> Iterator[psycopg.Connection[Any]]:
    try:
        dsn = connection_string(target.dsn, "postgresql://publisher@db.example/bi")
    except LookupError as error:
        raise PostgresError(f"{target.title}: {error.args[0]}") from None
    try:
        remote = psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_SECONDS, **SESSION)
    except psycopg.Error as error:
        reason = connection_reason(str(error))
    else:
        with remote:
            yield remote
        return
    raise PostgresError(f"{target.title}: {reason}")


@contextmanager
def _explained(target: PostgresTarget) -> Iterator[None]:
    """Errors of PostgreSQL without what they may quote: the connection string, values of rows."""
    try:
        yield
    except psycopg.DataError as error:
        reason = f"a value was refused ({type(error).__name__}, SQLSTATE {error.sqlstate}); the server's log has it"
    except psycopg.Error as error:
        reason = error.diag.message_primary or f"the connection was lost ({type(error).__name__})"
    except duckdb.Error as error:
        reason = redacted(str(error), "read the table in the published folder to see it").splitlines()[0]
    else:
        return
    raise PostgresError(f"{target.title}: {reason}")
