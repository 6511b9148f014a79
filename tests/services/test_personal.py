"""Recommendations and offers: for customers, visitors and nobody in particular; what a session changes, and what is logged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pandas as pd
import pytest
from starlette.applications import Starlette

from customer360.lake.slices import slice_folder
from customer360.offers.current import decide_everyone
from customer360.offers.decisions import PriorityList
from customer360.offers.inputs import OFFERS, PRODUCTS
from customer360.offers.log import LoggedDecision, decode
from customer360.services.api.app import create
from customer360.services.api.keys import SCOPES, add_key, keys_file
from customer360.services.api.schemas import OfferAnswer
from customer360.services.api.settings import ApiSettings
from customer360.services.api.visits import Visit
from customer360.services.session_memory import SessionEvent, SessionMemory
from customer360.services.spool import spool_folder
from customer360.services.store import reading
from ml.recommendations.sessions import fit_session_model, save, sessions_of
from tests.offers.conftest import Store, many_customers
from tests.services.in_process import Client
from tests.services.served_shop import AS_OF, SHELVES, ServedShop


def serving(shop: ServedShop) -> Starlette:
    """The application of the shop as published now, in the hour of its last slice."""
    shop.publish_and_refresh()
    landed = slice_folder(shop.settings.place.landing / "clicks", AS_OF + timedelta(minutes=15))
    landed.mkdir(parents=True)
    (landed / "a.jsonl").write_text("", encoding="utf-8")
    return create(shop.settings, ApiSettings())


class Personal:
    """The application of a shop, a server's client, and one whose requests object to personalisation."""

    def __init__(self, shop: ServedShop) -> None:
        self.shop = shop
        self.app = serving(shop)
        key = add_key(keys_file(shop.settings.place), "tests", SCOPES["server"], datetime.now(UTC))
        self.client, self.objecting = Client(self.app, key), Client(self.app, key, Sec_GPC="1")

    @property
    def sessions(self) -> SessionMemory:
        found: SessionMemory = self.app.state.service.sessions
        return found

    def happened(self, visitor: str | None, customer: str | None, *events: SessionEvent) -> None:
        self.sessions.remember(visitor, customer, events, time.time())

    def recommended(self, path: str, client: Client | None = None, **query: Any) -> list[tuple[str, str]]:
        response = (client or self.client).get(f"/v1/{path}/recommendations", params=query)
        assert response.status_code == 200, response.text
        return [(item["product_id"], item["source"]) for item in response.json()["items"]]

    def offered(self, path: str, client: Client | None = None, **query: Any) -> dict[str, Any]:
        response = (client or self.client).get(f"/v1/{path}/offer", params=query)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def decided(self, path: str) -> LoggedDecision:
        """The decision of one more answer."""
        decision_id = self.offered(path)["decision_id"]
        return next(decision for decision in self.decisions() if decision.decision_id == decision_id)

    def decisions(self) -> list[LoggedDecision]:
        files = spool_folder(self.shop.settings, "offer_decisions").glob("*.jsonl")
        return [decode(line) for file in files for line in file.read_bytes().splitlines()]


def view(product: str, at: datetime = AS_OF, **own: str) -> SessionEvent:
    return SessionEvent("view_item", at.timestamp(), product, **own)


@pytest.fixture
def personal(tmp_path: Path) -> Iterator[Personal]:
    """Of three customers, of whom C3 does not consent. Sessions of the past went from p5 to p2."""
    visitors = {"V1": "C1", "V3": "C3"}
    shop = ServedShop(tmp_path, customers={"C1": {}, "C2": {}, "C3": {}}, visitors=visitors, consented={"C1", "C2"})
    shop.tables = dict(SHELVES)
    shop.rules = {"offers": {"threshold": 0.05, "exploration_share": 0.25}}
    events = pd.DataFrame({"session_id": [f"s{n}" for n in range(40) for _ in range(2)], "product_id": ["p5", "p2"] * 40})
    events["happened_at"] = pd.date_range("2026-04-01", periods=80, freq="min")
    save(fit_session_model(sessions_of(events)), shop.settings.place.recommendations / "session_model.npz")
    found = Personal(shop)
    yield found
    found.sessions.close()


def problem(personal: Personal, path: str, status: int, kind: str) -> None:
    response = personal.client.get(path)
    assert (response.status_code, response.json()["type"]) == (status, f"urn:customer360:problem:{kind}"), response.text
    assert response.headers["content-type"] == "application/problem+json"


def test_a_customer_is_shown_what_the_customer_likes_and_can_buy(personal: Personal) -> None:
    answer = personal.client.get("/v1/customers/C1/recommendations").json()
    assert answer["version"] == 1
    assert answer["items"][0] == {
        **{"product_id": "p2", "name": "Guitar", "category_id": "music", "price": 120.0},
        **{"score": pytest.approx(2 / 3), "reason": "you viewed this lately", "source": "affinity"},
    }
    shown = [item["product_id"] for item in answer["items"]]
    assert shown[:2] == ["p2", "p1"]
    assert not {"p3", "p4"} & {*shown}  # sold out, and bought for ever
    assert personal.recommended("customers/C1", n=1) == [("p2", "affinity")]
    assert personal.recommended("customers/C1", n=1, viewing="p2") == [("p1", "affinity")]
    assert personal.recommended("visitors/V1", n=1) == [("p2", "affinity")]


COLD = [("p6", "cold_start"), ("p1", "cold_start")]  # p3 is sold out


def test_who_is_unknown_objects_or_does_not_consent_gets_a_cold_start(personal: Personal) -> None:
    personal.happened("V1", "C1", view("p5"))
    personal.happened("V3", "C3", view("p5"))
    assert personal.recommended("visitors/nobody") == COLD
    for path in ("customers/C3", "visitors/V3"):
        assert personal.recommended(path) == COLD
    for path in ("customers/C1", "visitors/V1"):
        assert personal.recommended(path, personal.objecting) == COLD
        assert personal.recommended(path) != COLD
    assert personal.client.get("/v1/visitors/V1/profile").json()["customer_id"] == "C1"
    problem(personal, "/v1/visitors/V3/profile", 404, "unknown-visitor")
    assert personal.objecting.get("/v1/visitors/V1/profile").status_code == 404


def test_what_is_clicked_counts_at_once_in_recommendations_and_offers(personal: Personal) -> None:
    assert personal.recommended("visitors/new") == COLD
    before = personal.offered("visitors/new")
    assert before["offer_id"] != "o-music" or "to learn" in before["reason"]
    personal.happened("new", None, view("p5"))
    found = personal.client.get("/v1/visitors/new/recommendations").json()["items"]
    assert (found[0]["product_id"], found[0]["source"]) == ("p2", "session")
    assert found[0]["reason"] == "often viewed next after Drum"
    kept = {personal.offered(f"visitors/new{n}")["offer_id"] for n in range(20)}
    for n in range(20):
        personal.happened(f"new{n}", None, view("p5"))
    offers = [personal.offered(f"visitors/new{n}") for n in range(20)]
    by_affinity = [offer for offer in offers if offer["reason"].startswith("affinity")]
    assert len(by_affinity) > 8  # but for what is explored
    assert {offer["offer_id"] for offer in by_affinity} == {"o-music"}
    assert by_affinity[0]["product_ids"] == ["p2", "p5"]
    assert "o-all" in kept


def test_what_is_clicked_counts_also_while_the_clock_is_set_back(personal: Personal) -> None:
    now = time.time()
    personal.sessions.remember("V9", None, [view("p1")], now)
    assert personal.recommended("visitors/V9") == COLD
    assert personal.decided("visitors/V9").top_products == ("p6", "p1")
    personal.sessions.remember("V9", None, [view("p5")], now - 60)
    assert personal.recommended("visitors/V9", n=1) == [("p2", "session")]
    assert personal.decided("visitors/V9").top_products[0] == "p2"


def test_the_next_version_changes_the_answer_in_the_middle_of_a_session(personal: Personal) -> None:
    personal.happened("V1", "C1", view("p5"))
    assert personal.recommended("visitors/V1", n=1)[0][0] == "p2"
    personal.shop.tables["products"] = SHELVES["products"].replace("120, 3", "120, 0")  # sold out
    personal.shop.publish_and_refresh()
    assert "p2" not in dict(personal.recommended("visitors/V1"))


def test_a_visit_that_began_with_a_category_gets_its_cold_start(personal: Personal) -> None:
    personal.happened("V8", None, SessionEvent("page_view", AS_OF.timestamp(), category_id="music", device="mobile"))
    assert personal.recommended("visitors/V8", n=1) == [("p5", "cold_start")]


def test_an_offer_that_was_shown_since_the_slice_uses_up_its_limit(personal: Personal) -> None:
    assert "o-loyal" in personal.decided("customers/C1").candidates
    early, late = AS_OF, AS_OF + timedelta(minutes=20)
    for at, is_left in ((early, True), (late, True), (late + timedelta(seconds=1), False)):
        personal.happened("V1", "C1", SessionEvent("view_promotion", at.timestamp(), offer_id="o-loyal"))
        assert ("o-loyal" in personal.decided("customers/C1").candidates) == is_left


def test_every_answer_is_a_logged_decision(personal: Personal) -> None:
    personal.happened("V1", "C1", view("p5", session_id="s-1"), view("p1", AS_OF + timedelta(seconds=5), session_id="s-2"))
    personal.happened("V8", None, view("p5", session_id="s" * 257))
    answer = personal.offered("visitors/V1", page="/home")
    (logged,) = personal.decisions()
    assert (answer["decision_id"], answer["offer_id"], answer["propensity"]) == (
        *(logged.decision_id, logged.offer_id, logged.propensity),
    )
    assert (logged.customer_id, logged.visitor_id, logged.page, logged.store_version) == ("C1", "V1", "/home", 1)
    assert (logged.session_id, logged.session_products) == ("s-1", ("p1", "p5"))
    assert logged.segment == "Champions"
    personal.offered("customers/C3")
    personal.offered("visitors/V1", personal.objecting)
    personal.offered("visitors/V8")
    of_c3, of_v1, of_v8 = personal.decisions()[1:]
    assert of_v8.session_id is None
    assert of_c3.customer_id is None
    assert of_c3.visitor_id == f"u-{of_c3.decision_id}"
    assert (of_v1.customer_id, of_v1.visitor_id, of_v1.segment) == (None, f"u-{of_v1.decision_id}", None)
    assert (of_v1.session_id, of_v1.session_products) == (None, ())


def test_products_that_go_with_another_can_be_bought(personal: Personal) -> None:
    answer = personal.client.get("/v1/products/p2/related").json()
    assert [item["product_id"] for item in answer["also_viewed"]] == ["p5"]  # p3 is sold out
    assert answer["also_bought"] == [
        {
            **{"product_id": "p1", "name": "Novel", "category_id": "books", "price": 9.5, "score": 0.4},
            "reason": "bought together with Guitar",
        }
    ]


def test_what_cannot_be_answered_is_a_problem_document(personal: Personal) -> None:
    for path, status, kind in (
        ("/v1/customers/C9/offer", 404, "unknown-customer"),
        ("/v1/customers/C9/recommendations", 404, "unknown-customer"),
        ("/v1/visitors/V9/profile", 404, "unknown-visitor"),
        ("/v1/products/p9/related", 404, "unknown-product"),
        ("/v1/customers/C1/recommendations?n=0", 422, "wrong-parameter"),
        ("/v1/customers/C1/recommendations?n=51", 422, "wrong-parameter"),
        ("/v1/visitors/V1/recommendations?n=%C2%B2", 422, "wrong-parameter"),
        (f"/v1/visitors/V1/offer?page={'x' * 1025}", 422, "wrong-parameter"),
        (f"/v1/visitors/{'x' * 257}/offer", 422, "wrong-parameter"),
        ("/v1/visitors/me/offer", 422, "wrong-parameter"),
        ("/v1/visitors//offer", 422, "wrong-parameter"),
        ("/v1/customers//recommendations", 422, "wrong-parameter"),
        ("/v1/customers//profile", 404, "unknown-customer"),
        ("/v1/products//related", 404, "unknown-product"),
    ):
        problem(personal, path, status, kind)


def test_without_offers_and_without_a_store_every_route_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SECONDS_BETWEEN_LOOKS", 0)
    shop = ServedShop(tmp_path, customers={"C1": {}}, consented={"C1"})
    personal = Personal(shop)
    problem(personal, "/v1/customers/C1/offer", 503, "no-offers")
    assert personal.recommended("customers/C1") == []
    (shop.settings.place.serving / "store" / "current").unlink()
    for path in ("customers/C1/offer", "visitors/V1/recommendations", "visitors/V1/profile", "products/p1/related"):
        problem(personal, f"/v1/{path}", 503, "no-store")
    personal.sessions.close()


def test_holdouts_count_also_without_consent_and_nothing_else_does(tmp_path: Path) -> None:
    held = {"C1": '"is_held_out":true', "C2": '"is_held_out":true', "C3": '"withheld":["o-music","o-loyal"]'}
    rows = ", ".join(f"('{name}', '{{\"customer_id\":\"{name}\",{what}}}', 'b1')" for name, what in held.items())
    tables = {**SHELVES, "offer_inputs": f"from (values {rows}) as inputs (customer_id, inputs, basis)"}
    shop = ServedShop(tmp_path, customers={"C1": {}, "C2": {}, "C3": {}, "C4": {}}, consented={"C1"}, tables=tables)
    shop.rules = {"offers": {"exploration_share": 0.9}}
    shop.publish_and_refresh()
    personal = Personal(shop)
    personal.happened("V9", "C2", SessionEvent("view_item", time.time(), "p2"))

    def seen(path: str, client: Client | None = None) -> set[tuple[str, bool]]:
        offered = [personal.offered(path, client) for _ in range(25)]
        return {(each["offer_id"], each["propensity"] == 1) for each in offered}

    assert seen("customers/C1") == seen("customers/C2") == seen("visitors/V9") == {("o-all", True)}
    assert seen("customers/C1", personal.objecting) == {("o-all", True)}
    assert seen("customers/C3") == {("o-all", True)}  # the only candidate that is left
    assert {offer for offer, _ in seen("customers/C4")} > {"o-all"}
    personal.sessions.close()


def test_what_the_list_chose_among_other_offers_is_not_used(tmp_path: Path) -> None:
    inputs = SHELVES["offer_inputs"].replace('"tastes"', '"listed":["7","gone","why"],"tastes"')
    personal = Personal(
        ServedShop(tmp_path, customers={"C1": {}}, consented={"C1"}, tables={**SHELVES, "offer_inputs": inputs})
    )
    assert personal.offered("customers/C1")["offer_id"] in {"o-music", "o-loyal", "o-all"}
    personal.sessions.close()


def test_10000_customers_get_the_answers_of_the_batch(tmp_path: Path) -> None:
    """Through the calls of the service, without HTTP, beside the table that the functions of the asset made."""
    with duckdb.connect() as connection:
        shop = ServedShop(tmp_path, customers={f"c{n}": {} for n in range(10_001)}, consented={f"c{n}" for n in range(10_001)})
        warehouse = Store(tmp_path, connection)
        warehouse.settings = shop.settings
        many_customers(warehouse)
        rules = warehouse.settings.shop.model_dump(mode="json", by_alias=True)
        shop.rules = {name: rules[name] for name in ("offers", "campaigns")}
        decide_everyone(connection, shop.settings, PriorityList(), AS_OF + timedelta(minutes=15))
        names = {"offers": OFFERS, "products": PRODUCTS, "offer_activity": "marts.offer_activity"}
        names |= {name: f"predictions.{name}" for name in ("offer_inputs", "current_offers")}
        for name, relation in names.items():
            file = tmp_path / f"{name}.parquet"
            connection.execute(f"copy (from {relation}) to '{file}' (format parquet)")
            shop.tables[name] = f"from read_parquet('{file}')"
        current = connection.execute(
            "select customer_id, offer_id, reason, policy_version, propensity from predictions.current_offers"
        ).fetchall()
    service = serving(shop).state.service
    with service.reader.view() as found:
        for customer_id, *expected in current:
            offered = service.offering.offer(found, Visit(None, customer_id, None, time.time()), None)
            answer = msgspec.json.decode(offered, type=OfferAnswer)
            assert [answer.offer_id, answer.reason, answer.policy_version, answer.propensity] == expected
    assert len(current) == 10_001
    assert {offer_id for _, offer_id, *_ in current} == {"o2", "o3", "o4"}
    service.sessions.close()
