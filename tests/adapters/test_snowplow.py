"""Snowplow events in the three shapes in which they are stored: enriched lines, JSON by column, CSV by column."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from customer360.adapters import snowplow
from customer360.adapters.rows import Click, RowError, Skip

SCHEMA = "iglu:com.snowplowanalytics.snowplow"
ACTION = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action"
CONTEXT = "contexts_com_snowplowanalytics_snowplow_ecommerce_"
LAMP = {"id": "L-100", "category": "table_lamps", "price": 89.5, "quantity": 2, "currency": "EUR"}
BULB = {"id": "B-7", "category": "bulbs", "price": "5.90", "quantity": None, "currency": "EUR"}


def event(**columns: Any) -> dict[str, Any]:
    return {
        "event_id": "e-1",
        "event": "unstruct",
        "platform": "web",
        "derived_tstamp": "2026-05-01 08:01:12.345",
        "domain_userid": "v-90",
        "domain_sessionid": "s-5",
        "page_url": "https://shop.example/p?mail=a@b.example",
        **columns,
    }


def action(kind: str, **columns: Any) -> dict[str, Any]:
    return event(**{f"{ACTION}_1": {"type": kind}}, **columns)


def read(columns: dict[str, Any]) -> list[Click]:
    found = snowplow.clicks(columns)
    assert isinstance(found, list)
    return [{column: value for column, value in click.items() if value is not None} for click in found]


def enriched(**columns: Any) -> str:
    """A line of the enriched stream."""
    return "\t".join(str(columns.get(field, "")) for field in snowplow.FIELDS)


def test_a_page_view_becomes_a_click() -> None:
    (click,) = read(
        event(event="page_view", event_name="page_view", user_id="c-1", mkt_source="news", useragent="X (iPhone) Mobile")
    )
    assert click == {
        "event_id": "e-1",
        "event_name": "page_view",
        "event_at": datetime(2026, 5, 1, 8, 1, 12, 345_000, tzinfo=UTC),
        "customer_id": "c-1",
        "visitor_id": "v-90",
        "session_id": "s-5",
        "page_url": "https://shop.example/p",
        "utm_source": "news",
        "device": "mobile",
    }


def test_an_enriched_line_says_the_same_as_its_columns() -> None:
    entities = [
        {"schema": f"{SCHEMA}.ecommerce/product/jsonschema/1-0-2", "data": LAMP},
        {"schema": f"{SCHEMA}.ecommerce/product/jsonschema/1-0-2", "data": BULB},
        {"schema": f"{SCHEMA}/web_page/jsonschema/1-0-0", "data": {"id": "page"}},
    ]
    entity = {
        "schema": f"{SCHEMA}.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2",
        "data": {"type": "add_to_cart"},
    }
    line = enriched(
        **event(),
        contexts=json.dumps({"schema": f"{SCHEMA}/contexts/jsonschema/1-0-1", "data": entities}),
        unstruct_event=json.dumps({"schema": f"{SCHEMA}/unstruct_event/jsonschema/1-0-0", "data": entity}),
    )
    clicks = read(dict(snowplow.from_enriched(line)))
    assert clicks == read(action("add_to_cart", **{f"{CONTEXT}product_1": [LAMP, BULB]}))
    assert [(click["event_id"], click["product_id"]) for click in clicks] == [("e-1-1", "L-100"), ("e-1-2", "B-7")]


def test_a_warehouse_row_with_json_in_its_columns_says_the_same() -> None:
    columns = {f"{ACTION}_1_0_0": '{"type": "product_view"}', f"{CONTEXT}product_1_0_0": "[]"}
    row = event(**columns, **{f"{CONTEXT}product_1_0_1": json.dumps([LAMP])})
    assert read(row) == read(action("product_view", **{f"{CONTEXT}product_1": [LAMP]}))


def test_each_product_of_a_transaction_is_a_line_of_the_order() -> None:
    order = {"transaction_id": "o-1", "revenue": 190.0, "shipping": 5.1, "currency": "EUR"}
    lines = read(action("transaction", **{f"{CONTEXT}transaction_1": [order], f"{CONTEXT}product_1": [LAMP, BULB]}))
    assert [(line["event_name"], line["order_id"], line["line_no"], line["product_id"], line["amount"]) for line in lines] == [
        ("purchase", "o-1", 1, "B-7", Decimal("5.90")),
        ("purchase", "o-1", 1, "L-100", Decimal("179.0")),  # numbers count within a product
    ]
    (line,) = read(action("transaction", **{f"{CONTEXT}transaction_1": [order]}))
    assert (line["amount"], line["currency"]) == (Decimal("190.0"), "EUR")


def test_a_refund_takes_lines_of_the_order_back() -> None:
    order = {"transaction_id": "o-1", "refund_amount": 5.9, "currency": "EUR"}
    (line,) = read(action("refund", **{f"{CONTEXT}refund_1": [order], f"{CONTEXT}product_1": [BULB]}))
    assert (line["event_name"], line["order_id"], line["amount"]) == ("purchase", "o-1", Decimal("-5.90"))
    assert line["line_no"] < 0  # beside the lines of the sale, which count from 1


@pytest.mark.parametrize(
    ("kind", "columns", "name"),
    [
        ("checkout_step", {f"{CONTEXT}checkout_step_1": [{"step": 1}]}, "begin_checkout"),
        ("checkout_step", {f"{CONTEXT}checkout_step_1": [{"step": "2"}]}, "checkout_step"),
        ("list_view", {}, "view_item_list"),
        ("trns_error", {}, "trns_error"),
    ],
)
def test_an_action_has_the_name_of_the_contract_where_there_is_one(kind: str, columns: dict[str, Any], name: str) -> None:
    assert [click["event_name"] for click in read(action(kind, **columns))] == [name]


def test_a_promotion_is_an_offer() -> None:
    (click,) = read(action("promo_click", **{f"{CONTEXT}promotion_1": [{"id": "spring"}]}))
    assert (click["event_name"], click["offer_id"]) == ("select_promotion", "spring")


def test_guests_and_mobile_users_are_visitors() -> None:
    guest = read(event(event="page_view", **{f"{CONTEXT}user_1": [{"id": "u-1", "is_guest": True}]}))[0]
    user = read(event(event="page_view", **{f"{CONTEXT}user_1": [{"id": "u-1", "is_guest": False}]}))[0]
    assert ("customer_id" in guest, user["customer_id"]) == (False, "u-1")
    session = {"contexts_com_snowplowanalytics_snowplow_client_session_1": [{"userId": "m-1", "sessionId": "s-9"}]}
    app = read(event(event="screen_view", platform="mob", domain_userid=None, domain_sessionid=None, **session))[0]
    assert (app["visitor_id"], app["session_id"], app["device"]) == ("m-1", "s-9", "mobile")
    assert read(event(event="page_view", domain_userid="", network_userid="n-1"))[0]["visitor_id"] == "n-1"


def test_the_older_transaction_items_are_lines_and_their_total_is_not() -> None:
    item = {"ti_orderid": "o-7", "ti_sku": "B-7", "ti_price": "5.90", "ti_quantity": "4", "ti_currency": "EUR"}
    (line,) = read(dict(snowplow.from_enriched(enriched(**{**event(), "event": "transaction_item", **item}))))
    assert (line["event_name"], line["order_id"], line["product_id"], line["amount"]) == (
        "purchase",
        "o-7",
        "B-7",
        Decimal("23.60"),
    )
    assert isinstance(snowplow.clicks(event(event="transaction")), Skip)
    assert snowplow.clicks(event(event="page_ping")) == Skip("page_ping")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"event": None}, "event_name: is missing, and event too"),
        ({"event": "page_view", "event_id": ""}, "event_id: is missing"),
        ({"event": "page_view", "derived_tstamp": "noon"}, "derived_tstamp: 'noon' is not a time"),
        ({"event": "page_view", "derived_tstamp": None}, "derived_tstamp: 'None' is not a time"),
        ({f"{ACTION}_1": "{"}, f"{ACTION}_1: is not valid JSON"),
        (
            {f"{ACTION}_1": {"type": "product_view"}, f"{CONTEXT}product_1": ["L-100"]},
            f"{CONTEXT}product_1: is not a list of obj",
        ),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_the_column(columns: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError) as caught:
        snowplow.clicks(event(**columns))
    assert str(caught.value).startswith(reason)


def test_a_line_of_another_width_or_with_a_strange_schema_is_an_error() -> None:
    with pytest.raises(RowError, match="has 2 tab-separated fields, an enriched event has 131"):
        snowplow.from_enriched("web\tpage_view")
    contexts = json.dumps({"schema": "x", "data": [{"schema": "product", "data": {}}]})
    with pytest.raises(RowError, match="contexts: 'product' is not a schema such as iglu:"):
        snowplow.from_enriched(enriched(**event(), contexts=contexts))


def test_a_transaction_that_is_sent_again_with_its_products_reordered_has_the_same_lines() -> None:
    order = {"transaction_id": "o-1", "currency": "EUR"}
    sent, again = (
        read(action("transaction", **{f"{CONTEXT}transaction_1": [order], f"{CONTEXT}product_1": products}))
        for products in ([LAMP, BULB, {**LAMP, "price": 79}], [{**LAMP, "price": 79}, BULB, LAMP])
    )
    keys = [{(line["product_id"], line["line_no"]): line["amount"] for line in lines} for lines in (sent, again)]
    assert keys[0] == keys[1] == {("B-7", 1): Decimal("5.90"), ("L-100", 1): Decimal(158), ("L-100", 2): Decimal(179)}


@pytest.mark.parametrize(
    "columns",
    [
        {"useragent": "okhttp/4.9.0"},
        {"useragent": "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"},
        {"contexts_com_iab_snowplow_spiders_and_robots_1": [{"spiderOrRobot": True, "category": "SPIDER_OR_ROBOT"}]},
        {"contexts_com_iab_snowplow_spiders_and_robots_1_0_0": '[{"spider_or_robot": true}]'},
    ],
)
def test_robots_are_skipped_by_the_user_agent_or_by_the_enrichment(columns: dict[str, Any]) -> None:
    assert snowplow.clicks(event(event_name="page_view", **columns)) == Skip("robot")
    people = {"contexts_com_iab_snowplow_spiders_and_robots_1": [{"spiderOrRobot": False}], "useragent": ""}
    assert read(event(event_name="page_view", **people))[0]["event_name"] == "page_view"  # a server's tracker sends no agent
