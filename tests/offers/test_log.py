"""The record of a decision: what it says, and what is refused."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import msgspec
import pytest

from customer360.offers.conditions import parse_condition
from customer360.offers.customer import Customer
from customer360.offers.decisions import PriorityList, decide, draw_key
from customer360.offers.log import DecisionRecord, decode, encode, logged
from customer360.offers.offers import Offer, open_book
from customer360.settings import OfferRules
from tests.offers.conftest import NOON

CUSTOMER = Customer("c1", segment="Loyal", products=(("p2", 0.4), ("p1", 0.1)), tastes={"books": 0.3, "music": 0.6})


def record(customer: Customer = CUSTOMER, share: float = 0.3, **asked: Any) -> DecisionRecord:
    offers = [Offer(f"o{n}", f"Offer {n}", parse_condition("always", None, has_products=False), priority=n) for n in (1, 2, 3)]
    book = open_book(date(2026, 5, 4), OfferRules(exploration_share=share), offers, {})
    decision = decide(book, customer, PriorityList(), draw_key("secret"), NOON)
    assert decision is not None
    return logged(decision, customer, at=NOON, **{"customer_id": "c1", **asked})


def test_a_record_says_what_was_offered_to_whom_and_with_which_probabilities() -> None:
    found = record(visitor_id="v1", session_id="s1", page="/home", session_products=("p9",), store_version=7)
    # .3 / 3 for each, and .7 for the list's choice, which is the first: by hand.
    assert found.candidates == ("o1", "o2", "o3")
    assert found.propensities == pytest.approx((0.8, 0.1, 0.1))
    assert found.list_offer_id == "o1"
    assert found.propensity == found.propensities[found.candidates.index(found.offer_id)]
    assert (found.segment, found.category_id, found.top_products) == ("Loyal", "music", ("p2", "p1"))
    assert (found.visitor_id, found.session_id, found.page, found.session_products) == ("v1", "s1", "/home", ("p9",))
    assert (found.decided_at, found.store_version) == (NOON, 7)
    assert record().decision_id != record().decision_id


def test_a_line_brings_the_record_back() -> None:
    found = record(visitor_id="v1")
    line = encode(found)
    assert b"\n" not in line
    assert msgspec.structs.asdict(decode(line)) == msgspec.structs.asdict(found)
    assert json.loads(line)["decided_at"] == "2026-05-04T12:00:00Z"


def test_where_nothing_was_drawn_the_list_is_not_judged() -> None:
    found = record(msgspec.structs.replace(CUSTOMER, is_held_out=True))
    assert (found.basis, found.propensity, found.propensities, found.list_offer_id) == ("holdout", 1.0, (1.0,), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"customer_id": None}, "customer_id is missing, and visitor_id too; log whom"),
        ({"propensity": 0.0}, r"Expected `float` > 0.0 - at `\$.propensity`"),
        ({"propensity": "often"}, r"Expected `float`, got `str` - at `\$.propensity`"),
        ({"decided_at": "2026-05-04T12:00:00"}, r"timezone component - at `\$.decided_at`"),
        ({"offer_id": "o9"}, "offer_id is none of the candidates; log every"),
        ({"propensities": [0.9, 0.1]}, "2 probabilities of 3 candidates; log one for each"),
        ({"propensities": [0.8, 0.1, 0.05]}, "do not sum to 1; log the probability of every"),
        ({"propensities": [0.1, 0.1, 0.8], "propensity": 0.5}, "propensity is not that of offer_id in propensities"),
        ({"candidates": ["o1", "o1", "o3"]}, "candidates names an offer twice; log each once"),
        ({"list_offer_id": "o9"}, "list_offer_id is none of the candidates; log what"),
        ({"candidates": []}, r"length >= 1 - at `\$.candidates`"),
    ],
)
def test_a_record_that_could_not_be_judged_is_refused(change: dict[str, Any], message: str) -> None:
    line = {**json.loads(encode(record())), **change}
    with pytest.raises(msgspec.ValidationError, match=message):
        decode(json.dumps(line))
