"""Snowplow's tracker protocol 2 as clicks, read as rows of Snowplow's enriched events.

https://docs.snowplow.io/docs/events/going-deeper/event-parameters
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from customer360.adapters.rows import Click, RowError, Skip, mappings, query_of
from customer360.adapters.snowplow import clicks as enriched_clicks
from customer360.adapters.snowplow import with_entities
from customer360.lake.landing.contracts import MAX_AGE_DAYS

# The protocol's parameters that the enriched columns used by the adapter come from.
COLUMNS = {
    "eid": "event_id",
    "p": "platform",
    "uid": "user_id",
    "duid": "domain_userid",
    "nuid": "network_userid",
    "tnuid": "network_userid",
    "sid": "domain_sessionid",
    "url": "page_url",
    "refr": "page_referrer",
    "ua": "useragent",
    "tr_cu": "tr_currency",
    "ti_id": "ti_orderid",
    "ti_sk": "ti_sku",
    "ti_ca": "ti_category",
    "ti_pr": "ti_price",
    "ti_qu": "ti_quantity",
    "ti_cu": "ti_currency",
}
EVENTS = {
    "pv": "page_view",
    "pp": "page_ping",
    "se": "event",
    "ue": None,  # named by its schema
    "tr": "transaction",
    "ti": "transaction_item",
}
JSON_FIELDS = {"contexts": ("co", "cx"), "unstruct_event": ("ue_pr", "ue_px")}  # plain, and in base64
MARKETING = ("source", "medium", "campaign")
BROWSER = "web"
LONGEST_AGE = timedelta(days=MAX_AGE_DAYS)


@dataclass(frozen=True)
class Received:
    """When a payload arrived (UTC), and the user agent that sent it: a browser's, or a server's HTTP library."""

    at: datetime
    user_agent: str


def payloads(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The events of a POST. Raises ``RowError`` where it has none."""
    found = mappings(body.get("data"), "data")
    if not found:
        raise RowError("data: is missing, or empty; send a payload_data with one event or more")
    return found


def clicks(payload: Mapping[str, Any], received: Received) -> list[Click] | Skip:
    """The clicks of one event. Without an ``eid`` it gets a new id. Raises ``RowError``."""
    values = {name: value for name, value in payload.items() if value not in (None, "")}
    code = str(values.get("e"))
    if code not in EVENTS:
        raise RowError(f"e: is not an event type of tracker protocol 2 ({', '.join(EVENTS)})")
    event: dict[str, Any] = {column: str(values[name]) for name, column in COLUMNS.items() if name in values}
    event |= {column: _json(values, *names) for column, names in JSON_FIELDS.items()}
    event.setdefault("event_id", str(uuid.uuid4()))
    if event.get("platform", BROWSER) == BROWSER:
        event.setdefault("useragent", received.user_agent)
    event["event_name"] = EVENTS[code]
    event["derived_tstamp"] = _derived(values, received.at).isoformat()
    query = query_of(event.get("page_url"))
    event |= {f"mkt_{name}": query.get(f"utm_{name}") for name in MARKETING}
    return enriched_clicks(with_entities(event))


def _json(values: Mapping[str, Any], plain: str, encoded: str) -> Any:
    """A self-describing field. Trackers differ in base64's alphabet and padding; one that is cut short is an error."""
    if plain in values:
        return values[plain]
    if encoded not in values:
        return None
    text = str(values[encoded]).translate(str.maketrans("+/ ", "-_-")).rstrip("=")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise RowError(f"{encoded}: is not base64 of text in UTF-8") from error


def _derived(values: Mapping[str, Any], at: datetime) -> datetime:
    """The event's own time where the tracker is sure of it, else its age by the device's clock before its arrival.

    Snowplow's enrichment calls it ``derived_tstamp``. A device whose clock was set between the two gives no age.
    """
    if (own := _time(values.get("ttm"))) is not None:
        return own
    created, sent = _time(values.get("dtm")), _time(values.get("stm"))
    age = sent - created if created and sent else timedelta(0)
    return at - age if timedelta(0) < age < LONGEST_AGE else at


def _time(milliseconds: Any) -> datetime | None:
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(milliseconds))
    except (TypeError, ValueError, OverflowError):
        return None
