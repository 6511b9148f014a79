"""Connections to DuckDB with the product's limits: UTC, bounded memory, bounded spill."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import duckdb_extensions

from customer360 import progress

MEMORY_LIMIT = "4GB"
SPILL_LIMIT = "20GB"


def connect(temporary: Path, database: str = ":memory:") -> duckdb.DuckDBPyConnection:
    """A DuckDB connection that spills to ``temporary`` and works in UTC.

    ``CUSTOMER360_MEMORY_LIMIT`` (default 4GB) bounds its memory.
    """
    temporary.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        database,
        config={
            "memory_limit": os.environ.get("CUSTOMER360_MEMORY_LIMIT", MEMORY_LIMIT),
            "temp_directory": str(temporary),
            "max_temp_directory_size": SPILL_LIMIT,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
    connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
    progress.register(connection)
    return connection


def load_extension(connection: duckdb.DuckDBPyConnection, name: str, scratch: Path) -> None:
    """Load an extension from its wheel by way of ``scratch``: a home folder may be read-only, or hold another version of it."""
    connection.execute(f"set extension_directory = {literal(str(scratch / 'extensions'))}")
    duckdb_extensions.import_extension(name, con=connection)
    connection.load_extension(name)


def memory_limit(connection: duckdb.DuckDBPyConnection) -> int:
    """The bytes of memory that the connection may use."""
    (setting,) = connection.execute("select current_setting('memory_limit')").fetchone() or ("0 bytes",)
    number, unit = setting.split()
    return int(float(number) * 1024 ** ("bytes", "KiB", "MiB", "GiB", "TiB").index(unit))


def row_count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    """Number of rows of a relation, given as the text after ``from``."""
    (rows,) = connection.execute(f"select count(*) from {relation}").fetchone() or (0,)
    return int(rows)


def column_types(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Columns of a relation, given as the text after ``from``, with their DuckDB types."""
    return {name: kind for name, kind, *_ in connection.execute(f"describe from {relation}").fetchall()}


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit at the end of the block, or undo it where it is left by an error or an interrupt."""
    connection.begin()
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


@contextmanager
def registered(connection: duckdb.DuckDBPyConnection, name: str, rows: object) -> Iterator[None]:
    """Rows of pandas or Arrow as a relation, until the block ends."""
    connection.register(name, rows)
    try:
        yield
    finally:
        connection.unregister(name)


def literal(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def file_literal(path: Path | str) -> str:
    """A SQL string literal that names exactly this file, also where its name has glob characters."""
    return literal(re.sub(r"[*?\[]", r"[\g<0>]", str(path)))


def file_list(paths: Iterable[Path | str]) -> str:
    """A SQL list of these files."""
    return f"[{', '.join(file_literal(path) for path in paths)}]"


def quoted(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
