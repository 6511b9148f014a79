"""What ``decide`` adds to the published logic."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from customer360.offers.conditions import parse_condition
from customer360.offers.customer import Customer, Planned
from customer360.offers.decisions import HELD_OUT, Decision, PriorityList, decide, draw_key, published_choice, uniform
from customer360.offers.offers import Book, Offer, open_book
from customer360.settings import OfferRules

DAY, NOON = date(2026, 5, 4), datetime(2026, 5, 4, 12, tzinfo=UTC)
KEY = draw_key("secret")
POLICY = PriorityList()
VECTORS = {"p1": {"books": 1.0}, "p2": {"music": 1.0}, "p3": {"books": 1.0, "music": 1.0}}


def offer(offer_id: str, condition: str = "always", parameters: str | None = None, **values: Any) -> Offer:
    products = values.get("product_ids", ())
    return Offer(offer_id, f"Offer {offer_id}", parse_condition(condition, parameters, has_products=bool(products)), **values)


def book_of(*offers: Offer, share: float = 0.0, day: date = DAY) -> Book:
    return open_book(day, OfferRules(exploration_share=share), offers, VECTORS)


def decided(book: Book, at: datetime = NOON, **customer: Any) -> Decision:
    decision = decide(book, Customer(**{"customer_id": "c1", **customer}), POLICY, KEY, at)
    assert decision is not None
    return decision


FIRST, SECOND = offer("first", priority=1), offer("second", priority=2)
LAST = offer("last", priority=9, is_default=True)


def test_a_limit_per_customer_is_of_that_customer_and_offer() -> None:
    book = book_of(replace(FIRST, most_shown_24h=2, most_shown_30d=5), SECOND, LAST)
    assert decided(book, shown={"first": (1, 4), "second": (9, 9)}).offer_id == "first"
    assert decided(book, shown={"first": (2, 4)}).offer_id == "second"
    assert decided(book, shown={"first": (0, 5)}).offer_id == "second"


def test_an_offer_without_stock_is_not_shown() -> None:
    assert decided(book_of(replace(FIRST, stock_left=1), LAST)).offer_id == "first"
    assert decided(book_of(replace(FIRST, stock_left=0), LAST)).offer_id == "last"


def test_the_campaign_plan_comes_first_while_its_offer_may_be_shown() -> None:
    planned = Planned("spring", "second", DAY + timedelta(days=1))
    decision = decided(book_of(FIRST, SECOND, LAST, share=0.5), planned=planned)
    assert (decision.offer_id, decision.basis, decision.propensity) == ("second", "plan", 1.0)
    assert decision.candidates == ("second",)
    assert "spring contacts this customer on 2026-05-05" in decision.reason
    ended = book_of(FIRST, replace(SECOND, ends_on=DAY - timedelta(days=1)), LAST)
    assert decided(ended, planned=planned).offer_id == "first"


def test_the_globally_held_out_get_the_default_and_nothing_else() -> None:
    planned = Planned("spring", "second", DAY)
    decision = decided(book_of(FIRST, SECOND, LAST, share=0.9), is_held_out=True, planned=planned)
    assert (decision.offer_id, decision.reason, decision.basis) == ("last", HELD_OUT, "holdout")
    assert (decision.propensity, decision.candidates) == (1.0, ("last",))


def test_a_campaigns_holdout_never_sees_its_offer_not_even_as_the_default() -> None:
    book = book_of(FIRST, SECOND, LAST, share=0.9)
    for hour in range(200):
        seen = decided(book, NOON + timedelta(hours=hour), withheld=frozenset({"first", "last"}))
        assert (seen.offer_id, seen.candidates) == ("second", ("second",))
    nobody = book_of(offer("vip", "top_users", "users=1"), LAST)
    assert decide(nobody, Customer("c1", withheld=frozenset({"last"})), POLICY, KEY, NOON) is None


def test_the_default_is_the_last_resort_whatever_its_limits() -> None:
    book = book_of(replace(LAST, stock_left=0, ends_on=DAY - timedelta(days=9)))
    assert decided(book).offer_id == "last"
    assert decide(book_of(), Customer("c1"), POLICY, KEY, NOON) is None


def test_the_draw_depends_on_key_customer_hour_and_policy_alone() -> None:
    draws = {
        uniform(KEY, "c1", NOON, "v1"),
        uniform(KEY, "c2", NOON, "v1"),
        uniform(KEY, "c1", NOON + timedelta(hours=1), "v1"),
        uniform(KEY, "c1", NOON, "v2"),
        uniform(draw_key("other"), "c1", NOON, "v1"),
    }
    assert len(draws) == 5
    assert all(0 <= number < 1 for number in draws)
    assert uniform(KEY, "c1", NOON + timedelta(minutes=59), "v1") == uniform(KEY, "c1", NOON, "v1")


def test_the_version_follows_what_decides_and_not_the_stock_or_the_day() -> None:
    version = decided(book_of(FIRST, LAST)).policy_version
    assert decided(book_of(replace(FIRST, stock_left=4), LAST)).policy_version == version
    assert decided(book_of(FIRST, LAST, day=DAY + timedelta(days=1))).policy_version == version
    assert decided(book_of(FIRST, LAST, share=0.1)).policy_version != version
    assert decided(book_of(replace(FIRST, most_shown_24h=9), LAST)).policy_version != version


def test_exploration_has_its_share_and_every_logged_propensity_is_how_often_the_offer_is_drawn() -> None:
    share, customers = 0.3, 20_000
    book = book_of(FIRST, SECOND, offer("third", "top_users", "users=1", priority=3), LAST, share=share)
    drawn = [decided(book, customer_id=f"c{number}") for number in range(customers)]
    assert {decision.candidates for decision in drawn} == {("first", "second", "last")}
    counts = Counter(decision.offer_id for decision in drawn)
    propensity = {decision.offer_id: decision.propensity for decision in drawn}
    # .7 for the list's choice and .1 each: by hand. 4 standard errors of 20,000 draws are .013.
    assert propensity == pytest.approx({"first": 0.8, "second": 0.1, "last": 0.1})
    assert {name: count / customers for name, count in counts.items()} == pytest.approx(propensity, abs=0.013)
    explored = [decision for decision in drawn if decision.basis == "exploration"]
    assert len(explored) / customers == pytest.approx(share, abs=0.013)
    assert {decision.reason for decision in explored} == {"drawn among 3 offers, to learn"}


def test_a_replay_gives_the_same_decisions() -> None:
    book = book_of(FIRST, SECOND, LAST, share=0.5)
    again = book_of(LAST, SECOND, FIRST, share=0.5)
    customers = [f"c{number}" for number in range(200)]
    assert [decided(book, customer_id=name) for name in customers] == [decided(again, customer_id=name) for name in customers]


@pytest.mark.parametrize("seed", range(300))
def test_without_holdouts_plans_limits_and_exploration_it_is_the_published_choice(seed: int) -> None:
    chance = random.Random(seed)
    names = ("always", "specific_products", "top_users", "distance", "segment")
    parameters = {"top_users": "users=50", "distance": "over=100", "segment": "segments=Loyal"}
    offers = [
        offer(
            f"o{number}",
            name,
            parameters.get(name),
            product_ids=() if name in parameters else tuple(chance.sample(list(VECTORS), 2)),
            priority=number // 2,
        )
        for number, name in enumerate(chance.choices(names, k=chance.randint(1, 6)))
    ]
    book = open_book(DAY, OfferRules(threshold=0.3, exploration_share=0), offers, VECTORS)
    customer = Customer(
        "c1",
        segment=chance.choice(["Loyal", None]),
        activity_rank=chance.choice([None, 1, 99]),
        products=tuple((product, chance.random()) for product in chance.sample(list(VECTORS), 3)),
        tastes={"books": chance.random(), "music": chance.random()},
        attributes={"distance_to_store": chance.random() * 200},
    )
    choice, decision = published_choice(book, customer), decide(book, customer, POLICY, KEY, NOON)
    assert choice is not None
    assert decision is not None
    assert (decision.offer_id, decision.reason, decision.affinity) == (choice.offer.offer_id, choice.reason, choice.affinity)
    assert decision.propensity == 1.0
    assert decision.offer_id in decision.candidates


def test_affinity_shows_an_offer_only_to_those_for_whom_its_condition_holds() -> None:
    """The published logic asks for no condition there."""
    book = book_of(offer("vip", "top_users", "users=1", product_ids=("p1",), priority=1), LAST)
    reader: dict[str, Any] = {"tastes": {"books": 1.0}, "products": (("p1", 0.9),)}
    choice = published_choice(book, Customer("c1", **reader))
    assert choice is not None
    assert choice.offer.offer_id == "vip"
    assert decided(book, **reader).offer_id == "last"
    assert decided(book, activity_rank=1, **reader).affinity == pytest.approx(0.9)
