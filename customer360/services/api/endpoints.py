"""What all endpoints share: who asks, bodies in, answers out, and each failure as a problem document."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from customer360.services.api.collector.collecting import Collector
from customer360.services.api.identity import Caller, Identity
from customer360.services.api.metrics import REQUESTS, SECONDS
from customer360.services.api.offering import Offering
from customer360.services.api.problems import Problem
from customer360.services.api.recommending import Recommender
from customer360.services.api.scoring import Scorer
from customer360.services.api.settings import ApiSettings
from customer360.services.session_memory import SessionMemory
from customer360.services.store.layout import StoreError
from customer360.services.store.reading import StoreReader

Content = TypeVar("Content")
Endpoint = Callable[[Request], Awaitable[Response]]
_json = msgspec.json.Encoder()
PRIVATE = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}


@dataclass
class Service:
    """What the endpoints of one process share."""

    settings: ApiSettings
    reader: StoreReader
    scorer: Scorer
    identity: Identity
    collector: Collector
    sessions: SessionMemory
    recommender: Recommender
    offering: Offering
    document: bytes


def service_of(request: Request) -> Service:
    """What the endpoints of this process share."""
    return request.app.state.service  # type: ignore[no-any-return]


def identify(request: Request, scope: str, key_text: str | None = None, *, anonymous: bool = False) -> Caller:
    """Who asks for something of this scope, see ``Identity.identify``. Raises ``Problem``: 401, 403, 429 or 503."""
    return service_of(request).identity.identify(request, scope, key_text, anonymous=anonymous)


async def read_body(request: Request) -> bytes:
    """The body, within the limits of size and time. Raises ``Problem``: 400, 408 or 413."""
    settings = service_of(request).settings
    too_large = Problem(413, "too-large", "The body is too large", f"At most {settings.body_bytes} bytes are read.")
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length) > settings.body_bytes:
        raise too_large
    content = bytearray()
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for chunk in request.stream():
                content += chunk
                if len(content) > settings.body_bytes:
                    raise too_large
    except TimeoutError as error:
        raise Problem(408, "too-slow", "The body came too slowly") from error
    except ClientDisconnect as error:
        raise Problem(400, "cut-short", "The body was cut short") from error
    return bytes(content)


def decoded(content: bytes, kind: type[Content]) -> Content:
    """JSON of this type. Raises ``Problem`` that names the place of the fault, not the value."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise Problem(422, "wrong-type", "The body does not fit the schema", f"{error}.") from error
    except RecursionError as error:
        raise Problem(422, "too-deep", "The body is nested too deeply", "No schema has as many levels.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "no-json", "The body is not valid JSON", "Send one JSON document in UTF-8.") from error


def answer(content: msgspec.Struct | bytes) -> Response:
    """A struct, or JSON, that no cache keeps."""
    encoded = content if isinstance(content, bytes) else _json.encode(content)
    return Response(encoded, 200, PRIVATE, media_type="application/json")


def endpoint(name: str) -> Callable[[Endpoint], Endpoint]:
    """Count an endpoint's answers by status, time them, turn problems into documents, and add what identity tells a browser."""

    def wrap(function: Endpoint) -> Endpoint:
        seconds = SECONDS.labels(name)

        @wraps(function)
        async def measured(request: Request) -> Response:
            began = time.perf_counter()
            try:
                response = await function(request)
            except Problem as problem:
                response = problem.response()
            except StoreError as error:  # a slice makes it good
                response = Problem(503, "no-store", "The store cannot be read", f"{error}.", {"Retry-After": "60"}).response()
            response.headers.update(request.scope.get("state", {}).get("headers", {}))
            seconds.observe(time.perf_counter() - began)
            REQUESTS.labels(name, response.status_code).inc()
            return response

        return measured

    return wrap
