"""What became of contacts: one order one contact, within the window, and late data only add."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import duckdb
import pandas as pd
import pytest

from customer360.campaigns.attribution import record_outcomes
from customer360.campaigns.ledger import ledger_parts, read_ledger
from customer360.lake.publishing.publishing import publish
from customer360.lake.publishing.version import open_version
from tests.campaigns.conftest import Desk, at, holdout

Order = tuple[str, str, str, float]  # customer, order, when, amount
SENT_AT = "2026-05-05 07:15"


@pytest.fixture
def sent(desk: Desk) -> Desk:
    """C1 and C2 were contacted on Tuesday at 7:15 UTC, C3 was held out; a contact of C4 is approved and not sent."""
    desk.draft(
        {"customer_id": "C1"}, {"customer_id": "C2"}, holdout("C3"), {"customer_id": "C4", "send_at": "2026-05-05 20:00"}
    )
    desk.approve()
    desk.send(SENT_AT)
    return desk


@pytest.fixture
def published() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(
            "create table customer_orders (customer_id varchar, order_id varchar, ordered_at timestamp, "
            "amount decimal(18, 2), lines bigint);"
            "create table campaign_activity (campaign_id varchar, customer_id varchar, activity varchar, event_at timestamp)"
        )
        yield connection


def ordered(connection: duckdb.DuckDBPyConnection, *orders: Order, lines: int = 1) -> None:
    connection.executemany("insert into customer_orders values (?, ?, ?, ?, ?)", [[*order, lines] for order in orders])


def did(connection: duckdb.DuckDBPyConnection, *rows: tuple[str, str, str], campaign: str = "spring") -> None:
    connection.executemany("insert into campaign_activity values (?, ?, ?, ?)", [[campaign, *row] for row in rows])


def record(desk: Desk, connection: duckdb.DuckDBPyConnection, now: str = "2026-05-10 02:00") -> dict[str, int]:
    return record_outcomes(desk.place, desk.settings.shop, connection, at(now), "run 2")


def converted(desk: Desk) -> dict[str, str]:
    frame = read_ledger(desk.place, ["converted"])
    return dict(zip(frame["order_id"], frame["customer_id"], strict=True))


def test_an_order_within_three_days_converts_its_contact(sent: Desk, published: duckdb.DuckDBPyConnection) -> None:
    ordered(
        published,
        ("C1", "before", "2026-05-05 07:14:59", 9),
        ("C1", "at once", "2026-05-05 07:15:00", 10),
        ("C1", "second", "2026-05-06 07:15:00", 11.5),
        ("C2", "last moment", "2026-05-08 07:14:59", 12),
        ("C2", "too late", "2026-05-08 07:15:00", 13),
        ("stranger", "other", "2026-05-06 07:15:00", 14),
    )
    ordered(published, ("C2", "return", "2026-05-06 00:00:00", -5), lines=0)
    assert record(sent, published) == {"converted": 3}
    assert converted(sent) == {"at once": "C1", "second": "C1", "last moment": "C2"}
    row = read_ledger(sent.place, ["converted"]).set_index("order_id").loc["second"]
    assert row["amount"] == 11.5 and row["event_at"] == pd.Timestamp("2026-05-06 07:15")
    assert (row["campaign_id"], row["plan_version"], row["arm"], row["channel"]) == ("spring", "spring-1", "contact", "email")


def test_a_held_out_customer_converts_from_when_the_contact_would_have_been_sent(
    sent: Desk, published: duckdb.DuckDBPyConnection
) -> None:
    ordered(published, ("C3", "early", "2026-05-05 06:59:59", 9), ("C3", "held", "2026-05-05 07:00:00", 10))
    record(sent, published)
    assert converted(sent) == {"held": "C3"}
    assert set(read_ledger(sent.place, ["converted"])["arm"]) == {"holdout"}


def test_a_contact_that_was_not_sent_converts_nothing(sent: Desk, published: duckdb.DuckDBPyConnection) -> None:
    ordered(published, ("C4", "own accord", "2026-05-05 21:00", 9))
    assert record(sent, published) == {}


def test_an_order_converts_only_the_last_contact_before_it(sent: Desk, published: duckdb.DuckDBPyConnection) -> None:
    sent.campaign(name="other")
    tomorrow = {"contact_date": "2026-05-06", "send_at": "2026-05-06 07:00"}
    sent.draft({"customer_id": "C1", **tomorrow}, version="other-1", campaign="other", day="2026-05-05")
    sent.approve("other-1", "other", now="2026-05-05 09:00")
    sent.send("2026-05-06 07:00")
    ordered(published, ("C1", "first", "2026-05-06 06:59", 5), ("C1", "then", "2026-05-06 07:00", 6))
    assert record(sent, published) == {"converted": 2}
    frame = read_ledger(sent.place, ["converted"])
    assert dict(zip(frame["order_id"], frame["campaign_id"], strict=True)) == {"first": "spring", "then": "other"}


def test_activity_counts_once_a_contact_for_its_campaign_and_after_it(sent: Desk, published: duckdb.DuckDBPyConnection) -> None:
    did(published, ("C1", "delivered", "2026-05-05 07:20"), ("C1", "opened", "2026-05-05 09:00"))
    did(published, ("C1", "opened", "2026-05-05 08:00"), ("C1", "clicked", "2026-05-05 07:00"))
    did(published, ("C2", "clicked", "2026-05-08 07:15"), ("C3", "clicked", "2026-05-05 08:00"))
    did(published, ("C2", "clicked", "2026-05-05 08:00"), campaign="other")
    assert record(sent, published) == {"delivered": 1, "opened": 1}
    frame = read_ledger(sent.place, ["opened"])
    assert list(frame["event_at"].astype(str)) == ["2026-05-05 08:00:00"]


def test_late_data_are_added_and_change_nothing(sent: Desk, published: duckdb.DuckDBPyConnection) -> None:
    ordered(published, ("C1", "O1", "2026-05-06 10:00", 10))
    did(published, ("C1", "opened", "2026-05-05 09:00"))
    record(sent, published)
    before = {part: part.read_bytes() for part in ledger_parts(sent.place)}
    assert record(sent, published) == {}
    published.execute("update customer_orders set amount = 25, ordered_at = timestamp '2026-05-06 09:00'")  # a line came late
    ordered(published, ("C2", "O2", "2026-05-05 10:00", 7))
    did(published, ("C1", "opened", "2026-05-05 08:00"), ("C1", "clicked", "2026-05-05 08:01"))
    assert record(sent, published, "2026-05-20 02:00") == {"converted": 1, "clicked": 1}
    assert {part: part.read_bytes() for part in before} == before
    frame = read_ledger(sent.place, ["converted"])
    assert list(zip(frame["order_id"], frame["amount"], strict=True)) == [("O1", 10.0), ("O2", 7.0)]


def test_the_order_in_which_data_arrive_gives_the_same_entries(sent: Desk, published: duckdb.DuckDBPyConnection) -> None:
    orders = [
        ("C2", "O2", "2026-05-05 10:00", 7.0),
        ("C1", "O1", "2026-05-06 10:00", 10.0),
        ("C3", "O3", "2026-05-07 10:00", 1.0),
    ]
    for order in orders:
        ordered(published, order)
        record(sent, published)
    one_by_one = set(read_ledger(sent.place, ["converted"])["entry_id"])
    assert len(one_by_one) == 3
    parts = ledger_parts(sent.place)
    for part in parts[-3:]:
        part.unlink()
    published.execute("delete from customer_orders")
    ordered(published, *reversed(orders))
    record(sent, published)
    assert set(read_ledger(sent.place, ["converted"])["entry_id"]) == one_by_one


def test_a_publication_between_the_reads_is_no_part_of_what_is_recorded(sent: Desk) -> None:
    """A version is published after the orders of the one before were read: its activity does not join them."""
    row = "'spring' as campaign_id, 'C1' as customer_id, 'clicked' as activity, timestamp '2026-05-05 08:00' as event_at"
    activity = f"select {row}"
    no_activity = f"{activity} where false"

    def publish_version(order_id: str, activity_query: str) -> None:
        orders = (
            f"select 'C1' as customer_id, '{order_id}' as order_id, timestamp '2026-05-06 10:00' as ordered_at, "
            "cast(10 as decimal(18, 2)) as amount, 1 as lines"
        )
        with duckdb.connect() as connection:
            tables = {"customer_orders": orders, "campaign_activity": activity_query}
            publish(sent.place, connection, tables, at("2026-05-09 00:00"), at("2026-05-09 00:00"))

    class PublishesMeanwhile:
        """The connection of the first version; the second one is published after the first query."""

        def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
            self.connection, self.queries = connection, 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self.connection, name)

        def execute(self, query: str) -> duckdb.DuckDBPyConnection:
            self.queries += 1
            if self.queries == 2:
                publish_version("second", activity)
            return self.connection.execute(query)

    publish_version("first", no_activity)
    with open_version(sent.place) as version:
        reading = PublishesMeanwhile(version.connection)
        assert record_outcomes(sent.place, sent.settings.shop, cast("Any", reading), at("2026-05-10 02:00"), "run 2") == {
            "converted": 1
        }
    assert reading.queries == 2 and converted(sent) == {"first": "C1"}
    with open_version(sent.place) as version:
        assert record(sent, version.connection) == {"clicked": 1, "converted": 1}
