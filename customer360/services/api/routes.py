"""Requests to answers: who asks, what may be asked, and each failure as a problem document."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from customer360.services.api.calls import profile_of, readiness
from customer360.services.api.endpoints import answer, decoded, endpoint, identify, read_body, service_of
from customer360.services.api.metrics import REQUESTS
from customer360.services.api.problems import Problem
from customer360.services.api.schemas import Health, ScoreRequest
from customer360.services.api.scoring import titles_of


@endpoint("healthz")
async def healthz(_request: Request) -> Response:
    """The process answers."""
    return answer(Health("well"))


@endpoint("readyz")
async def readyz(request: Request) -> Response:
    """The store can be read."""
    return answer(readiness(service_of(request).reader))


@endpoint("metrics")
async def metrics(request: Request) -> Response:
    """Counts and times of all workers, for Prometheus."""
    identify(request, "metrics")
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(service_of(request).collector.spool_sizes)
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


@endpoint("openapi")
async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    return Response(service_of(request).document, media_type="application/json")


@endpoint("profile")
async def profile(request: Request) -> Response:
    """A customer's profile."""
    customer_id = identify(request, "profile").customer(request.path_params["customer_id"])
    return answer(profile_of(service_of(request).reader, customer_id))


@endpoint("score")
async def score(request: Request) -> Response:
    """The champion's scores of these features."""
    identify(request, "score")
    service = service_of(request)
    asked = decoded(await read_body(request), ScoreRequest)
    titles = titles_of(service.reader)
    return answer(await run_in_threadpool(service.scorer.score, asked.features, titles))


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
