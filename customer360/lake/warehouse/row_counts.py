"""Rows of warehouse tables, counted in one query after dbt has ended."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from customer360.lake.engine import literal, quoted


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
