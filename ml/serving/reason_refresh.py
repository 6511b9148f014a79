"""Reasons at a bounded cost: each run explains the customers whose reasons are oldest, the others keep their reasons.

Explaining costs .3 ms a customer, thirty times what scoring does: a million customers in every slice would take five minutes.
Customers who are due are selected in SQL, so that only their rows become a frame.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from customer360.lake.engine import literal
from customer360.lake.warehouse.frames import append_rows, replace_table
from customer360.settings import NONE, Shop
from ml.serving.reasons import REASON_COLUMNS, reasons
from ml.serving.serving_tables import Tables
from ml.versions.model_store import LoadedModel

AT_ONCE = 2_000
KEPT_TYPES: dict[str, pa.DataType] = {
    **dict.fromkeys([*REASON_COLUMNS, "model_version"], pa.string()),
    "reasons_as_of": pa.timestamp("us"),
}
KEPT_SCHEMA = pa.schema(KEPT_TYPES)


def refresh_reasons(
    connection: duckdb.DuckDBPyConnection, tables: Tables, loaded: LoadedModel, shop: Shop, *, at_once: int = AT_ONCE
) -> int:
    """Bring the kept reasons up to features and scores; returns how many were made anew, at most ``at_once``.

    The table of reasons has one row a customer of the features that has reasons, with the columns of ``KEPT_SCHEMA``. Reasons
    that are about another category than the customer's top one of now, or of another model, are never kept. Who comes first:
    customers without valid reasons, the most recently active first; then those active since they were explained; then the
    longest unexplained. With at most ``at_once`` customers everyone is explained every time. Runs in the caller's transaction,
    if there is one.
    """
    keep_reasons(connection, tables)
    _find_standing(connection, tables, loaded.version)
    connection.execute(
        "create or replace temp table due as select customer_id from standing "
        f"order by is_valid, was_active desc, reasons_as_of nulls last, idle_days, customer_id limit {at_once}"
    )
    rows = connection.execute(f"from {tables.features} semi join due using (customer_id) order by customer_id").df()
    connection.execute(
        f"delete from {tables.reasons} where customer_id in (from due) "
        "or customer_id not in (select customer_id from standing where is_valid)"
    )
    made = reasons(rows, loaded, shop, _titles(connection, tables)).assign(
        model_version=loaded.version, reasons_as_of=rows["as_of"].to_numpy()
    )
    append_rows(connection, tables.reasons, pa.Table.from_pandas(made, KEPT_SCHEMA, preserve_index=False))
    connection.execute("drop table standing; drop table due")
    return len(made)


def _titles(connection: duckdb.DuckDBPyConnection, tables: Tables) -> dict[str, str]:
    """Names of the categories in force; none before the first load of reference tables."""
    if not _columns(connection, tables.categories):
        return {}
    query = f"select category_id, name from {tables.categories} where valid_to is null and name is not null"
    return dict(connection.execute(query).fetchall())


def keep_reasons(connection: duckdb.DuckDBPyConnection, tables: Tables) -> None:
    """Make the table of reasons where there is none yet, or one of another form."""
    if _columns(connection, tables.reasons) != set(KEPT_SCHEMA.names):
        replace_table(connection, tables.reasons, KEPT_SCHEMA.empty_table())


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    """Names of the columns of a table or view, none where there is none."""
    schema, name = table.split(".")
    found = connection.execute(
        "select column_name from duckdb_columns() where schema_name = ? and table_name = ?", [schema, name]
    ).fetchall()
    return {column for (column,) in found}


def _find_standing(connection: duckdb.DuckDBPyConnection, tables: Tables, version: str) -> None:
    """``standing``, per customer: whether its kept reasons still hold, since when, and how recently it was active."""
    connection.execute(
        f"""
        create or replace temp table standing as
        with top as (
            select customer_id, arg_min(category_id, rank) as category_id
            from {tables.scores} where category_id <> {literal(NONE)} group by customer_id
        )
        select own.customer_id,
            coalesce(kept.category_id = top.category_id and kept.model_version = {literal(version)}, false) as is_valid,
            coalesce(own.days_since_last_activity < epoch(own.as_of - kept.reasons_as_of) / 86400, false) as was_active,
            kept.reasons_as_of, coalesce(cast(own.days_since_last_activity as double), 'infinity') as idle_days
        from {tables.features} as own
        left join top on own.customer_id = top.customer_id
        left join {tables.reasons} as kept on own.customer_id = kept.customer_id
        """
    )
