"""Events of GA4's BigQuery export, written as `bq extract` writes them: 64-bit numbers as text, unset values as (not set)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customer360.adapters import ga4
from customer360.adapters.rows import Click, EventIds, RowError

LAMP = {"item_id": "L-100", "item_name": "Desk lamp", "item_category": "table_lamps", "price": 89.0, "quantity": "2"}
BULB = {"item_id": "B-7", "item_category": "(not set)", "price": 5.9, "item_revenue": 17.7, "quantity": "3"}


def event(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "event_date": "20260501",
        "event_timestamp": "1777622472000123",
        "event_name": name,
        "event_params": [
            {
                "key": "page_location",
                "value": {"string_value": "https://shop.example/p?utm_source=news&mail=x", "int_value": None},
            },
            {"key": "ga_session_id", "value": {"int_value": "1777622400"}},
            {"key": "currency", "value": {"string_value": "EUR"}},
        ],
        "user_pseudo_id": "90.1",
        "user_id": None,
        "device": {"category": "mobile"},
        "collected_traffic_source": {"manual_medium": "email"},
        "items": [],
        **changes,
    }


def read(*events: dict[str, Any]) -> list[Click]:
    ids = EventIds()
    clicks = [click for row in events for click in ga4.clicks(json.dumps(row), ids)]
    return [{column: value for column, value in click.items() if value is not None} for click in clicks]


def test_an_event_becomes_a_click() -> None:
    (click,) = read(event("page_view", user_id="c-1"))
    assert len(click.pop("event_id")) == 32
    assert click == {
        "event_name": "page_view",
        "event_at": datetime(2026, 5, 1, 8, 1, 12, 123, tzinfo=UTC),
        "customer_id": "c-1",
        "visitor_id": "90.1",
        "session_id": "90.1-1777622400",
        "page_url": "https://shop.example/p",
        "utm_source": "news",
        "utm_medium": "email",
        "device": "mobile",
    }


def test_each_item_of_a_purchase_is_a_line_of_the_order() -> None:
    lines = read(event("purchase", items=[LAMP, BULB], ecommerce={"transaction_id": "o-1", "purchase_revenue": 195.7}))
    assert [
        (line["order_id"], line["line_no"], line["product_id"], line["quantity"], line["amount"], line["currency"])
        for line in lines
    ] == [
        ("o-1", 1, "B-7", "3", Decimal("17.7"), "EUR"),  # the item's revenue
        ("o-1", 1, "L-100", "2", Decimal("178.0"), "EUR"),  # price times quantity; numbers count within a product
    ]
    assert [line.get("category_id") for line in lines] == [None, "table_lamps"]
    assert len({line["event_id"] for line in lines}) == 2


def test_a_purchase_without_items_is_one_line_of_its_revenue() -> None:
    (line,) = read(event("purchase", ecommerce={"transaction_id": "o-2", "purchase_revenue": 12}))
    assert (line["order_id"], line["amount"], "product_id" in line) == ("o-2", Decimal(12), False)


def test_a_refund_takes_lines_of_the_order_back() -> None:
    (line,) = read(event("refund", items=[{**BULB, "item_refund": 17.7}], ecommerce={"transaction_id": "o-1"}))
    assert (line["event_name"], line["order_id"], line["amount"]) == ("purchase", "o-1", Decimal("-17.7"))
    assert line["line_no"] < 0  # beside the lines of the sale, which count from 1
    (full,) = read(event("refund", ecommerce={"transaction_id": "o-1", "refund_value": 195.7}))
    assert (full["order_id"], full["amount"], "product_id" in full) == ("o-1", Decimal("-195.7"), False)


def line_keys(*events: dict[str, Any]) -> list[tuple[str, str | None, int]]:
    """What makes an order line the same line, by event: order, product, number."""
    return [(line["order_id"], line.get("product_id"), line["line_no"]) for line in read(*events)]


def test_a_sale_that_is_sent_again_with_its_items_reordered_has_the_same_lines() -> None:
    order = {"transaction_id": "o-1"}
    sent = line_keys(event("purchase", items=[LAMP, BULB], ecommerce=order))
    again = event("purchase", items=[BULB, LAMP], ecommerce=order, event_timestamp="1777623672000123")
    assert sorted(line_keys(again)) == sorted(sent)


def test_a_product_twice_in_a_sale_is_two_lines_in_whatever_order_they_come() -> None:
    dear, cheap = {**LAMP, "price": 89.0, "quantity": 1}, {**LAMP, "price": 79.0, "quantity": 1}
    for items in ([dear, cheap, cheap], [cheap, cheap, dear]):
        lines = read(event("purchase", items=items, ecommerce={"transaction_id": "o-1"}))
        assert {line["line_no"]: line["amount"] for line in lines} == {1: Decimal(79), 2: Decimal(79), 3: Decimal(89)}


def test_refunds_of_an_order_are_lines_of_their_own_and_the_same_one_sent_again_is_not() -> None:
    parts = [event("refund", ecommerce={"transaction_id": "o-1", "refund_value": value}) for value in (5, 7, 5.0)]
    first, second, again = line_keys(*parts)
    assert first != second
    assert again == first  # 5 and 5.0 are the same amount
    bulbs = [event("refund", items=[{**BULB, "quantity": count, "item_refund": 5.9 * count}]) for count in (1, 2)]
    assert len(set(line_keys(*[{**bulb, "ecommerce": {"transaction_id": "o-1"}} for bulb in bulbs]))) == 2


def test_an_id_or_a_quantity_with_a_huge_exponent_is_not_written_out() -> None:
    items = '[{"item_id": 1e99999999, "quantity": 1e99999999, "price": 1, "item_revenue": 1}]'
    text = json.dumps(event("purchase", items=[])).replace('"items": []', f'"items": {items}')
    (line,) = ga4.clicks(text, EventIds())
    assert line["product_id"] == "1E+99999999"


def test_numbers_that_are_none_are_refused_with_their_column() -> None:
    for value in ("NaN", "Infinity", float("nan"), float("inf"), "1e999999999", "1e-999999999"):
        with pytest.raises(RowError, match=r"^price: .* is not a number"):
            ga4.clicks(json.dumps(event("purchase", items=[{**LAMP, "price": value}])), EventIds())


@pytest.mark.parametrize("name", ["view_item", "add_to_cart", "remove_from_cart"])
def test_products_are_counted_one_by_one(name: str) -> None:
    assert [click["product_id"] for click in read(event(name, items=[LAMP, BULB]))] == ["L-100", "B-7"]


def test_promotions_are_offers() -> None:
    (click,) = read(event("select_promotion", items=[{"promotion_id": "spring", "item_id": "(not set)"}]))
    assert (click["offer_id"], "product_id" in click) == ("spring", False)
    parameter = {"key": "promotion_id", "value": {"string_value": "bulbs4"}}
    assert read(event("view_promotion", event_params=[parameter]))[0]["offer_id"] == "bulbs4"


def test_a_checkout_and_an_unknown_event_are_one_click_each() -> None:
    assert [click["event_name"] for click in read(event("begin_checkout", items=[LAMP, BULB]), event("scroll"))] == [
        "begin_checkout",
        "scroll",
    ]


def test_ids_are_those_of_the_event_wherever_it_lies_and_repeats_get_their_own() -> None:
    first, second = event("page_view"), event("page_view", event_timestamp="1777622472000124")
    assert [click["event_id"] for click in read(first, second)] == [
        click["event_id"] for click in reversed(read(second, first))
    ]
    assert len({click["event_id"] for click in read(first, first)}) == 2
    # the daily table may know the visit's source where the intraday table did not yet
    later = event("page_view", collected_traffic_source=None)
    assert read(later)[0]["event_id"] == read(first)[0]["event_id"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not valid JSON"),
        ("[1]", "is not a JSON object"),
        ("[" * 100_000, "is not valid JSON"),
        ("{}", "event_name: is missing"),
        (json.dumps(event("x", event_timestamp="noon")), "event_timestamp: 'noon' is not a time in microseconds"),
        (json.dumps(event("x", event_timestamp=10**30)), "event_timestamp: 1"),
        (json.dumps(event("x", event_params={"key": "a"})), "event_params: is not a list of objects"),
        (json.dumps(event("x", device="phone")), "device: is not an object"),
        (json.dumps(event("purchase", items=[{"price": "a lot"}])), "price: 'a lot' is not a number"),
    ],
)
def test_what_is_no_event_is_an_error_that_names_the_column(text: str, reason: str) -> None:
    with pytest.raises(RowError) as caught:
        ga4.clicks(text, EventIds())
    assert str(caught.value).startswith(reason)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from([*event("x"), "ecommerce"]), JSON))
def test_no_json_breaks_the_adapter(changes: dict[str, Any]) -> None:
    try:
        assert ga4.clicks(json.dumps({**event("purchase", items=[LAMP]), **changes}), EventIds())
    except RowError as error:
        assert str(error)
