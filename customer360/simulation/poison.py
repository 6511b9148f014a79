"""Lines that break the click contract, each in one way that has a name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from customer360.settings import Shop

Event = dict[str, Any]


def _purchase(event: Event, shop: Shop) -> Event:
    order = {"order_id": "o" + event["event_id"].replace("-", "")[:16], "line_no": 1, "quantity": 1, "amount": 40.0}
    return {
        **event,
        "event_name": "purchase",
        "customer_id": "c000001",
        "product_id": "p04",
        **order,
        "currency": shop.currency,
    }


def _without(*names: str) -> Callable[[Event, Shop], bytes]:
    return lambda event, shop: _line({name: value for name, value in event.items() if name not in names})


def _with(**values: Any) -> Callable[[Event, Shop], bytes]:
    return lambda event, shop: _line({**event, **values})


def _in_purchase(**values: Any) -> Callable[[Event, Shop], bytes]:
    return lambda event, shop: _line({**_purchase(event, shop), **values})


def _line(event: Event) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def _foreign(event: Event, shop: Shop) -> bytes:
    return _line({**_purchase(event, shop), "currency": "GBP" if shop.currency != "GBP" else "USD"})


KINDS: dict[str, Callable[[Event, Shop], bytes]] = {
    "not_json": lambda event, shop: _line(event)[:-9],
    "no_event_id": _without("event_id"),
    "no_event_name": _without("event_name"),
    "no_event_at": _without("event_at"),
    "nobody": _without("customer_id", "visitor_id"),
    "time_not_a_time": _with(event_at="yesterday at noon"),
    "far_future": _with(event_at="2099-12-31T23:59:59.000Z"),
    "dwell_not_a_number": _with(event_name="view_item", dwell_seconds="a while"),
    "dwell_below_zero": _with(event_name="view_item", dwell_seconds=-12.5),
    "amount_not_a_number": _in_purchase(amount="forty"),
    "wrong_currency": _foreign,
    "bad_encoding": lambda event, shop: _line({**event, "page_url": "?"}).replace(
        b'"?"', b'"https://shop.example/caf\xe9\xff"'
    ),
    "not_an_object": lambda event, shop: json.dumps([event["event_id"]]).encode(),
}


def poison_line(kind: str, line: bytes, number: int, shop: Shop, rng: np.random.Generator) -> bytes:
    """A copy of a good line with an id of its own, broken in this way."""
    event = json.loads(line)
    event["event_id"] = f"{int(rng.integers(0, 2**32)):08x}-bad0-4bad-8bad-{number:012x}"
    return KINDS[kind](event, shop)
