"""Rows of warehouse tables, by schema and name."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from customer360.lake.warehouse.warehouse import count_rows


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(
            """
            create schema marts;
            create schema "odd ""schema";
            create table marts.traffic as from range(3);
            create table marts.empty (n integer);
            create view marts.shown as select * from marts.traffic limit 2;
            create table "odd ""schema"."it's a table" as from range(5);
            create table traffic as from range(7);
            """
        )
        yield connection


def test_tables_and_views_are_counted_by_schema_and_name(warehouse: duckdb.DuckDBPyConnection) -> None:
    tables = [
        ("marts", "traffic"),
        ("main", "traffic"),
        ("marts", "empty"),
        ("marts", "shown"),
        ('odd "schema', "it's a table"),
    ]
    assert count_rows(warehouse, tables) == {
        ("marts", "traffic"): 3,
        ("main", "traffic"): 7,
        ("marts", "empty"): 0,
        ("marts", "shown"): 2,
        ('odd "schema', "it's a table"): 5,
    }


def test_what_is_absent_or_not_asked_for_is_left_out(warehouse: duckdb.DuckDBPyConnection) -> None:
    tables = [("marts", "traffic"), ("marts", "absent"), ("nowhere", "traffic"), ("marts", "traffic")]
    assert count_rows(warehouse, tables) == {("marts", "traffic"): 3}
    assert count_rows(warehouse, [("nowhere", "traffic")]) == {}
    assert count_rows(warehouse, []) == {}


def test_tables_of_another_database_are_not_counted(warehouse: duckdb.DuckDBPyConnection) -> None:
    warehouse.execute("attach ':memory:' as other; create table other.elsewhere as from range(9)")
    assert count_rows(warehouse, [("main", "elsewhere")]) == {}
