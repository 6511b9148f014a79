"""Every route with every kind of key: who is answered, and that no answer, log line or metric holds what is personal."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client import generate_latest

from customer360.services.api.app import create
from customer360.services.api.keys import SCOPES, add_key, keys_file, read_keys, revoke_key
from customer360.services.api.settings import ApiSettings
from tests.services.api_server import write_shop
from tests.services.in_process import ORIGIN, Client
from tests.services.served_shop import SHELVES, ServedShop


class Route(NamedTuple):
    """A request to a route: the scope that it needs, whether browsers may have it, and the status of those who may."""

    method: str
    path: str
    scope: str | None
    is_for_browsers: bool
    status: int


ROUTES = {
    "/healthz": Route("GET", "/healthz", None, is_for_browsers=True, status=200),
    "/readyz": Route("GET", "/readyz", None, is_for_browsers=True, status=200),
    "/openapi.json": Route("GET", "/openapi.json", None, is_for_browsers=True, status=200),
    "/metrics": Route("GET", "/metrics", "metrics", is_for_browsers=False, status=200),
    "/v1/score": Route("POST", "/v1/score", "score", is_for_browsers=False, status=503),  # no champion
    "/v1/customers/{customer_id:path}/profile": Route(
        "GET", "/v1/customers/C1/profile", "profile", is_for_browsers=False, status=200
    ),
}
ROUTES |= {
    path: Route(method, query, "events", is_for_browsers=True, status=status)
    for path, method, query, status in (
        ("/v1/events", "POST", "/v1/events", 200),
        ("/mp/collect", "POST", "/mp/collect", 204),
        ("/com.snowplowanalytics.snowplow/tp2", "POST", "/com.snowplowanalytics.snowplow/tp2", 200),
        ("/i", "GET", "/i?e=pv&p=srv&uid=C1", 200),
    )
}
ROUTES |= {
    f"/v1/{path}": Route("GET", f"/v1/{query}", scope, is_for_browsers=is_for_browsers, status=200)
    for path, query, scope, is_for_browsers in (
        ("customers/{customer_id:path}/recommendations", "customers/C1/recommendations?n=3", "offers", False),
        ("customers/{customer_id:path}/offer", "customers/C1/offer", "offers", False),
        ("visitors/{visitor_id:path}/recommendations", "visitors/me/recommendations", "offers", True),
        ("visitors/{visitor_id:path}/offer", "visitors/me/offer?page=home", "offers", True),
        ("visitors/{visitor_id:path}/profile", "visitors/V1/profile", "profile", False),
        ("products/{product_id:path}/related", "products/p2/related", "offers", True),
    )
}
BODIES = {
    "/v1/score": {"features": {}},
    "/v1/events": {"events": [{"event_name": "view_item", "customer_id": "C1"}]},
    "/mp/collect": {"client_id": "V1", "events": [{"name": "view_item"}]},
    "/com.snowplowanalytics.snowplow/tp2": {"data": [{"e": "pv", "p": "srv", "uid": "C1"}]},
}
REFUSED = {
    "no key": (401, "no-key"),
    "a forged key": (401, "no-key"),
    "a revoked key": (401, "no-key"),
    "a server key without the scope": (403, "no-scope"),
    "a server key in the URL": (403, "key-in-url"),
    "a server key in a page": (403, "wrong-origin"),
    "a browser key in another page": (403, "wrong-origin"),
}
ALLOWED = ("a server key", "a browser key")
CANARIES = ("canary-4711", "471147")


class Keyed:
    """The application of a shop whose personal values are canaries, and a client of each kind."""

    def __init__(self, shop: ServedShop) -> None:
        secret = {"age": 471147, "email": "canary-4711@example.org", "next_contact_campaign_id": "canary-4711"}
        shop.customers = {name: {**own, **secret} for name, own in shop.customers.items()}
        shop.publish_and_refresh()
        write_shop(shop.settings)
        self.app = create(shop.settings, ApiSettings(customer_secret="x" * 32))
        self._file = keys_file(shop.settings.place)
        self._now = datetime.now(UTC)
        self.server = self._key(SCOPES["server"])
        self.browser = self._key(SCOPES["browser"], ORIGIN)
        self.revoked = self._key(SCOPES["server"])
        revoke_key(self._file, read_keys(self._file)[-1].id, self._now)
        self.without = {scope: self._key([other for other in SCOPES["server"] if other != scope]) for scope in SCOPES["server"]}

    def _key(self, scopes: list[str] | tuple[str, ...], *origins: str) -> str:
        return add_key(self._file, "tests", scopes, self._now, origins=origins)

    def client(self, kind: str, scope: str | None) -> Client:
        """A client with this kind of key; where it lacks a scope, this one."""
        key = {
            "no key": None,
            "a forged key": self.server[:-1] + ("A" if self.server[-1] != "A" else "B"),
            "a revoked key": self.revoked,
            "a server key without the scope": self.without[scope or "profile"],
            "a server key in the URL": None,
        }.get(kind, self.browser if "browser" in kind else self.server)
        origin = {"a server key in a page": ORIGIN, "a browser key in another page": "https://evil.example", ALLOWED[1]: ORIGIN}
        return Client(self.app, key, **({"Origin": origin[kind]} if kind in origin else {}))


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Keyed:
    root = tmp_path_factory.mktemp("keyed")
    attributes = '"attributes":{{"age":471147,"distance_to_store":471147}}'
    rules = {"offers": {"exploration_share": 0}}
    far = "('o-far', 'Free shipping', null, 'distance', 'over=100', 0, false, 9)"
    tables = {
        **SHELVES,
        "offer_inputs": SHELVES["offer_inputs"].replace('"tastes"', f'{attributes},"tastes"'),
        "offers": SHELVES["offers"].replace("('o-all'", f"{far}, ('o-all'"),
    }
    return Keyed(
        ServedShop(root, customers={"C1": {}, "C3": {}}, visitors={"V1": "C1"}, consented={"C1"}, tables=tables, rules=rules)
    )


@pytest.fixture(autouse=True)
def counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))


def test_the_table_has_every_route(keyed: Keyed) -> None:
    assert {route.path for route in keyed.app.routes} == set(ROUTES)  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("kind", [*REFUSED, *ALLOWED])
def test_every_route_answers_those_who_may_ask(keyed: Keyed, path: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    route = ROUTES[path]
    query = {"key": keyed.server} if kind == "a server key in the URL" else None
    asked = route.path if "browser" in kind else route.path.replace("/me/", "/V1/")  # a server has no visitor of its own
    response = keyed.client(kind, route.scope).ask(route.method, asked, params=query, json=BODIES.get(path))
    refusal = None if route.scope is None else REFUSED.get(kind)
    if route.scope is not None and "browser" in kind and not route.is_for_browsers:
        refusal = refusal if route.scope in SCOPES["browser"] and refusal else (403, "no-scope")
    if kind == ALLOWED[1] and not route.is_for_browsers and route.scope in SCOPES["browser"]:
        refusal = (403, "not-yours")
    if refusal is None:
        assert response.status_code == route.status
    else:
        assert (response.status_code, response.json()["type"].rpartition(":")[2]) == refusal
    leaving = [response.text, str(response.headers), caplog.text, generate_latest().decode()]
    assert [canary for canary in (*CANARIES, keyed.server, keyed.browser) for text in leaving if canary in text] == []


def test_an_offer_for_a_personal_value_says_its_condition_alone(keyed: Keyed) -> None:
    answer = keyed.client("a server key", None).get("/v1/customers/C1/offer").json()
    assert answer["offer_id"] == "o-far"
    assert answer["reason"].endswith("the nearest store is over 100 away (distance_to_store)")


@pytest.mark.parametrize("asked", ["C9", "c1", "C1%00", "%FF%FE", "C1'--", "..%2FC1", "x" * 3000, "C1%2F", "%E2%80%AE1C"])
@pytest.mark.parametrize("path", ["/v1/customers/{}/" + what for what in ("profile", "recommendations", "offer")])
def test_an_id_that_is_nobodys_gives_nobodys_data(keyed: Keyed, path: str, asked: str) -> None:
    response = keyed.client("a server key", None).get(path.format(asked))
    assert response.status_code in {404, 422}
    assert "C1" not in response.text
