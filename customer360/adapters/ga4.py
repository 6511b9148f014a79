"""GA4's BigQuery export (``bq extract --destination_format NEWLINE_DELIMITED_JSON``) as clicks. One JSON object a line.

The click contract has GA4's event names, so they stay. ``view_item``, ``add_to_cart``, ``remove_from_cart``, ``purchase`` and
the promotion events give one click per item, all others one click. A ``refund`` becomes lines of its order with negative
amounts and line numbers; without items, one line with the refunded value.
Columns: https://support.google.com/analytics/answer/7029846

The export has no event id. User, time, name and place in its batch identify an event; they are the same in the intraday and the
daily table. ``engagement_time_msec`` is the time before an event, not on its page, so ``dwell_seconds`` stays empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from customer360.adapters.rows import (
    Click,
    EventIds,
    RowError,
    decimal_of,
    first,
    json_object,
    line_total,
    mappings,
    order_lines,
    query_of,
    record,
    text_of,
    without_query,
)

PER_ITEM = {"view_item", "add_to_cart", "remove_from_cart", "view_promotion", "select_promotion"}
IDENTITY = (
    "stream_id",
    "user_pseudo_id",
    "user_id",
    "event_timestamp",
    "event_name",
    "event_bundle_sequence_id",
    "batch_page_id",
    "batch_ordering_id",
    "batch_event_index",
)
MISSING = ("(not set)", "undefined")  # GA4's, and that of scripts that name no currency
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def clicks(line: str, ids: EventIds) -> list[Click]:
    """The clicks of one exported event. Raises ``RowError`` on a line that is no such event."""
    event = json_object(line)
    parameters = {str(entry.get("key")): _value(entry) for entry in mappings(event.get("event_params"), "event_params")}
    return event_clicks(event, parameters, ids.of("\0".join(str(event.get(column)) for column in IDENTITY)))


def event_clicks(event: Mapping[str, Any], parameters: Mapping[str, Any], event_id: str) -> list[Click]:
    """The clicks of an event by the export's columns, with its parameters by name. Raises ``RowError``."""
    items = mappings(event.get("items"), "items")
    name = event.get("event_name")
    if not isinstance(name, str):
        raise RowError("event_name: is missing")
    common = {**_common(event, parameters), "event_name": "purchase" if name == "refund" else name}
    if name == "purchase":
        found = _order_lines(event, parameters, items, ("item_revenue", "purchase_revenue"), 1)
    elif name == "refund":
        found = _order_lines(event, parameters, items, ("item_refund", "refund_value"), -1)
    elif name in PER_ITEM:
        found = [_item(item, parameters) for item in items or [{}]]
    else:
        return [{**common, "event_id": event_id}]
    return [{**common, **line, "event_id": f"{event_id}-{number}"} for number, line in enumerate(found, 1)]


def _common(event: Mapping[str, Any], parameters: Mapping[str, Any]) -> Click:
    source = record(event.get("collected_traffic_source"), "collected_traffic_source")
    page = _text(parameters, "page_location")
    query = query_of(page)
    visitor, session = _text(event, "user_pseudo_id"), _text(parameters, "ga_session_id")
    return {
        "event_at": _time(event.get("event_timestamp")),
        "customer_id": _text(event, "user_id"),
        "visitor_id": visitor,
        "session_id": f"{visitor}-{session}" if visitor and session else None,  # GA4's number is unique for a visitor only
        "page_url": without_query(page),
        "referrer": without_query(_text(parameters, "page_referrer")),
        "utm_source": first(_text(source, "manual_source"), query.get("utm_source")),
        "utm_medium": first(_text(source, "manual_medium"), query.get("utm_medium")),
        "utm_campaign": first(_text(source, "manual_campaign_name"), query.get("utm_campaign")),
        "device": _text(record(event.get("device"), "device"), "category"),
    }


def _value(entry: Mapping[str, Any]) -> Any:
    """The one value of a parameter. BigQuery writes 64-bit numbers as text."""
    value = record(entry.get("value"), "event_params")
    return first(*(value.get(f"{kind}_value") for kind in ("string", "int", "double", "float")))


def _text(values: Mapping[str, Any], name: str) -> str | None:
    """A value as text, None for what stands for a missing one. Numbers of whole value are written without a fraction."""
    value = first(values.get(name))
    return None if value is None or value in MISSING else text_of(value)


def _time(microseconds: Any) -> datetime:
    try:
        return EPOCH + timedelta(microseconds=int(microseconds))
    except (TypeError, ValueError, OverflowError) as error:
        raise RowError(f"event_timestamp: {microseconds!r} is not a time in microseconds") from error


def _item(item: Mapping[str, Any], parameters: Mapping[str, Any]) -> Click:
    return {
        "product_id": _text(item, "item_id"),
        "category_id": _text(item, "item_category"),
        "offer_id": first(_text(item, "promotion_id"), _text(parameters, "promotion_id")),
        "decision_id": first(_text(item, "decision_id"), _text(parameters, "decision_id")),
    }


def _order_lines(
    event: Mapping[str, Any],
    parameters: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    totals: tuple[str, str],
    sign: int,
) -> list[Click]:
    """One line per item, or one for an order without items. ``totals``: the event's columns for an item's and the order's."""
    item_total, order_total = totals
    ecommerce = record(event.get("ecommerce"), "ecommerce")
    order = {
        "order_id": first(_text(ecommerce, "transaction_id"), _text(parameters, "transaction_id")),
        "currency": _text(parameters, "currency"),
    }
    if items:
        lines = [
            {
                **order,
                **_item(item, parameters),
                "quantity": first(item.get("quantity"), 1),
                "amount": _amount(item, item_total),
                "currency": first(order["currency"], _text(item, "currency")),
            }
            for item in items
        ]
    else:
        total = decimal_of(ecommerce, order_total)
        lines = [{**order, "amount": decimal_of(parameters, "value") if total is None else total}]
    return order_lines(lines, sign)


def _amount(item: Mapping[str, Any], total: str) -> Decimal | None:
    """An item's total: its own column, else price times quantity. Both are in the event's currency, else the item's."""
    amount = decimal_of(item, total)
    return line_total(item) if amount is None else amount
