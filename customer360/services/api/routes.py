"""Requests to answers: who asks, what may be asked, and each failure as a problem document."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

import msgspec
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from customer360.services.api.calls import profile_of, readiness
from customer360.services.api.keys import Key, KeyRing, KeysError
from customer360.services.api.metrics import REQUESTS, SECONDS
from customer360.services.api.problems import Problem
from customer360.services.api.schemas import Health, ScoreRequest
from customer360.services.api.scoring import Scorer, titles_of
from customer360.services.api.settings import ApiSettings
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
    keys: KeyRing
    document: bytes
    allowances: dict[str, tuple[float, float]] = field(default_factory=dict)

    def admit(self, request: Request, scope: str) -> None:
        """Raise ``Problem`` unless the request has a key with this scope that has not asked too often."""
        now = time.monotonic()
        try:
            key = self.keys.find(request.headers.get("authorization", "").removeprefix("Bearer "), now)
        except KeysError as error:
            raise Problem(503, "no-keys", "Keys cannot be read", "The operator finds the reason in the log.") from error
        if key is None:
            headers = {"WWW-Authenticate": "Bearer"}
            raise Problem(401, "no-key", "A key is needed", "Send Authorization: Bearer <key> with a key in force.", headers)
        if scope not in key.scopes:
            raise Problem(403, "no-scope", "The key lacks a scope", f"This needs a key with the scope {scope}.")
        self._take(key, now)

    def _take(self, key: Key, now: float) -> None:
        """A token bucket for each key; each worker gives its share of the rate."""
        rate, burst = (value / self.settings.workers for value in (self.settings.requests_per_second, self.settings.burst))
        left, at = self.allowances.get(key.id, (max(burst, 1.0), now))
        left = min(max(burst, 1.0), left + (now - at) * rate)
        if left < 1:
            wait = f"{max(1, round((1 - left) / rate))}"
            raise Problem(429, "too-many-requests", "Too many requests with this key", "", {"Retry-After": wait})
        self.allowances[key.id] = (left - 1, now)

    async def body(self, request: Request, kind: type[Content]) -> Content:
        """The body as JSON of this type, within the limits of size and time. Raises ``Problem``."""
        limit = self.settings.body_bytes
        too_large = Problem(413, "too-large", "The body is too large", f"At most {limit} bytes are read.")
        length = request.headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length) > limit:
            raise too_large
        content = bytearray()
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                async for chunk in request.stream():
                    content += chunk
                    if len(content) > limit:
                        raise too_large
        except TimeoutError as error:
            raise Problem(408, "too-slow", "The body came too slowly") from error
        except ClientDisconnect as error:
            raise Problem(400, "cut-short", "The body was cut short") from error
        return decoded(bytes(content), kind)


def decoded(content: bytes, kind: type[Content]) -> Content:
    """JSON of this type. Raises ``Problem`` that names the place of the fault, not the value."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise Problem(422, "wrong-type", "The body does not fit the schema", f"{error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "no-json", "The body is not valid JSON", "Send one JSON document in UTF-8.") from error


def _measured(name: str) -> Callable[[Endpoint], Endpoint]:
    """Count an endpoint's answers by status, time them, and turn problems into documents."""

    def wrap(endpoint: Endpoint) -> Endpoint:
        seconds = SECONDS.labels(name)

        @wraps(endpoint)
        async def measured(request: Request) -> Response:
            began = time.perf_counter()
            try:
                response = await endpoint(request)
            except Problem as problem:
                response = problem.response()
            seconds.observe(time.perf_counter() - began)
            REQUESTS.labels(name, response.status_code).inc()
            return response

        return measured

    return wrap


def _service(request: Request) -> Service:
    return request.app.state.service  # type: ignore[no-any-return]


def _answer(content: msgspec.Struct) -> Response:
    return Response(_json.encode(content), 200, PRIVATE, media_type="application/json")


@_measured("healthz")
async def healthz(_request: Request) -> Response:
    """The process answers."""
    return _answer(Health("well"))


@_measured("readyz")
async def readyz(request: Request) -> Response:
    """The store can be read."""
    return _answer(readiness(_service(request).reader))


@_measured("metrics")
async def metrics(request: Request) -> Response:
    """Counts and times of all workers, for Prometheus."""
    _service(request).admit(request, "metrics")
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


@_measured("openapi")
async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    return Response(_service(request).document, media_type="application/json")


@_measured("profile")
async def profile(request: Request) -> Response:
    """A customer's profile."""
    service = _service(request)
    service.admit(request, "profile")
    return _answer(profile_of(service.reader, request.path_params["customer_id"]))


@_measured("score")
async def score(request: Request) -> Response:
    """The champion's scores of these features."""
    service = _service(request)
    service.admit(request, "score")
    asked = await service.body(request, ScoreRequest)
    titles = titles_of(service.reader)
    return _answer(await run_in_threadpool(service.scorer.score, asked.features, titles))


async def refused(_request: Request, error: Exception) -> Response:
    """A path or method that is not there, as a problem document."""
    status = error.status_code if isinstance(error, HTTPException) else 400
    headers: Any = getattr(error, "headers", None)
    kinds = {404: ("no-path", "There is no such path"), 405: ("no-method", "The path does not take this method")}
    problem = Problem(status, *kinds.get(status, ("refused", "The request is refused")), headers=headers)
    REQUESTS.labels("refused", status).inc()
    return problem.response()


async def failed(_request: Request, _error: Exception) -> Response:
    """An error of this program: the log has it, the client a document without its text."""
    REQUESTS.labels("failed", 500).inc()
    return Problem(500, "failed", "The request failed", "The operator finds the reason in the log.").response()


# Matched in this order: what is asked most comes first.
ROUTES = [
    Route("/v1/customers/{customer_id:path}/profile", profile),
    Route("/healthz", healthz),
    Route("/readyz", readyz),
    Route("/metrics", metrics),
    Route("/openapi.json", openapi),
    Route("/v1/score", score, methods=["POST"]),
]
