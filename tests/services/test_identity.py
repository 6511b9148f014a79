"""Who asks: keys by kind, visitors by their cookie, customers by the shop's signature, and consent. All in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from customer360.secret_files import make_secret
from customer360.services.api import watched
from customer360.services.api.app import create
from customer360.services.api.endpoints import endpoint, identify
from customer360.services.api.keys import KeysError, add_key, keys_file, read_keys, revoke_key
from customer360.services.api.settings import ApiSettings
from customer360.services.api.tokens import read_customer, sign_customer, visitor_secrets_file
from customer360.settings import SettingsError
from tests.services.in_process import ORIGIN, Client
from tests.services.served_shop import ServedShop

SECRET = "0123456789abcdef0123456789abcdef"
DENIED = {"status": 403, "type": "urn:customer360:problem:not-yours"}


@endpoint("caller")
async def caller(request: Request) -> Response:
    """Who identity says that asks, and the ids that its events would have if they named others."""
    found = identify(request, "offers", anonymous="anonymous" in request.query_params)
    ids = {"visitor": found.visitor(request.query_params.get("visitor", "me"))}
    named = request.query_params.get("named", "forged customer")
    events = found.event_ids("forged visitor", named)
    return JSONResponse({"customer": found.customer_id, "personal": found.may_personalise, "events": events, **ids})


class Pages:
    """A shop's API and the keys of its server and its pages; each client is another browser."""

    def __init__(self, shop: ServedShop, **own: Any) -> None:
        self.place = shop.settings.place
        self.file = keys_file(self.place)
        self.server = add_key(self.file, "server", ["offers", "profile"], datetime.now(UTC))
        self.browser = add_key(self.file, "pages", ["offers"], datetime.now(UTC), origins=[ORIGIN])
        self.app = create(shop.settings, ApiSettings(customer_secret=SECRET, **own))
        self.app.router.routes.insert(0, Route("/caller", caller))

    def client(self, key: str | None = None, **headers: str) -> Client:
        return Client(self.app, key or self.browser, **headers)


def customer(name: str, *, ends_in: float = 12 * 3600, secret: str = SECRET) -> dict[str, str]:
    """The header of a page on which this customer has signed in: made for parameters before the first test runs."""
    return {"Customer-Token": sign_customer(secret, name, int(time.time() + ends_in))}


def asked(client: Client, headers: dict[str, str] | None = None, **query: str) -> Any:
    response = client.get("/caller", headers=headers, params=query)
    assert response.status_code == 200, response.text
    return response.json()


def cookie(response: httpx.Response) -> tuple[str, str, set[str]]:
    """Name, value and attributes of the cookie that an answer sets."""
    first, *attributes = response.headers["set-cookie"].split("; ")
    name, _, value = first.partition("=")
    return name, value, set(attributes)


@pytest.fixture
def pages(shop: ServedShop) -> Pages:
    shop.publish_and_refresh()
    return Pages(shop)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at with each request."""
    monkeypatch.setattr(watched, "SECONDS_BETWEEN_LOOKS", 0)


def test_a_browser_has_one_visitor_by_a_signed_cookie_that_its_pages_cannot_read(pages: Pages) -> None:
    client = pages.client()
    response = client.get("/caller")
    visitor = response.json()["visitor"]
    assert visitor.startswith("v-")
    name, value, attributes = cookie(response)
    assert (name, visitor in value) == ("__Host-c360_visitor", True)
    assert attributes == {"Path=/", f"Max-Age={180 * 86400}", "HttpOnly", "SameSite=Lax", "Secure"}
    again = client.get("/caller")
    assert (again.json()["visitor"], "set-cookie" in again.headers) == (visitor, False)
    assert asked(pages.client())["visitor"] != visitor


def test_the_visitors_and_customers_that_a_browser_names_are_not_believed(pages: Pages) -> None:
    client = pages.client()
    own = asked(client)["visitor"]
    assert asked(client, visitor=own)["visitor"] == own
    response = client.get("/caller", params={"visitor": "V1"})
    assert {name: response.json()[name] for name in DENIED} == DENIED
    assert asked(client)["events"] == [own, None]
    assert asked(client, customer("C1"))["events"] == [own, "C1"]
    server = asked(pages.client(pages.server), visitor="V1")
    assert server == {"customer": None, "personal": True, "events": ["forged visitor", "forged customer"], "visitor": "V1"}


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"),
        lambda token: token.replace("v-", "v-0", 1),
        lambda token: ".".join(["00000000", *token.split(".")[1:]]),
        lambda token: ".".join([*token.split(".")[:2], "99999999999", token.split(".")[3]]),
        lambda token: token.split(".")[1],
        lambda _token: "",
        lambda _token: "...",
        lambda _token: "x" * 4000,
    ],
)
def test_a_changed_cookie_is_another_visitors(pages: Pages, change: Callable[[str], str]) -> None:
    name, value, _ = cookie(pages.client().get("/caller"))
    kept = asked(pages.client(Cookie=f"{name}={value}"))["visitor"]
    assert kept == value.split(".")[1]
    assert asked(pages.client(Cookie=f"{name}={change(value)}"))["visitor"] != kept


def test_a_cookie_ends_is_renewed_at_half_its_time_and_survives_a_new_secret(
    pages: Pages, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    client, began = pages.client(), time.time()
    name, value, _ = cookie(client.get("/caller"))
    visitor = value.split(".")[1]
    make_secret(visitor_secrets_file(pages.place))
    signed_anew = cookie(client.get("/caller"))[1]
    assert signed_anew.split(".")[1] == visitor
    assert signed_anew.split(".")[0] != value.split(".")[0]
    held = pages.client(Cookie=f"{name}={signed_anew}")
    for days, is_renewed, is_same in ((89, False, True), (91, True, True), (181, True, False)):
        with monkeypatch.context() as later:
            later.setattr(time, "time", lambda days=days: began + days * 86400)
            response = held.get("/caller")
        assert ("set-cookie" in response.headers, response.json()["visitor"] == visitor) == (is_renewed, is_same)
    make_secret(visitor_secrets_file(pages.place), forget=True)
    assert asked(pages.client(Cookie=f"{name}={signed_anew}"))["visitor"] != visitor


@pytest.mark.parametrize(
    ("token", "refusal"),
    [
        (customer("C1", ends_in=-1), "expired"),
        (customer("C1", secret=SECRET[::-1]), "forged"),
        (customer("C1", ends_in=48 * 3600), "too-long"),
        ({"Customer-Token": customer("C1")["Customer-Token"].replace("QzE", "QzI")}, "forged"),  # replayed for C2
        ({"Customer-Token": "C1"}, "forged"),
        ({"Customer-Token": "..."}, "forged"),
        ({"Customer-Token": "é" * 10}, "forged"),
    ],
)
def test_a_customer_token_that_does_not_count_is_as_none_and_the_answer_says_why(
    pages: Pages, token: dict[str, str], refusal: str
) -> None:
    headers = {name: value.encode() for name, value in token.items()}
    response = pages.client().get("/caller", headers=headers)  # type: ignore[arg-type]
    assert response.headers["customer-token-refused"] == refusal
    assert (response.status_code, response.json()["customer"], response.json()["personal"]) == (200, None, True)


def test_a_customer_counts_with_the_shops_signature_in_a_header_or_the_url(pages: Pages) -> None:
    token = customer("C1")
    assert asked(pages.client(), token)["customer"] == "C1"
    assert asked(pages.client(), customer_token=token["Customer-Token"])["customer"] == "C1"
    assert asked(pages.client(pages.server), token, visitor="V1")["customer"] is None


def test_the_test_vector_of_the_customer_token() -> None:
    """The one of docs/serving.md; its signature is that of openssl dgst -sha256 -hmac."""
    token = "Wm_Dqy00Mg.1893456000.fed1e1eeb2e1e3a8c5cd4f749fc13ae8ed0e696638cd3f66d7fd0cddf2998425"
    assert sign_customer(SECRET, "Zoë-42", 1893456000) == token
    assert read_customer(token, ["x" * 32, SECRET], 1893455999) == ("Zoë-42", None)


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"Sec-GPC": "1", **customer("C1")}, {}),
        (customer("C3"), {}),  # does not consent
        (customer("C9"), {}),  # nothing is known of
        ({"Sec-GPC": "1"}, {}),
        (customer("C1"), {"anonymous": ""}),
    ],
)
def test_nothing_links_a_visitor_to_a_customer_where_personalisation_is_refused(
    pages: Pages, headers: dict[str, str], query: dict[str, str]
) -> None:
    client = pages.client()
    linkable = asked(client, customer("C1"))["visitor"]
    refused = asked(client, headers, **query)
    assert (refused["customer"], refused["personal"]) == (None, False)
    assert refused["visitor"].startswith("u-")
    assert refused["events"] == [refused["visitor"], None]
    agreed = asked(client, customer("C1"))
    assert (agreed["customer"], agreed["personal"]) == ("C1", True)
    assert agreed["visitor"].startswith("v-")
    assert (agreed["visitor"] == linkable) == ("anonymous" in query)  # no cookie is set for one request


def test_an_event_of_a_server_links_no_visitor_to_a_customer_who_does_not_consent(pages: Pages) -> None:
    server, objecting = pages.client(pages.server), pages.client(pages.server, Sec_GPC="1")
    assert asked(server, named="C1")["events"] == ["forged visitor", "C1"]
    assert asked(server, named="C9")["events"] == ["forged visitor", "C9"]  # new, for whom the shop vouches
    assert asked(server, named="C3")["events"] == [None, "C3"]
    assert asked(objecting, named="C1")["events"] == [None, "C1"]


def test_without_a_store_nobody_has_consented(shop: ServedShop) -> None:
    answer = asked(Pages(shop).client(), customer("C1"))
    assert (answer["customer"], answer["personal"]) == (None, False)


def test_keys_are_held_to_their_pages_and_places(pages: Pages, at_once: None) -> None:
    def refusal(client: Client, **query: str) -> tuple[int, str]:
        response = client.get("/caller", params=query)
        return response.status_code, response.json().get("type", "").rpartition(":")[2]

    assert refusal(pages.client(Origin=ORIGIN)) == (200, "")
    for origin in ("https://evil.example", "null", "http://shop.example", ORIGIN + ":8443"):
        assert refusal(pages.client(Origin=origin)) == (403, "wrong-origin")
    assert refusal(pages.client(pages.server, Origin=ORIGIN)) == (403, "wrong-origin")
    bare = Client(pages.app)
    assert refusal(bare, key=pages.browser) == (200, "")
    assert refusal(bare, key=pages.server) == (403, "key-in-url")
    assert refusal(bare) == (401, "no-key")
    revoke_key(pages.file, read_keys(pages.file)[1].id, datetime.now(UTC))
    assert refusal(pages.client()) == (401, "no-key")


def test_pages_of_a_keys_origin_may_read_answers_and_others_may_not(pages: Pages) -> None:
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,customer-token"}
    for origin, allowed in ((ORIGIN, ORIGIN), ("https://evil.example", None)):
        preflight = Client(pages.app).ask("OPTIONS", "/v1/events", headers={"Origin": origin, **wanted})
        answer = pages.client(Origin=origin).get("/caller")
        for response in (preflight, answer):
            assert response.headers.get("access-control-allow-origin") == allowed
        assert (preflight.status_code, answer.status_code) == ((200, 200) if allowed else (400, 403))
    assert answer.headers["vary"] == "Origin"
    assert preflight.headers["access-control-allow-credentials"] == "true"


def test_a_cookie_fits_the_deployment(shop: ServedShop) -> None:
    shop.publish_and_refresh()
    pages = Pages(shop, same_site="none")
    assert {"SameSite=None", "Secure", "Partitioned"} <= cookie(pages.client().get("/caller"))[2]
    local = add_key(pages.file, "developer", ["offers"], datetime.now(UTC), origins=["http://localhost:3000"])
    laptop = Pages(shop)
    name, _, attributes = cookie(laptop.client(local).get("/caller"))
    assert (name, "Secure" in attributes) == ("c360_visitor", False)


def test_a_key_has_a_rate_of_its_own(shop: ServedShop) -> None:
    pages = Pages(shop, requests_per_second=0.02, burst=6)
    slow = add_key(pages.file, "slow", ["offers"], datetime.now(UTC), requests_per_second=0.01)
    statuses = [pages.client(slow).get("/caller").status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    assert pages.client(pages.server).get("/caller").status_code == 200


@pytest.mark.parametrize(
    ("scopes", "origins", "message"),
    [
        (["profile"], [ORIGIN], "profile: a browser key may have offers, events"),
        (["offers"], ["shop.example"], "shop.example: an origin is https"),
        (["offers"], ["http://shop.example"], "an origin is https"),
        (["offers"], [ORIGIN + "/"], "an origin is https"),
        (["offers"], ["*"], "an origin is https"),
        (["admin"], [], "admin: a server key may have profile, score, offers, events, metrics"),
        ([], [], "no scope"),
    ],
)
def test_a_key_that_cannot_be_is_not_made(tmp_path: Path, scopes: list[str], origins: list[str], message: str) -> None:
    with pytest.raises(KeysError, match=message.replace("*", r"\*")):
        add_key(tmp_path / "keys.json", "x", scopes, datetime.now(UTC), origins=origins)
    assert not (tmp_path / "keys.json").exists()


def test_a_secret_comes_from_the_environment_or_a_file_and_is_exchanged_while_both_count(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n{SECRET[::-1]}\n", encoding="utf-8")
    own = ApiSettings.from_environment({"CUSTOMER360_API_CUSTOMER_SECRET_FILE": str(file)})
    assert own.customer_secrets()(0.0) == [SECRET, SECRET[::-1]]
    own = ApiSettings.from_environment({"CUSTOMER360_API_CUSTOMER_SECRET": SECRET})
    assert own.customer_secrets()(0.0) == [SECRET]
    for name, value in (("CUSTOMER_SECRET", "hunter2"), ("CUSTOMER_SECRET_FILE", str(tmp_path / "none"))):
        with pytest.raises(SettingsError) as refused:
            ApiSettings.from_environment({f"CUSTOMER360_API_{name}": value})
        assert "hunter2" not in str(refused.value)
