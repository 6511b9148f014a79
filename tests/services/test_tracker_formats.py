"""GA4's Measurement Protocol and Snowplow's tracker protocol as events, also as users of their collectors reported them.

Every case is an input of its own of the reported kind.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from customer360.adapters.rows import Click, RowError, Skip
from customer360.services.api.collector import measurement_protocol
from customer360.services.api.collector.collecting import _refusal
from customer360.services.api.collector.contract import Arrived, EventError, checked
from customer360.services.api.collector.tracker_protocol import Received, clicks, payloads

AT = datetime(2026, 5, 1, 12, 7, tzinfo=UTC)
MICROSECONDS = 1_777_629_600_000_000  # 2026-05-01 10:00
SCHEMA = "iglu:com.snowplowanalytics.snowplow"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"


def ga4(event: dict[str, Any], **payload: Any) -> list[Click]:
    """The clicks of an event, by the contract; their ids are new ones and left out."""
    found = measurement_protocol.clicks({"client_id": "c.1", **payload, "events": [event]}, 0, AT)
    return [without_id(checked(click, Arrived(AT, "EUR"))) for click in found]


def without_id(click: Click) -> Click:
    assert click.pop("event_id")
    return click


def snowplow(at: datetime = AT, agent: str = BROWSER, **payload: Any) -> list[Click]:
    values = {"e": "pv", "p": "web", "eid": "e1", "duid": "v1", "url": "https://shop.example/", **payload}
    found = clicks({name: value for name, value in values.items() if value is not None}, Received(at, agent))
    assert isinstance(found, list)
    return [checked(click, Arrived(at, "EUR")) for click in found]


def entities(*data: tuple[str, dict[str, Any]]) -> str:
    contexts = [{"schema": f"iglu:{name}/jsonschema/1-0-0", "data": content} for name, content in data]
    return json.dumps({"schema": f"{SCHEMA}/contexts/jsonschema/1-0-0", "data": contexts}, ensure_ascii=False)


def milliseconds(text: str) -> str:
    return f"{(datetime.fromisoformat(text + '+00:00') - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)}"


PRODUCT = "com.snowplowanalytics.snowplow.ecommerce/product"
ACTION = "com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action"
LAMP = {"id": "L-1", "name": "Lampe à pied ž?>", "category": "lamps", "price": 20, "currency": "EUR"}


def test_a_purchase_of_the_measurement_protocol_is_the_lines_of_its_order() -> None:
    items = [{"item_id": "L-1", "item_category": "lamps", "price": 20.25, "quantity": 2}, {"item_id": "B-7", "price": 1}]
    parameters = {"transaction_id": "o1", "currency": "EUR", "session_id": 77, "items": items, "value": 41.5}
    page = {"page_location": "https://shop.example/done?mail=a@b.example&utm_source=news", "engagement_time_msec": 100}
    sale = {"name": "purchase", "params": {**parameters, **page}, "timestamp_micros": MICROSECONDS}
    bulb, lamp = ga4(sale, user_id="u1")
    assert lamp == {
        "event_name": "purchase",
        "event_at": datetime(2026, 5, 1, 10, tzinfo=UTC),
        "customer_id": "u1",
        "visitor_id": "c.1",
        "session_id": "c.1-77",
        "product_id": "L-1",
        "category_id": "lamps",
        "order_id": "o1",
        "line_no": 1,
        "quantity": 2.0,
        "amount": Decimal("40.50"),
        "currency": "EUR",
        "page_url": "https://shop.example/done",
        "utm_source": "news",
    }
    assert (bulb["amount"], bulb["quantity"], "category_id" in bulb) == (Decimal("1.00"), 1.0, False)


@pytest.mark.parametrize(
    ("event", "payload", "expected"),
    [
        pytest.param(
            {"name": "page_view", "timestamp_micros": f"{MICROSECONDS}"},
            {"timestamp_micros": 5},
            {"event_at": datetime(2026, 5, 1, 10, tzinfo=UTC)},
            id="ga-dev-tools 1751: the time of an event inside it, as text, and another one of the payload",
        ),
        pytest.param(
            {"name": "page_view"},
            {"timestamp_micros": f"{MICROSECONDS - 6 * 86400 * 10**6}"},
            {"event_at": datetime(2026, 4, 25, 10, tzinfo=UTC)},
            id="megalista 107, segment-docs 5256: the time of the payload, more than 72 hours back",
        ),
        pytest.param(
            {"name": "login", "params": {"session_id": "1664522406", "engagement_time_msec": "100"}},
            {"user_id": "", "client_id": "LSATGf/rY=.16"},
            {"session_id": "LSATGf/rY=.16-1664522406", "visitor_id": "LSATGf/rY=.16", "event_at": AT},
            id="marketing-analytics-jumpstart 239: numbers as text, an empty user, a client id with signs",
        ),
        pytest.param(
            {"name": "purchase", "params": {"transaction_id": 7, "items": [{"item_id": 5, "price": "9.90", "quantity": "3"}]}},
            {},
            {"order_id": "7", "product_id": "5", "amount": Decimal("29.70"), "quantity": 3.0},
            id="magento-lts 3228: price and quantity as text",
        ),
        pytest.param(
            {
                "name": "purchase",
                "params": {
                    "transaction_id": "o1",
                    "currency": "undefined",
                    "items": [{"item_id": "a", "price": 9.99, "currency": "EUR"}],
                },
            },
            {},
            {"currency": "EUR", "amount": Decimal("9.99")},
            id="ecommerce-migration-helper 5: the currency of the items alone, undefined in the event",
        ),
        pytest.param(
            {"name": "purchase", "params": {"transaction_id": "o1", "value": 25.42, "currency": "EUR"}},
            {"client_id": None, "app_instance_id": "A1"},
            {"amount": Decimal("25.42"), "visitor_id": "A1"},
            id="shopify-pixels 7: a purchase without items; an app's instance",
        ),
    ],
)
def test_the_measurement_protocol_is_read_as_it_is_sent(event: Any, payload: Any, expected: dict[str, Any]) -> None:
    (click,) = ga4(event, **payload)
    assert {name: click.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("event", "field", "remedy"),
    [
        ({"name": "page_view", "timestamp_micros": MICROSECONDS // 1000}, "timestamp_micros", "seconds or milliseconds"),
        ({"name": "page_view", "timestamp_micros": "now"}, "timestamp_micros", "is not a whole number"),
        ({"params": {}}, "event_name", "is missing"),
        ({"name": "view_item", "params": []}, "params", "is not an object"),
        ({"name": "view_item", "params": {"items": {"item_id": "a"}}}, "items", "is not a list of objects"),
        (
            {"name": "purchase", "params": {"transaction_id": "o1", "items": [{"price": "1,234.50"}]}},  # magento-lts 3228
            *("price", "is not a number"),
        ),
        (
            {"name": "purchase", "params": {"transaction_id": "o1", "value": 1, "currency": "euro"}},  # rn-firebase 6504
            *("currency", "send amounts in EUR"),
        ),
    ],
)
def test_a_bad_event_of_the_measurement_protocol_is_refused_with_its_field(event: Any, field: str, remedy: str) -> None:
    with pytest.raises((RowError, EventError)) as refused:
        ga4(event)
    refusal = _refusal(3, refused.value)
    assert (refusal.index, refusal.field) == (3, field)
    assert remedy in refusal.remedy
    assert "1,234" not in refusal.remedy


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param(
            {"dtm": milliseconds("2026-02-11T09:35:55.807"), "stm": milliseconds("2026-04-09T04:34:24.785")},
            {"event_at": AT - timedelta(days=56, hours=18, minutes=58, seconds=28, milliseconds=978)},
            id="enrich 495: two months between an event and its request",
        ),
        pytest.param(
            {"dtm": milliseconds("2019-01-19T21:47:05.464"), "stm": milliseconds("2021-01-12T15:32:55.515")},
            {"event_at": AT},
            id="javascript-tracker 885: two years between an event and its request",
        ),
        pytest.param(
            {"dtm": milliseconds("2026-05-01T11:00:00"), "stm": "253380000000000000"},
            {"event_at": AT},
            id="snowplow 3332: a device in the year 9999",
        ),
        pytest.param(
            {"dtm": milliseconds("2031-01-01T00:00:00"), "stm": milliseconds("2026-05-01T12:06:59")},
            {"event_at": AT},
            id="snowplow 1550: a clock that was set back between event and request",
        ),
        pytest.param(
            {"dtm": 1777636800000, "stm": 1777636802500, "vid": 3, "uid": 1001, "duid": None, "nuid": "n1"},
            {"event_at": AT - timedelta(seconds=2.5), "customer_id": "1001", "visitor_id": "n1"},
            id="python-tracker 100, ruby-tracker 102: numbers that are no text",
        ),
        pytest.param(
            {
                "url": "https://shop.example/a b?q={x}&utm_source=n&utm_medium=unencoded query",
                "refr": "https://x.example/?id=1",
            },
            {"page_url": "https://shop.example/a b", "utm_source": "n", "utm_medium": "unencoded query"},
            id="snowplow 3592: a page's address that is not encoded",
        ),
        pytest.param(
            {"p": "srv", "ua": None, "uid": "u1", "duid": None, "url": None},
            {"customer_id": "u1", "device": None},
            id="a server's tracker is no robot, whichever library sends its events",
        ),
    ],
)
def test_the_tracker_protocol_is_read_as_it_is_sent(payload: dict[str, Any], expected: dict[str, Any]) -> None:
    agent = "python-requests/2.32" if payload.get("p") == "srv" else BROWSER
    (click,) = snowplow(agent=agent, **payload)
    assert {name: click.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(lambda text: {"cx": base64.urlsafe_b64encode(text).decode().rstrip("=")}, id="as the protocol says"),
        pytest.param(
            lambda text: {"cx": base64.b64encode(text).decode()}, id="ios-tracker 149, snowly 1: padded, with + and /"
        ),
        pytest.param(
            lambda text: {"cx": base64.b64encode(text).decode().replace("+", " ")}, id="a + that a query made a blank"
        ),
        pytest.param(lambda text: {"co": text.decode()}, id="javascript-tracker 299: not encoded"),
        pytest.param(lambda text: {"co": json.loads(text)}, id="JSON that is no text"),
    ],
)
def test_contexts_are_read_in_every_encoding(encode: Any) -> None:
    action = {"schema": f"iglu:{ACTION}/jsonschema/1-0-2", "data": {"type": "add_to_cart"}}
    event = json.dumps({"schema": f"{SCHEMA}/unstruct_event/jsonschema/1-0-0", "data": action})
    (click,) = snowplow(e="ue", ue_pr=event, **encode(entities((PRODUCT, LAMP)).encode()))
    assert (click["event_name"], click["product_id"], click["category_id"]) == ("add_to_cart", "L-1", "lamps")
    assert click["event_id"] == "e1-1"


def test_the_decision_behind_an_offer_is_kept() -> None:
    promotion = ("com.snowplowanalytics.snowplow.ecommerce/promotion", {"id": "free-shipping"})
    action = {"schema": f"iglu:{ACTION}/jsonschema/1-0-2", "data": {"type": "promo_click"}}
    event = json.dumps({"schema": f"{SCHEMA}/unstruct_event/jsonschema/1-0-0", "data": action})
    (click,) = snowplow(e="ue", ue_pr=event, co=entities(promotion, ("example.shop/offer", {"decision_id": "d1"})))
    assert (click["event_name"], click["offer_id"], click["decision_id"]) == ("select_promotion", "free-shipping", "d1")
    offers = {"decision_id": "d1", "items": [{"promotion_id": "a"}, {"promotion_id": "b", "decision_id": "d2"}]}
    found = measurement_protocol.clicks({"client_id": "c", "events": [{"name": "view_promotion", "params": offers}]}, 0, AT)
    assert [(shown["offer_id"], shown["decision_id"]) for shown in found] == [("a", "d1"), ("b", "d2")]


def test_an_event_of_ones_own_schema_has_its_name_and_one_without_an_id_gets_one() -> None:
    link = {"schema": f"{SCHEMA}/link_click/jsonschema/1-0-1", "data": {"targetUrl": "https://x.example"}}
    event = json.dumps({"schema": f"{SCHEMA}/unstruct_event/jsonschema/1-0-0", "data": link})
    first, second = (snowplow(e="ue", ue_px=base64.b64encode(event.encode()).decode(), eid=None)[0] for _ in range(2))
    assert first["event_name"] == "link_click"
    assert len(first["event_id"]) == 36
    assert first["event_id"] != second["event_id"]


def test_items_of_a_transaction_are_purchases_and_its_total_a_ping_and_a_robot_are_skipped() -> None:
    (item,) = snowplow(e="ti", ti_id="o1", ti_sk="L-1", ti_ca="lamps", ti_pr="20", ti_qu="2", ti_cu="EUR")
    assert (item["event_name"], item["order_id"], item["amount"]) == ("purchase", "o1", Decimal("40.00"))
    robot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
    for payload, agent in (({"e": "tr", "tr_id": "o1"}, BROWSER), ({"e": "pp"}, BROWSER), ({"e": "pv"}, robot)):
        assert isinstance(clicks({"eid": "e1", "duid": "v1", "p": "web", **payload}, Received(AT, agent)), Skip)


@pytest.mark.parametrize(
    ("payload", "field", "remedy"),
    [
        ({"e": "view"}, "e", "is not an event type"),
        ({"e": None}, "e", "is not an event type"),
        ({"cx": "eyJ!"}, "cx", "is not base64"),
        ({"cx": "eyJzY2hlbWE"}, "contexts", "is not valid JSON"),  # javascript-tracker 486: cut short
        ({"co": "[1]"}, "contexts", "is not an object"),
        ({"co": '{"data": [1]}'}, "contexts", "is not a list of objects"),
        ({"e": "ue", "ue_pr": "{"}, "unstruct_event", "is not valid JSON"),
        ({"e": "ue"}, "event_name", "is missing"),
        ({"e": "ue", "ue_pr": '{"data": {"schema": "x"}}'}, "unstruct_event", "is not a schema"),
        ({"duid": None}, "visitor_id", "send one of the two"),
    ],
)
def test_a_bad_event_of_the_tracker_protocol_is_refused_with_its_field(
    payload: dict[str, Any], field: str, remedy: str
) -> None:
    with pytest.raises((RowError, EventError)) as refused:
        snowplow(**payload)
    refusal = _refusal(0, refused.value)
    assert refusal.field == field
    assert remedy in refusal.remedy


@pytest.mark.parametrize("body", [{}, {"data": []}, {"data": None}, {"data": [1]}, {"data": {"e": "pv"}}])
def test_a_payload_without_events_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(RowError, match="data: is"):
        payloads(body)
    with pytest.raises(RowError, match="events: is"):
        measurement_protocol.event_count({"events": body.get("data")})
