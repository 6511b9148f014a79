"""A copy of relations with all rows of a sample of customers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from customer360.lake.engine import column_types, literal

CUSTOMER, VISITOR = "customer_id", "visitor_id"
Relation = tuple[str, str]  # schema and name


def copy_sample(connection: duckdb.DuckDBPyConnection, relations: Sequence[Relation], customers: int, target: Path) -> int:
    """Copy ``relations`` into the DuckDB file ``target`` with the rows of at most ``customers`` customers; returns how many.

    They are the first by a hash of their ids. Copied are their rows and all rows of the visitors that any relation names beside
    them, so that a visitor of two customers still has both; relations without customers and visitors are copied in full.
    """
    columns = {relation: set(column_types(connection, _sql(relation))) for relation in relations}
    connection.execute(f"attach {literal(str(target))} as sampled; create or replace temp table sample (customer_id varchar)")
    try:
        of_customers = [f"select {CUSTOMER} from {_sql(relation)}" for relation in relations if CUSTOMER in columns[relation]]
        if of_customers:
            connection.execute(
                f"insert into sample select {CUSTOMER} from ({' union '.join(of_customers)}) where {CUSTOMER} is not null "
                f"order by hash({CUSTOMER}), {CUSTOMER} limit {customers}"
            )
        both = [
            f"select {VISITOR} from {_sql(relation)} where {VISITOR} is not null and {CUSTOMER} in (from sample)"
            for relation in relations
            if {CUSTOMER, VISITOR} <= columns[relation]
        ]
        connection.execute(
            f"create or replace temp table sample_visitors as {' union '.join(both) or 'select null where false'}"
        )
        for schema, name in relations:
            connection.execute(
                f"create schema if not exists sampled.{schema}; create table sampled.{schema}.{name} as "
                f"from {schema}.{name} {_of_sample(columns[schema, name])}"
            )
        (chosen,) = connection.execute("select count(*) from sample").fetchone() or (0,)
        connection.execute("drop table sample; drop table sample_visitors")
    finally:
        connection.execute("detach sampled")
    return int(chosen)


def _sql(relation: Relation) -> str:
    return ".".join(relation)


def _of_sample(columns: set[str]) -> str:
    conditions = [
        f"{name} in (from {chosen})" for name, chosen in ((CUSTOMER, "sample"), (VISITOR, "sample_visitors")) if name in columns
    ]
    return f"where {' or '.join(conditions)}" if conditions else ""
