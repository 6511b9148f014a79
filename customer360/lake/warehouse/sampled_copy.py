"""A copy of relations with the rows of some customers: small, and whole for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from customer360.lake.engine import literal

CUSTOMER, VISITOR = "customer_id", "visitor_id"
Relation = tuple[str, str]  # schema and name


def copy_sample(connection: duckdb.DuckDBPyConnection, relations: Sequence[Relation], customers: int, target: Path) -> int:
    """Copy ``relations`` into the DuckDB file ``target`` with the rows of at most ``customers`` customers; returns how many.

    They are the first by a hash of their ids. Copied are their rows and all rows of the visitors that any relation names beside
    them, so that a visitor of two customers stays one; relations without customers and visitors are copied whole.
    """
    columns = {relation: _columns(connection, relation) for relation in relations}
    connection.execute(f"attach {literal(str(target))} as sampled; create or replace temp table sample (customer_id varchar)")
    try:
        of_customers = [f"select {CUSTOMER} from {_sql(one)}" for one in relations if CUSTOMER in columns[one]]
        if of_customers:
            connection.execute(
                f"insert into sample select {CUSTOMER} from ({' union '.join(of_customers)}) where {CUSTOMER} is not null "
                f"order by hash({CUSTOMER}), {CUSTOMER} limit {customers}"
            )
        both = [
            f"select {VISITOR} from {_sql(one)} where {VISITOR} is not null and {CUSTOMER} in (from sample)"
            for one in relations
            if {CUSTOMER, VISITOR} <= columns[one]
        ]
        nobody = "select null where false"
        connection.execute(f"create or replace temp table sample_visitors as {' union '.join(both) or nobody}")
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


def _columns(connection: duckdb.DuckDBPyConnection, relation: Relation) -> set[str]:
    return {name for name, *_ in connection.execute(f"describe {_sql(relation)}").fetchall()}


def _sql(relation: Relation) -> str:
    return ".".join(relation)


def _of_sample(columns: set[str]) -> str:
    tests = [
        f"{name} in (from {chosen})" for name, chosen in ((CUSTOMER, "sample"), (VISITOR, "sample_visitors")) if name in columns
    ]
    return f"where {' or '.join(tests)}" if tests else ""
