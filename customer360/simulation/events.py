"""Events as arrays of codes, and as tables of the click contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from customer360.lake.landing.contracts import CLICK_COLUMNS, EVENT_NAMES
from customer360.settings import Shop
from customer360.simulation.arrays import Bools, Bytes, Floats, Ints, Keys, Parallel
from customer360.simulation.campaigns import CAMPAIGN_IDS
from customer360.simulation.catalogue import CATEGORIES, OFFER_IDS, PRODUCT_IDS
from customer360.simulation.population import PLATFORMS, Population

# source, medium, referrer, share of visits
SOURCES = (
    (None, None, None, 0.42),
    ("google", "organic", "https://www.google.com/", 0.24),
    ("google", "cpc", "https://www.google.com/", 0.14),
    ("newsletter", "email", None, 0.12),
    ("instagram", "social", "https://www.instagram.com/", 0.08),
)
NEWSLETTER = 3
# Brought by a contact of a campaign: what an e-mail brings looks like the newsletter.
CONTACT_SOURCES = {"sms": ("sms", "sms", None), "call": ("call", "phone", None)}
CONTACT_SOURCE_CODES = {"email": NEWSLETTER, **{name: len(SOURCES) + number for number, name in enumerate(CONTACT_SOURCES)}}
DRIFTING_SOURCES = (2, 4)  # paid and social

SITE = "https://shop.example"
PAGES = [
    *(f"{SITE}{path}" for path in ("/", "/cart", "/checkout", "/thank-you")),
    *(f"{SITE}/c/{category}" for category in CATEGORIES),
    *(f"{SITE}/p/{product}" for product in PRODUCT_IDS),
]
HOME, CART, CHECKOUT, THANKS, FIRST_LISTING = 0, 1, 2, 3, 4
FIRST_PRODUCT_PAGE = FIRST_LISTING + len(CATEGORIES)
NAME_CODES = {name: code for code, name in enumerate(EVENT_NAMES)}
ARROW_TYPES = {
    "VARCHAR": pa.string(),
    "TIMESTAMP": pa.timestamp("us"),
    "DOUBLE": pa.float64(),
    "BIGINT": pa.int64(),
    "DECIMAL(18,2)": pa.decimal128(18, 2),
}
SCHEMA = pa.schema([pa.field(column.name, ARROW_TYPES[column.type]) for column in CLICK_COLUMNS])
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


@dataclass(frozen=True)
class Events(Parallel):
    """Events as parallel arrays. A code of -1, a key of 0 and NaN mean empty. Times are microseconds since 1970, UTC."""

    at: Ints
    arrives_at: Ints
    id_high: Keys
    id_low: Keys
    name: Ints
    customer: Ints
    visitor: Keys
    session: Keys
    product: Ints
    category: Ints
    offer: Ints
    campaign: Ints
    dwell: Floats
    order: Keys
    line_no: Ints
    quantity: Ints
    cents: Ints
    page: Ints
    source: Ints
    platform: Ints
    shard: Ints

    def between(self, start: int, end: int) -> Events:
        """Events that happen in [start, end)."""
        return self.take((self.at >= start) & (self.at < end))


_KEY_FIELDS = {"id_high", "id_low", "visitor", "session", "order"}
_EMPTY = {field.name: -1 for field in fields(Events)} | {"dwell": np.nan} | dict.fromkeys(_KEY_FIELDS, 0)


def make_events(count: int, **columns: Any) -> Events:
    """So many events with these columns, each a value or an array; the rest is empty."""
    arrays: dict[str, Any] = {}
    for field, empty in _EMPTY.items():
        value = np.asarray(columns.get(field, empty))
        kind = np.float64 if field == "dwell" else np.uint64 if field in _KEY_FIELDS else np.int64
        arrays[field] = np.broadcast_to(value.astype(kind), count)
    return Events(**arrays)


def concatenate(parts: Sequence[Events]) -> Events:
    """All events of the parts, one after the other."""
    return Events(**{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Events)})


def in_order(events: Events) -> Events:
    """Events by time; ties keep their order."""
    return events.take(np.argsort(events.at, kind="stable"))


def click_table(
    events: Events, population: Population, shop: Shop, campaign_ids: Sequence[str] = tuple(CAMPAIGN_IDS)
) -> pa.Table:
    """The events with exactly the columns and types of the click contract; ``campaign_ids`` are what their codes stand for."""
    is_purchase = events.order != 0
    sources: list[tuple[str | None, ...]] = [*(source[:3] for source in SOURCES), *CONTACT_SOURCES.values()]
    columns: dict[str, pa.Array[Any]] = {
        "event_id": uuids(events.id_high, events.id_low),
        "event_name": _coded(EVENT_NAMES, events.name),
        "event_at": pa.array(events.at, pa.timestamp("us")),
        "customer_id": _coded(population.customer_ids, events.customer),
        "visitor_id": hexadecimal(b"v", events.visitor),
        "session_id": hexadecimal(b"s", events.session),
        "product_id": _coded(PRODUCT_IDS, events.product),
        "category_id": _coded(CATEGORIES, events.category),
        "offer_id": _coded(OFFER_IDS, events.offer),
        "decision_id": pa.nulls(len(events.offer), pa.string()),
        "campaign_id": _coded(campaign_ids, events.campaign),
        "dwell_seconds": pa.array(events.dwell, mask=np.isnan(events.dwell)),
        "order_id": hexadecimal(b"o", events.order),
        "line_no": pa.array(events.line_no, mask=~is_purchase),
        "quantity": pa.array(events.quantity.astype(np.float64), mask=~is_purchase),
        "amount": _money(events.cents, ~is_purchase),
        "currency": _coded([shop.currency], np.where(is_purchase, 0, -1)),
        "page_url": _coded(PAGES, events.page),
        "referrer": _coded([source[2] for source in sources], events.source),
        "utm_source": _coded([source[0] for source in sources], events.source),
        "utm_medium": _coded([source[1] for source in sources], events.source),
        "utm_campaign": _coded(campaign_ids, np.where(events.source < 0, -1, events.campaign)),
        "device": _coded(PLATFORMS, events.platform),
    }
    return pa.Table.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def hexadecimal(prefix: bytes, keys: Keys) -> pa.Array[Any]:
    """Keys as a prefix and 16 hexadecimal digits; 0 becomes empty."""
    digits = _digits(keys)
    text = np.concatenate([np.broadcast_to(np.frombuffer(prefix, dtype=np.uint8), (len(keys), len(prefix))), digits], axis=1)
    return _emptied(_strings(text), keys == 0)


def uuids(high: Keys, low: Keys) -> pa.Array[Any]:
    """Ids in the form of a UUID, 8-4-4-4-12 hexadecimal digits."""
    digits = np.concatenate([_digits(high), _digits(low)], axis=1)
    text = np.full((len(high), 36), ord("-"), dtype=np.uint8)
    for source, target, width in ((0, 0, 8), (8, 9, 4), (12, 14, 4), (16, 19, 4), (20, 24, 12)):
        text[:, target : target + width] = digits[:, source : source + width]
    return _strings(text)


def _digits(keys: Keys) -> Bytes:
    octets = keys.astype(">u8").view(np.uint8).reshape(len(keys), 8)
    return np.stack([_HEX[octets >> 4], _HEX[octets & 15]], axis=2).reshape(len(keys), 16)


def _strings(text: Bytes) -> pa.Array[Any]:
    offsets = (np.arange(len(text) + 1) * text.shape[1]).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), len(text), [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(text.tobytes())])


def _coded(values: Sequence[str | None], codes: Ints) -> pa.Array[Any]:
    return _emptied(pa.array(list(values), pa.string()).take(np.maximum(codes, 0)), codes < 0)


def _money(cents: Ints, empty: Bools) -> pa.Array[Any]:
    """Cents as decimal(18,2): the 128-bit integers behind a decimal are its units of the last digit."""
    words = np.stack([cents, cents >> 63], axis=1).astype("<i8")
    exact = pa.Array.from_buffers(pa.decimal128(18, 2), len(cents), [None, pa.py_buffer(words.tobytes())])
    return _emptied(exact, empty)


def _emptied(array: pa.Array[Any], empty: Bools) -> pa.Array[Any]:
    result: pa.Array[Any] = pc.if_else(pa.array(empty), pa.scalar(None, array.type), array)
    return result
