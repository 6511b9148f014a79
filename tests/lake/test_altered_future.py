"""Rows that an alteration of the future changes and keeps, worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from customer360.lake.warehouse.altered_future import Timed, UntimedRelationError, altered_future, without_future
from customer360.lake.warehouse.sampled_copy import copy_sample

AT = datetime.fromisoformat("2026-04-10T12:00:00")
BEGINNING = datetime.fromisoformat("1970-01-01T00:00:00")
WEEK, QUARTER = timedelta(days=7), timedelta(minutes=15)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        yield made


def altered(connection: duckdb.DuckDBPyConnection, relation: str) -> list[tuple[Any, ...]]:
    return connection.execute(altered_future(Timed.read(connection, relation), AT, WEEK)).fetchall()


def test_rows_of_slices_before_the_moment_stay_and_later_ones_change(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "create table clicks (slice timestamp, event_slice timestamp, customer_id varchar, views bigint);"
        "insert into clicks values ('2026-04-10 11:45', '2026-04-10 11:45', 'A', 2);"
        "insert into clicks values ('2026-04-10 12:00', '2026-04-10 12:00', 'B', 5)"
    )
    rows = altered(connection, "clicks")
    before, after = AT - QUARTER, AT
    assert [row for row in rows if row[0] < AT] == [(before, before, "A", 2)]
    of_b = sorted(row for row in rows if row[3] == 5 * 3 + 7)
    assert of_b == [(after, after, "A", 22), (after, after, "B", 22)]
    late = sorted(row for row in rows if row[0] >= AT and row[1] < AT)
    assert late == [
        (AT, before, "A", 13),
        (AT, before, "B", 13),
        (AT + timedelta(days=1), before, "A (new)", 13),
    ]
    coming = sorted(row for row in rows if row[3] == 13 and row[1] >= AT)
    assert coming[0] == (AT, AT, "A (new)", 13)
    assert coming[1][2:] == ("A", 13)
    assert AT <= coming[1][0] < AT + WEEK
    assert AT <= coming[1][1] < AT + WEEK
    assert len(rows) == 8


def test_a_version_in_force_stays_so_at_the_moment_whatever_becomes_of_it(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        """
        create table customers (customer_id varchar, age bigint, valid_from timestamp, valid_to timestamp);
        insert into customers values
            ('A', 30, '1970-01-01', '2026-04-01'), ('A', 31, '2026-04-01', '2026-04-12'), ('A', 32, '2026-04-12', null),
            ('B', 50, '1970-01-01', null)
        """
    )
    rows = altered(connection, "customers")
    in_force = [row for row in rows if row[2] <= AT and (row[3] is None or row[3] > AT)]
    april = datetime.fromisoformat("2026-04-01T00:00:00")
    assert sorted(in_force) == [
        ("A", 31, april, None),
        ("B", 50, BEGINNING, AT + timedelta(days=1)),
    ]
    assert ("A", 30, BEGINNING, april) in rows
    assert not [row for row in rows if row[1] == 32]
    assert {row[0] for row in rows if row[2] == AT + timedelta(days=1)} == {"A (new)", "B (new)"}
    assert sorted(row[1] for row in rows if row[2] == AT + timedelta(microseconds=1)) == [97, 97, 100, 100, 157, 157]


def test_without_a_future_only_what_was_known_is_left(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        """
        create table prices (product_id varchar, price bigint, valid_from timestamp, valid_to timestamp);
        insert into prices values ('A', 1, '1970-01-01', '2026-04-12'), ('A', 2, '2026-04-12', null);
        create table links (slice timestamp, visitor_id varchar);
        insert into links values ('2026-04-10 11:45', 'V1'), ('2026-04-10 12:00', 'V2')
        """
    )
    left = [connection.execute(without_future(Timed.read(connection, name), AT)).fetchall() for name in ("prices", "links")]
    assert left == [[("A", 1, BEGINNING, None)], [(AT - QUARTER, "V1")]]


def test_a_purchase_to_come_is_not_known_however_early_it_was_loaded(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        """
        create table purchases (order_id varchar, purchased_at timestamp, amount decimal(18, 2), valid_from timestamp,
            valid_to timestamp);
        insert into purchases values
            ('R1', '2026-04-10 11:59', 5, '1970-01-01', null), ('R2', '2026-04-10 12:00', 6, '1970-01-01', null)
        """
    )
    rows = altered(connection, "purchases")
    known = [row for row in rows if row[1] < AT and row[3] <= AT]
    assert [row[:3] for row in known] == [("R1", datetime.fromisoformat("2026-04-10T11:59:00"), 5)]
    assert {row[0] for row in rows if row[3] == BEGINNING and row[1] == AT} == {"R1", "R2", "R1 (new)"}
    assert 6 not in {row[2] for row in rows}


def test_a_relation_that_tells_no_time_is_refused(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("create table popularity (product_id varchar, views bigint)")
    with pytest.raises(UntimedRelationError, match="reads popularity, which has neither slice nor valid_from and valid_to"):
        Timed.read(connection, "popularity")


def test_a_sample_is_whole_for_its_customers_and_their_visitors(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.execute(
            """
            create schema marts; create schema raw;
            create table marts.links (visitor_id varchar, customer_id varchar);
            insert into marts.links select 'V' || (range // 2), 'C' || range from range(100);
            create view marts.clicks as
                select 'V' || range as visitor_id, null::varchar as customer_id, range as number from range(60)
                union all select null, 'C' || range, range from range(110);
            create table raw.products (product_id varchar);
            insert into raw.products values ('P1'), ('P2')
            """
        )
        relations = [("marts", "links"), ("marts", "clicks"), ("raw", "products")]
        assert copy_sample(connection, relations, 5, tmp_path / "sampled.duckdb") == 5
    with duckdb.connect(str(tmp_path / "sampled.duckdb"), read_only=True) as connection:
        links = connection.execute("from marts.links").fetchall()
        own = {
            customer
            for (customer,) in connection.execute("select customer_id from marts.clicks where visitor_id is null").fetchall()
        }
        visitors = {
            visitor
            for (visitor,) in connection.execute("select visitor_id from marts.clicks where customer_id is null").fetchall()
        }
        assert len(own) == 5
        numbers = {int(customer[1:]) for customer in own}
        assert visitors == {f"V{number // 2}" for number in numbers if number < 100}
        # The other customer of each visitor is there too: without it the visitor would belong to one customer.
        pairs = {number for known in numbers if known < 100 for number in (known // 2 * 2, known // 2 * 2 + 1)}
        assert {customer for _, customer in links} == {f"C{number}" for number in pairs}
        assert connection.execute("select count(*) from raw.products").fetchone() == (2,)


def test_since_when_a_customer_is_known_is_no_fact_of_the_future(connection: duckdb.DuckDBPyConnection) -> None:
    """A version in force at the moment says so, also of a later moment: who is left out of the past stays left out."""
    connection.execute(
        "create table customers (customer_id varchar, known_since timestamp, valid_from timestamp, valid_to timestamp);"
        "insert into customers values ('A', '2026-06-01', '1970-01-01', null), ('B', null, '1970-01-01', null)"
    )
    in_force = [row for row in altered(connection, "customers") if row[2] <= AT and (row[3] is None or row[3] > AT)]
    assert sorted(row[:2] for row in in_force) == [("A", datetime.fromisoformat("2026-06-01")), ("B", None)]
