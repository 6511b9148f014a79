"""Global Privacy Control and missing consent, through events and recommendations: a cold start, and nothing that links."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from customer360.services.api.app import create
from customer360.services.api.keys import SCOPES, add_key, keys_file
from customer360.services.api.settings import ApiSettings
from customer360.services.api.tokens import sign_customer
from customer360.services.spool import spool_folder
from tests.services.api_server import write_shop
from tests.services.in_process import ORIGIN, Client
from tests.services.served_shop import SHELVES, ServedShop

SECRET = "0123456789abcdef0123456789abcdef"


class Shop:
    """An API of this process, its server, and browsers of the shop's pages."""

    def __init__(self, root: Path) -> None:
        shop = ServedShop(root, customers={"C1": {}, "C3": {}}, consented={"C1"}, tables=SHELVES)
        shop.publish_and_refresh()
        write_shop(shop.settings)
        self.settings = shop.settings
        file, now = keys_file(shop.settings.place), datetime.now(UTC)
        self._app = create(shop.settings, ApiSettings(customer_secret=SECRET, spool_free_bytes=0))
        self.server = Client(self._app, add_key(file, "server", SCOPES["server"], now))
        self._page_key = add_key(file, "pages", SCOPES["browser"], now, origins=[ORIGIN])

    def browser(self, customer_id: str | None = None, **headers: str) -> Client:
        token = {"Customer-Token": sign_customer(SECRET, customer_id, int(time.time()) + 600)} if customer_id else {}
        return Client(self._app, self._page_key, Origin=ORIGIN, **token, **headers)

    def spooled(self) -> list[dict[str, Any]]:
        files = spool_folder(self.settings, "clicks").glob("*")
        return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("consent"))


def recommended(client: Client, path: str = "/v1/visitors/me/recommendations") -> list[tuple[str, str]]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return [(item["product_id"], item["reason"]) for item in answer.json()["items"]]


def view(client: Client, product_id: str, **ids: str) -> None:
    event = {"event_name": "view_item", "product_id": product_id, **ids}
    answer = client.ask("POST", "/v1/events", json={"events": [event]})
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1), answer.text


def test_the_answer_to_who_is_not_to_be_personalised_is_that_of_a_cold_start(shop: Shop) -> None:
    cold, personal = recommended(shop.browser()), recommended(shop.browser("C1"))
    assert [product for product, _ in cold] == ["p6", "p1"]
    assert [product for product, _ in personal][:2] == ["p2", "p1"]
    for refusing in (shop.browser("C1", Sec_GPC="1"), shop.browser("C3"), shop.browser("C9"), shop.browser(Sec_GPC="1")):
        assert recommended(refusing) == cold
    assert recommended(shop.server, "/v1/customers/C3/recommendations") == cold
    assert recommended(shop.server, "/v1/customers/C1/recommendations") == personal


@pytest.mark.parametrize(("customer_id", "headers"), [("C1", {"Sec_GPC": "1"}), ("C3", {})])
def test_what_such_a_visitor_does_is_landed_and_remembered_without_the_customer(
    shop: Shop, customer_id: str, headers: dict[str, str]
) -> None:
    at_ease = shop.browser("C1")
    before = recommended(at_ease)
    refusing = shop.browser(customer_id, **headers)
    seen = len(shop.spooled())
    view(refusing, "p5", customer_id=customer_id, visitor_id="V1")
    (landed,) = shop.spooled()[seen:]
    assert landed["visitor_id"].startswith("u-")
    assert "customer_id" not in landed
    assert recommended(at_ease) == before
    assert recommended(shop.browser("C1")) == before


def test_what_a_server_sends_of_a_customer_without_consent_is_remembered_for_nobody_else(shop: Shop) -> None:
    cold = recommended(shop.browser())
    view(shop.server, "p2", customer_id="C3", visitor_id="V3")
    landed = shop.spooled()[-1]
    assert (landed["customer_id"], "visitor_id" in landed) == ("C3", False)
    for path in ("/v1/visitors/V3/recommendations", "/v1/customers/C3/recommendations"):
        assert recommended(shop.server, path) == cold


@pytest.mark.parametrize(
    ("refusal", "linked"),
    [
        ({"consent": {"ad_personalization": "DENIED", "ad_user_data": "GRANTED"}}, False),
        ({"non_personalized_ads": True}, False),
        ({"consent": {"ad_personalization": "GRANTED"}}, True),
    ],
)
def test_what_the_measurement_protocol_says_of_consent_counts(shop: Shop, refusal: dict[str, Any], linked: bool) -> None:
    body = {"client_id": "V7", "user_id": "C1", "events": [{"name": "view_item"}], **refusal}
    assert shop.server.ask("POST", "/mp/collect", json=body).status_code == 204
    landed = shop.spooled()[-1]
    assert (landed["customer_id"], landed.get("visitor_id")) == ("C1", "V7" if linked else None)
    assert shop.browser("C1").ask("POST", "/mp/collect", json=body).status_code == 204
    landed = shop.spooled()[-1]
    assert (landed.get("customer_id"), landed["visitor_id"][:2]) == (("C1", "v-") if linked else (None, "u-"))


def test_a_consent_of_another_shape_is_refused(shop: Shop) -> None:
    answer = shop.server.ask("POST", "/mp/collect", json={"client_id": "V7", "events": [{"name": "x"}], "consent": "DENIED"})
    assert (answer.status_code, "consent" in answer.json()["detail"]) == (422, True)
