"""834 raw tracker events of a demo shop through the adapter, the contract and dbt, against the tables that Snowplow's own model
makes of them. Where a definition differs, the rows are named with the reason.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from customer360.adapters.conversion import Converted, Into, convert
from tests.support import oracle
from tests.support.lab import Lab
from tests.support.reference_data import reference_data

LAST_DAY = datetime(2022, 12, 22, tzinfo=UTC)

# The contract's sessions: the shop's session_id, else 30 minutes of inactivity of a visitor (or of a customer without one).
SESSIONS = """
    with

    events as (

        select
            event_id,
            event_name,
            event_at,
            {session_id} as session_id,
            coalesce(visitor_id, customer_id) as visitor

        from raw.clicks_pending

    ),

    gaps as (

        select
            *,
            event_at - lag(event_at) over (partition by visitor, session_id order by event_at, event_id) as gap

        from events

    ),

    numbered as (

        select
            *,
            count(*) filter (where gap is null or gap > interval 30 minutes)
                over (partition by visitor, session_id order by event_at, event_id) as number

        from gaps

    )

    select
        coalesce(session_id, visitor || '/' || number) as session,
        count(*) filter (where event_name = 'view_item') as views,
        count(distinct left(event_id, 36)) filter (where event_name = 'add_to_cart') as carts

    from numbered
    group by session
"""


@pytest.fixture(scope="module")
def folder() -> Path:
    return reference_data("snowplow_ecommerce")


@pytest.fixture(scope="module")
def expected(folder: Path) -> Callable[[str], list[dict[str, str]]]:
    """The rows of one of the published tables."""

    def read(name: str) -> list[dict[str, str]]:
        with (folder / "expected" / "default" / f"snowplow_ecommerce_{name}_expected.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))

    return read


@pytest.fixture(scope="module")
def shop(new_lab: Callable[..., Lab], folder: Path) -> tuple[Lab, Converted]:
    """All events: those of the last day as a slice, the others as history."""
    lab = new_lab(LAST_DAY, "EUR")
    source = folder / "source" / "snowplow_ecommerce_events.csv"
    done = convert(lab.settings, "snowplow", source, into=Into.EVENT_TIME, now=LAST_DAY, environment={})
    lab.load_references()
    lab.history()
    lab.write_raw([LAST_DAY.replace(tzinfo=None)])
    lab.plan()
    lab.transform("run", "--select", "+product_activity", "+traffic", "+sessions")
    return lab, done


def test_every_event_becomes_clicks_and_two_break_the_contract(shop: tuple[Lab, Converted]) -> None:
    lab, done = shop
    assert (done.rows, done.used, done.clicks, done.rejected) == (834, 834, 848, 0)
    assert lab.query("select count(*) from raw.clicks_pending") == [(846,)]
    quarantine = lab.root / "quarantine" / "click_history" / "part.parquet"
    assert lab.query(
        f"select column_name, reason, left(raw_text ->> '$.event_id', 36) from '{quarantine}' order by source_line"
    ) == [
        # a mobile purchase in pounds, in a shop whose prices are in euros
        ("currency", "GBP is not the currency of the shop (EUR)", "ab06d353-d71a-4e3a-88d5-92e4b92043d4"),
        # a refund that does not say of which order
        ("order_id", "is missing in a purchase", "b8f64ad9-54ce-482a-8fc2-64180dfcc976"),
    ]


def test_sessions_are_the_63_of_the_model_and_one_of_an_app_that_it_leaves_out(
    shop: tuple[Lab, Converted], expected: Callable[[str], list[dict[str, str]]]
) -> None:
    lab, _ = shop
    sessions = {session for session, _, _ in lab.query(SESSIONS.format(session_id="session_id"))}
    published = {row["domain_sessionid"] for row in expected("sessions")}
    assert len(published) == 63
    assert published <= sessions
    # Snowplow's model reads certain apps only, and this session's one event has the app id "skip-me"
    assert sessions - published == {"9681591f679e7c40886ef5d7213108bf90224960b494fd2b5742524b033afad9"}


def test_thirty_minutes_of_inactivity_make_the_sessions_of_the_tracker(shop: tuple[Lab, Converted]) -> None:
    lab, _ = shop
    given = lab.query(SESSIONS.format(session_id="session_id"))
    inferred = lab.query(SESSIONS.format(session_id="cast(null as varchar)"))
    assert sorted(counts for _, *counts in inferred) == sorted(counts for _, *counts in given)
    assert len(inferred) == 64


def test_the_table_of_sessions_has_those_of_the_tracker(shop: tuple[Lab, Converted]) -> None:
    """By first and last event and pages viewed, of the events whose names the contract knows."""
    lab, _ = shop
    viewed = "count(*) filter (where event_name in ('page_view', 'view_item'))"
    done = "count(*) filter (where event_name not in ('page_view', 'view_item', 'view_promotion'))"
    given = lab.query(
        f"""
        select min(event_at), max(event_at), {viewed}, {viewed} <= 1 and {done} = 0
        from raw.clicks_pending where event_name in {tuple(sorted(oracle.EVENT_NAMES))} group by session_id order by all
        """
    )
    columns = "started_at, ended_at, page_and_product_views, is_bounced"
    assert lab.query(f"select {columns} from marts.sessions order by all") == given
    assert (len(given), sum(is_bounced for *_, is_bounced in given)) == (21, 1)


def test_product_views_and_carts_agree_by_product(
    shop: tuple[Lab, Converted], expected: Callable[[str], list[dict[str, str]]]
) -> None:
    lab, _ = shop
    rows = expected("product_interactions")
    views = Counter(row["product_id"] for row in rows if row["product_view_type"] == "product_view")
    carts = Counter(row["product_id"] for row in rows if row["is_add_to_cart"] == "True")
    removals = Counter(row["product_id"] for row in rows if row["is_remove_from_cart"] == "True")
    found = lab.query(
        """
        select product_id, sum(views), sum(carts), sum(removals) from intermediate.int_activity_by_slice
        where product_id is not null group by product_id having sum(views + carts + removals) > 0
        """
    )
    assert {product: counts for product, *counts in found} == {
        product: [views[product], carts[product], removals[product]] for product in {*views, *carts, *removals}
    }
    assert (views.total(), carts.total(), removals.total()) == (179, 49, 15)
    assert (
        dict(lab.query("select product_id, sum(views) from marts.product_activity group by 1 having sum(views) > 0")) == views
    )
    # The model's 100 list views are views to it; to the contract they are events that it ignores.
    lists = {row["event_id"] for row in rows if row["product_view_type"] == "list_view"}
    ignored = lab.query("select event_id from raw.clicks_pending where event_name = 'view_item_list'")
    assert {event for (event,) in ignored} == lists
    assert len(lists) == 100


def test_views_and_carts_of_a_session_agree(
    shop: tuple[Lab, Converted], expected: Callable[[str], list[dict[str, str]]]
) -> None:
    lab, _ = shop
    views = Counter(
        row["domain_sessionid"] for row in expected("product_interactions") if row["product_view_type"] == "product_view"
    )
    published = {
        row["domain_sessionid"]: (views[row["domain_sessionid"]], int(row["number_add_to_carts"]))
        for row in expected("sessions")
    }
    found = {session: (seen, carts) for session, seen, carts in lab.query(SESSIONS.format(session_id="session_id"))}
    assert {session: found[session] for session in published} == published
    assert sum(carts for _, carts in published.values()) == 38


def test_transactions_agree_and_a_repeated_one_counts_once(
    shop: tuple[Lab, Converted], expected: Callable[[str], list[dict[str, str]]]
) -> None:
    lab, _ = shop
    published = {row["transaction_id"]: row for row in expected("transaction_interactions")}
    assert len(published) == 14
    found = {
        order: (lines, amount)
        for order, lines, amount in lab.query(
            """
            select order_id, count(*), sum(amount) from (
                select distinct order_id, product_id, line_no, amount from intermediate.int_purchases_by_slice
            ) group by order_id
            """
        )
    }
    assert published.keys() - found.keys() == {"id-123"}  # in pounds: quarantined, see above
    assert found.keys() <= published.keys()
    assert all(lines == int(published[order]["number_products"]) for order, (lines, _) in found.items())
    # The model's revenue has the shipping in it; the contract's spend is that of the products.
    paid = {
        order: Decimal(row["transaction_revenue"]) - Decimal(row["transaction_shipping"])
        for order, row in published.items()
        if order in found
    }
    # Its tracker was given a revenue of 1,234,567.89 for two products of 25.20 in all.
    assert {order for order, (_, amount) in found.items() if amount != paid[order]} == {"TOG6u9"}
    # TtlZ3b was sent twice, a second apart and under two event ids.
    assert lab.query("select sum(purchases), sum(revenue) from marts.traffic") == [
        (13, sum(amount for _, amount in found.values()))
    ]


def test_orders_belong_to_the_users_whom_the_model_names(
    shop: tuple[Lab, Converted], expected: Callable[[str], list[dict[str, str]]]
) -> None:
    lab, _ = shop
    users: dict[str, set[str]] = defaultdict(set)
    for row in expected("transaction_interactions"):
        if row["ecommerce_user_is_guest"] != "True" and row["ecommerce_user_id"]:
            users[row["ecommerce_user_id"]].add(row["transaction_id"])
    known = lab.query("select customer_id, order_id from intermediate.int_purchases_by_slice where customer_id is not null")
    assert {(user, order) for user, orders in users.items() for order in orders if order != "id-123"} <= set(known)
