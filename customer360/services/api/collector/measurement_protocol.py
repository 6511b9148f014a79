"""GA4's Measurement Protocol as clicks, read as rows of GA4's export.

https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from customer360.adapters.ga4 import EPOCH, event_clicks
from customer360.adapters.rows import Click, RowError, first, mappings, record

# The protocol's parameters, by the export's columns.
TRAFFIC = {"source": "manual_source", "medium": "manual_medium", "campaign": "manual_campaign_name"}
LEAST_MICROSECONDS = 10**14  # 1973; a smaller number counts seconds or milliseconds


def event_count(payload: Mapping[str, Any]) -> int:
    """How many events a payload has. Raises ``RowError`` where it has none."""
    count = len(mappings(payload.get("events"), "events"))
    if not count:
        raise RowError("events: is missing, or empty")
    return count


def objects(payload: Mapping[str, Any]) -> bool:
    """Whether the sender says that its user consents to no personalisation. Raises ``RowError`` where consent is no object.

    The protocol's two fields are about advertising; what is personalised for a user who refuses it there needs another yes.
    """
    denied = record(payload.get("consent"), "consent").get("ad_personalization") == "DENIED"
    return denied or payload.get("non_personalized_ads") is True


def clicks(payload: Mapping[str, Any], index: int, arrived_at: datetime) -> list[Click]:
    """The clicks of an event of a payload. The protocol has no event id, so each event gets a new one. Raises ``RowError``."""
    event = mappings(payload.get("events"), "events")[index]
    parameters = dict(record(event.get("params"), "params"))
    parameters.setdefault("ga_session_id", parameters.get("session_id"))
    row = {
        **{name: payload.get(name) for name in ("user_id", "device")},
        "event_name": event.get("name"),
        "event_timestamp": _microseconds(first(event.get("timestamp_micros"), payload.get("timestamp_micros")), arrived_at),
        "user_pseudo_id": first(payload.get("client_id"), payload.get("app_instance_id")),
        "items": parameters.pop("items", None),
        "collected_traffic_source": {column: parameters.get(name) for name, column in TRAFFIC.items()},
    }
    return event_clicks(row, parameters, uuid.uuid4().hex)


def _microseconds(value: Any, arrived_at: datetime) -> int:
    """Of an event, or of the whole payload; senders also quote the number. Without one it is the time of arrival."""
    if value is None:
        return (arrived_at - EPOCH) // timedelta(microseconds=1)
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise RowError("timestamp_micros: is not a whole number of microseconds since 1970") from error
    if number < LEAST_MICROSECONDS:
        raise RowError("timestamp_micros: is not in microseconds since 1970, but in seconds or milliseconds")
    return number
