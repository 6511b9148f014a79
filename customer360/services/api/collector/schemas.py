"""Schemas of what trackers send, for the OpenAPI document.

Each event is judged by itself, as each of ``/v1/events`` is: the schemas say what an event is, and let any object pass.
"""

from __future__ import annotations

from typing import Any

from customer360.services.api.collector.tracker_protocol import EVENTS

TEXT: dict[str, Any] = {"type": "string"}
_TRACKED: dict[str, dict[str, Any]] = {
    "e": {"enum": [*EVENTS], "description": "Type of the event: page view or ping, structured, self-describing, transaction"},
    "aid": {"description": "App id: the key, where no header has it"},
    "eid": {"description": "Id of the event; without it the collector assigns one"},
    "p": {"description": "Platform, such as `web` or `srv`"},
    "tv": {"description": "Version of the tracker"},
    "uid": {"description": "Customer"},
    "duid": {"description": "Visitor"},
    "url": {"description": "URL of the page"},
    "refr": {"description": "URL of the referrer"},
    "dtm": {"description": "When it happened by the device's clock, in milliseconds since 1970"},
    "stm": {"description": "When it was sent by the same clock"},
    "ue_px": {"description": "Self-describing event, JSON in base64; `ue_pr` is plain"},
    "cx": {"description": "Contexts, JSON in base64; `co` is plain"},
}
_VIEW = {"e": "pv", "p": "web", "tv": "js-4.0.0", "eid": "e-1", "url": "https://shop.example/lamps"}
_PURCHASE = {
    "name": "purchase",
    "params": {"transaction_id": "o-9", "currency": "EUR", "items": [{"item_id": "L-100", "price": 20}]},
}


def measurement_payload() -> dict[str, Any]:
    """A request of GA4's Measurement Protocol."""
    event = {
        "type": "object",
        "properties": {
            "name": {**TEXT, "description": "Name of the event, as GA4 recommends it for shops"},
            "params": {"type": "object", "description": "Its parameters, with `items` of products"},
            "timestamp_micros": {"type": ["integer", "string"], "description": "When it happened, in microseconds since 1970"},
        },
        "required": ["name"],
    }
    properties = {
        "client_id": {"description": "Browser: the visitor"},
        "app_instance_id": {"description": "Installed app: the visitor where there is no client_id"},
        "user_id": {"description": "Customer"},
        "timestamp_micros": {"description": "When its events happened that do not say it themselves"},
        "non_personalized_ads": {"description": "true: as with `Sec-GPC: 1`"},
        "consent": {
            "type": ["object", "null"],
            "description": "`ad_personalization` of `DENIED`: as with `Sec-GPC: 1`",
        },
        "events": _each(event),
    }
    return _payload(properties, "events", {"client_id": "7.1", "events": [_PURCHASE]})


def tracker_payload() -> dict[str, Any]:
    """A POST of Snowplow's tracker protocol 2."""
    event = {"type": "object", "properties": _TRACKED, "required": ["e"]}
    schema = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
    properties = {"schema": {"description": "Schema of the payload"}, "data": _each(event)}
    return _payload(properties, "data", {"schema": schema, "data": [_VIEW]})


def tracker_parameters() -> list[dict[str, Any]]:
    """The parameters of Snowplow's GET. An event that is refused is answered with the image too."""
    return [
        {
            "name": name,
            "in": "query",
            "schema": TEXT,
            "description": values["description"],
            **({"example": _VIEW[name]} if name in _VIEW else {}),
        }
        for name, values in _TRACKED.items()
    ]


def _each(event: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": {"anyOf": [event, {"type": "object"}]}}


def _payload(properties: dict[str, Any], required: str, example: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [required], "examples": [example]}
