"""The collector's three protocols: our own contract, GA4's Measurement Protocol, Snowplow's tracker protocol 2.

Trackers take any answer of 2xx as final, and send a whole request again after others: a request with events that can be read
is answered with 200, whichever of them are refused.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from customer360.adapters.rows import Click, RowError
from customer360.services.api.collector import measurement_protocol, tracker_protocol
from customer360.services.api.collector.collecting import Collected, Reading
from customer360.services.api.collector.contract import EventError
from customer360.services.api.endpoints import answer, decoded, endpoint, identify, read_body, service_of
from customer360.services.api.problems import Problem

MOST_EVENTS = 1_000
SCOPE = "events"
KEY_PREFIX = "c360_"
SNOWPLOW_PATH = "/com.snowplowanalytics.snowplow/tp2"
Content = TypeVar("Content")
PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")  # GIF, 1 x 1, transparent


class EventBatch(msgspec.Struct, frozen=True):
    """Events of our own contract, each judged by itself."""

    events: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MOST_EVENTS)]


@endpoint("events")
async def events(request: Request) -> Response:
    """Events of the click contract."""
    caller = identify(request, SCOPE)
    batch = decoded(await read_body(request), EventBatch)
    collector = service_of(request).collector
    at = collector.clock.now()
    readings = [partial(_own_clicks, event, at) for event in batch.events]
    return answer(await collector.collect("own", readings, caller.event_ids, at))


@endpoint("measurement_protocol")
async def measurement(request: Request) -> Response:
    """Events of GA4's Measurement Protocol. As at GA4, 204 where nothing is to be said."""
    caller = identify(request, SCOPE, request.query_params.get("api_secret"))
    payload = decoded(await read_body(request), dict[str, Any])
    collector = service_of(request).collector
    at = collector.clock.now()
    count = _readable(lambda: measurement_protocol.event_count(payload))
    if _readable(lambda: measurement_protocol.objects(payload)):
        caller = caller.objecting()
    readings = [partial(measurement_protocol.clicks, payload, index, at) for index in range(count)]
    collected = await collector.collect("ga4", readings, caller.event_ids, at)
    return answer(collected) if collected.refused else Response(status_code=204)


@endpoint("tracker_protocol")
async def tracker(request: Request) -> Response:
    """Events of Snowplow's tracker protocol 2, by POST."""
    body = decoded(await read_body(request), dict[str, Any])
    return answer(await _tracked(request, _readable(lambda: tracker_protocol.payloads(body))))


@endpoint("tracker_pixel")
async def pixel(request: Request) -> Response:
    """One event of Snowplow's tracker protocol 2, by GET."""
    values = dict(reversed(request.query_params.multi_items()))
    await _tracked(request, [values])
    return Response(PIXEL, 200, {"Cache-Control": "no-store"}, media_type="image/gif")


async def _tracked(request: Request, payloads: Sequence[Mapping[str, Any]]) -> Collected:
    """The key of a tracker is its app id, unless it is sent as with any other request."""
    app_id = str(payloads[0].get("aid"))
    is_key = app_id.startswith(KEY_PREFIX) and "authorization" not in request.headers
    caller = identify(request, SCOPE, app_id if is_key else None, anonymous="sp-anonymous" in request.headers)
    collector = service_of(request).collector
    received = tracker_protocol.Received(collector.clock.now(), request.headers.get("user-agent", ""))
    readings: list[Reading] = [partial(tracker_protocol.clicks, payload, received) for payload in payloads]
    return await collector.collect("snowplow", readings, caller.event_ids, received.at)


def _own_clicks(event: msgspec.Raw, at: datetime) -> list[Click]:
    """One event of our own contract; without an id or a time it gets a new one and that of its arrival."""
    try:
        values = msgspec.json.decode(event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EventError("", "send valid JSON in UTF-8, nested less deeply") from error
    if not isinstance(values, dict):
        raise EventError("", "send an object")
    for name, assign in (("event_id", _new_id), ("event_at", lambda: at)):
        if values.get(name) in (None, ""):
            values[name] = assign()
    return [values]


def _new_id() -> str:
    return uuid.uuid4().hex


def _readable(reading: Callable[[], Content]) -> Content:
    """Raise ``Problem`` 422 for a request in which no event can be found."""
    try:
        return reading()
    except RowError as error:
        raise Problem(422, "wrong-type", "The body does not fit the protocol", f"{error}.") from error


def collector_routes(snowplow_path: str = "") -> list[Route]:
    """The routes of the collector; ``snowplow_path`` is another one for Snowplow's trackers."""
    posts = {"/v1/events": events, SNOWPLOW_PATH: tracker, "/mp/collect": measurement}
    posts |= {snowplow_path: tracker} if snowplow_path else {}
    return [*(Route(path, function, methods=["POST"]) for path, function in posts.items()), Route("/i", pixel)]
