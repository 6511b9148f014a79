"""The private warehouse: one DuckDB file, one writer at a time, and a lock that names its holder."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from customer360.errors import OperatorError
from customer360.lake.engine import connect, literal, quoted
from customer360.settings import Place

POLL_SECONDS = 0.2
SCHEMAS = ("ops", "raw", "staging", "intermediate", "marts", "predictions", "publishing")


class WarehouseBusyError(OperatorError, RuntimeError):
    """Another process holds the warehouse. The message names the holder and the remedy."""


def lock_file(place: Place) -> Path:
    """The lock file: its holder alone may open the warehouse."""
    return place.root / "warehouse.lock"


def lock_holder(place: Place) -> str:
    """Who holds, or last held, the lock: purpose, process and since when."""
    try:
        return lock_file(place).read_text(encoding="utf-8").strip() or "nobody yet"
    except FileNotFoundError:
        return "nobody yet"


def is_locked(place: Place) -> bool:
    """True while a living process holds the warehouse."""
    if not lock_file(place).exists():
        return False
    with lock_file(place).open("r") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def warehouse_lock(place: Place, holder: str, wait_seconds: float = 60.0) -> Iterator[None]:
    """Hold the warehouse, also while dbt works on it. The kernel frees the lock when the process dies.

    Raises ``WarehouseBusyError`` after ``wait_seconds``.
    """
    place.root.mkdir(parents=True, exist_ok=True)
    with lock_file(place).open("a+", encoding="utf-8") as handle:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise WarehouseBusyError(
                        f"{place.warehouse} is held by {lock_holder(place)}. Wait for it, or end that process; "
                        "see docs/runbook.md, 'Stuck lock'."
                    ) from error
                time.sleep(POLL_SECONDS)
        handle.truncate(0)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        handle.write(json.dumps({"holder": holder, "process": os.getpid(), "since": since}))
        handle.flush()
        yield


def open_warehouse(place: Place, wait_seconds: float = 30.0) -> duckdb.DuckDBPyConnection:
    """Open the warehouse for writing. The caller holds ``warehouse_lock``.

    A process that was just killed may keep DuckDB's own lock for a moment: that is waited for.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            connection = connect(place.scratch, str(place.warehouse))
        except duckdb.IOException as error:
            if "lock" not in str(error).lower() or time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)
        else:
            for schema in SCHEMAS:
                connection.execute(f"create schema if not exists {schema}")
            return connection


def count_rows(connection: duckdb.DuckDBPyConnection, tables: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Rows by (schema, name). Relations that do not exist are left out."""
    found = connection.execute(
        "select table_schema, table_name from information_schema.tables where table_catalog = current_database()"
    ).fetchall()
    present = sorted(set(tables) & set(found))
    if not present:
        return {}
    counted = " union all ".join(
        f"select {literal(schema)}, {literal(name)}, count(*) from {quoted(schema)}.{quoted(name)}" for schema, name in present
    )
    return {(schema, name): int(rows) for schema, name, rows in connection.execute(counted).fetchall()}
