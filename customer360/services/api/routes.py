"""Requests to answers: who asks, what may be asked, and each failure as a problem document."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_plus

from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from customer360.services.api.calls import profile_of, readiness
from customer360.services.api.endpoints import Service, answer, decoded, endpoint, identify, read_body, service_of
from customer360.services.api.identity import Caller
from customer360.services.api.metrics import REQUESTS
from customer360.services.api.problems import Problem
from customer360.services.api.recommending import recommendations, related
from customer360.services.api.schemas import DEFAULT_COUNT, LONGEST_TEXT, MOST_COUNT, Health, ScoreRequest
from customer360.services.api.scoring import titles_of
from customer360.services.api.visits import Visit, customer_visit, visitor_visit
from customer360.services.store.reading import StoreView


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
async def customer_profile(request: Request) -> Response:
    """A customer's profile."""
    customer_id = identify(request, "profile").customer(request.path_params["customer_id"])
    with service_of(request).reader.view() as view:
        return answer(profile_of(view, customer_id))


@endpoint("visitor_profile")
async def visitor_profile(request: Request) -> Response:
    """The profile of a visitor's customer."""
    service, caller = service_of(request), identify(request, "profile")
    with service.reader.view() as view:
        visit = _visit(request, service, view, caller)
        if visit.customer_id is None:
            raise Problem(404, "unknown-visitor", "No customer is known of this visitor", "Or none who consents to that.")
        return answer(profile_of(view, visit.customer_id))


@endpoint("recommendations")
async def recommended(request: Request) -> Response:
    """Products for a customer or a visitor."""
    service, caller = service_of(request), identify(request, "offers")
    with service.reader.view() as view:
        visit = _visit(request, service, view, caller)
        found = service.recommender.recommend(view, visit, _count(request), _text(request, "viewing"))
        return answer(recommendations(view, found))


@endpoint("offer")
async def offer(request: Request) -> Response:
    """An offer for a customer or a visitor."""
    service, caller = service_of(request), identify(request, "offers")
    with service.reader.view() as view:
        visit = _visit(request, service, view, caller)
        return answer(service.offering.offer(view, visit, _text(request, "page")))


@endpoint("related")
async def related_products(request: Request) -> Response:
    """What goes with a product."""
    identify(request, "offers")
    with service_of(request).reader.view() as view:
        return answer(related(view, request.path_params["product_id"]))


def _visit(request: Request, service: Service, view: StoreView, caller: Caller) -> Visit:
    """The visit of the customer or visitor whom the path names."""
    asked = request.scope["path_params"]
    if "customer_id" in asked:
        return customer_visit(view, service.sessions, caller, asked["customer_id"])
    return visitor_visit(view, service.sessions, caller, asked["visitor_id"])


def _count(request: Request) -> int:
    """How many products are asked for. Raises ``Problem`` 422."""
    text = _parameter(request, "n")
    if text is None:
        return DEFAULT_COUNT
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= MOST_COUNT):
        raise Problem(422, "wrong-parameter", "n is out of range", f"Ask for 1 to {MOST_COUNT} products.")
    return int(text)


def _text(request: Request, name: str) -> str | None:
    """A parameter of the query. Raises ``Problem`` 422 where it is too long."""
    text = _parameter(request, name)
    if text is not None and len(text) > LONGEST_TEXT:
        raise Problem(422, "wrong-parameter", f"{name} is too long", f"At most {LONGEST_TEXT} characters are read.")
    return text


def _parameter(request: Request, name: str) -> str | None:
    """A parameter of the query, as forms encode it: in two microseconds, where Starlette's mapping of all takes eight."""
    for part in request.scope["query_string"].decode("latin-1").split("&"):
        key, _, value = part.partition("=")
        if key == name:
            return unquote_plus(value)
    return None


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
    Route("/v1/visitors/{visitor_id:path}/offer", offer),
    Route("/v1/customers/{customer_id:path}/offer", offer),
    Route("/v1/customers/{customer_id:path}/profile", customer_profile),
    Route("/v1/visitors/{visitor_id:path}/recommendations", recommended),
    Route("/v1/customers/{customer_id:path}/recommendations", recommended),
    Route("/v1/visitors/{visitor_id:path}/profile", visitor_profile),
    Route("/v1/products/{product_id:path}/related", related_products),
    Route("/healthz", healthz),
    Route("/readyz", readyz),
    Route("/metrics", metrics),
    Route("/openapi.json", openapi),
    Route("/v1/score", score, methods=["POST"]),
]
