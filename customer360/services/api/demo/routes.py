"""The page with its files, the shop that it shows, and who visits it."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
from msgspec import json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from customer360.recommendations.recommend import Product
from customer360.services.api.endpoints import Endpoint, answer, decoded, endpoint, read_body, service_of
from customer360.services.api.identity import COOKIE
from customer360.services.api.tokens import sign_customer
from customer360.services.store.reading import StoreView
from customer360.services.store.tables import PRODUCTS, PROFILES
from customer360.settings import Shop

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".png": "image/png"}
PICTURES = [path.name for path in sorted(Path(__file__).parent.glob("*.png"))]  # of categories, for messages
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
TOKEN_SECONDS = 900
LOOKED_AT = 1000  # profiles among which the customers of the page are chosen
MOST_PRODUCTS = 200


class ShownProduct(msgspec.Struct, frozen=True):
    """A product of the catalogue; the price is in the shop's currency."""

    product_id: str
    name: str | None
    category_id: str | None
    price: float | None


class ShownCategory(msgspec.Struct, frozen=True):
    """A category with a name for people."""

    category_id: str | None
    title: str


class ShownCustomer(msgspec.Struct, frozen=True):
    """A customer that may be chosen, and in words what is known."""

    customer_id: str
    words: str


class ShownShop(msgspec.Struct, frozen=True):
    """What the page is made from; ``key`` is its browser key."""

    title: str
    currency: str
    key: str
    categories: list[ShownCategory]
    products: list[ShownProduct]
    customers: list[ShownCustomer]


class Visit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who visits from now on: a customer or nobody known; ``is_another``: in place of the visitor before."""

    customer_id: str | None = None
    is_another: bool = True


class SignedIn(msgspec.Struct, frozen=True):
    """The token of the customer, as a shop's server makes it; None for a visitor who has not signed in."""

    customer_token: str | None


def demo_routes(shop: Shop) -> list[Route]:
    """The routes of the page of this shop."""

    @endpoint("demo_shop")
    async def shown_shop(request: Request) -> Response:
        service = service_of(request)
        with service.reader.view() as view:
            return answer(_shown(view, shop, service.settings.demo_key))

    @endpoint("demo_visit")
    async def visit(request: Request) -> Response:
        asked = decoded(await read_body(request), Visit)
        secret = service_of(request).settings.customer_secrets()(time.monotonic())[0]
        ends_at = int(time.time()) + TOKEN_SECONDS
        response = answer(SignedIn(sign_customer(secret, asked.customer_id, ends_at) if asked.customer_id else None))
        if asked.is_another:
            response.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return response

    files = [Route(f"/demo/{name}", _file(name)) for name in ("shop.css", "shop.js", *PICTURES)]
    page = Route("/demo", _file("shop.html"))
    return [page, *files, Route("/demo/shop", shown_shop), Route("/demo/visit", visit, methods=["POST"])]


def _file(name: str) -> Endpoint:
    path = Path(__file__).with_name(name)
    content = path.read_bytes()

    @endpoint("demo_file")
    async def file(_request: Request) -> Response:
        return Response(content, 200, SECURITY, media_type=TYPES[path.suffix])

    return file


class _Known(msgspec.Struct):
    """What of a profile the page shows."""

    customer_id: str
    may_personalise: bool
    segment: str | None
    frequency: int | None
    label: str | None


def _shown(view: StoreView, shop: Shop, key: str) -> ShownShop:
    titles = view.meta.titles
    rows = ((product_id, json.decode(value, type=Product)) for product_id, value in view.first_rows(PRODUCTS, MOST_PRODUCTS))
    products = [ShownProduct(product_id, row.name, row.category_id, row.price) for product_id, row in rows]
    categories = dict.fromkeys(product.category_id for product in products)
    customers: dict[tuple[str | None, bool], ShownCustomer] = {}  # one for each segment and consent
    for _, value in view.first_rows(PROFILES, LOOKED_AT):
        profile = json.decode(value, type=_Known)
        consent = "" if profile.may_personalise else ", does not consent to personalisation"
        label = titles.get(profile.label or "", profile.label)
        words = f"{profile.segment or 'no segment'}, {profile.frequency or 0} orders, next most likely: {label}{consent}"
        customers.setdefault((profile.segment, profile.may_personalise), ShownCustomer(profile.customer_id, words))
    return ShownShop(
        title=shop.title,
        currency=shop.currency,
        key=key,
        categories=[ShownCategory(name, titles.get(name or "", name or "other")) for name in categories],
        products=products,
        customers=list(customers.values()),
    )
