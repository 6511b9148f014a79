"""Thompson sampling of offers: its posterior, its propensities and its verdict beside the priority list."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime

import numpy as np
import pytest

from customer360.offers.conditions import parse_condition
from customer360.offers.customer import Customer
from customer360.offers.decisions import candidates_of, decide, draw_key
from customer360.offers.offers import Book, Offer, open_book
from customer360.offers.thompson import SAMPLES, STRENGTH, Shown, group_of, sample
from customer360.settings import OfferRules

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
OFFERS = tuple(
    Offer(name, name, parse_condition(None, None, has_products=False), priority=place) for place, name in enumerate("abc")
)
LOYAL = Customer("c1", segment="Loyal", tastes={"books": 0.7, "music": 0.3})
GROUP = ("Loyal", "books")


def book(share: float = 0.0) -> Book:
    return open_book(date(2026, 5, 4), OfferRules(exploration_share=share), OFFERS, {})


def shares(*counts: Shown, customer: Customer = LOYAL, seed: int = 1) -> dict[str, float]:
    candidates, choice = candidates_of(book(), customer)
    assert choice is not None
    found = sample(counts, seed).probabilities(candidates, choice, customer)
    return {offer.offer_id: share for offer, share in zip(candidates, found, strict=True)}


def test_the_group_is_the_segment_and_the_most_liked_category() -> None:
    assert group_of(LOYAL) == GROUP
    assert group_of(Customer("c2", tastes={"music": 0.5, "books": 0.5})) == ("", "books")
    assert group_of(Customer("c3")) == ("", "")


def test_without_any_click_known_all_candidates_are_about_equally_likely() -> None:
    equal = pytest.approx(dict.fromkeys("abc", 1 / 3), abs=4 * np.sqrt(2 / 9 / SAMPLES))
    assert shares() == equal
    assert shares(*(Shown(GROUP, name, 1e-9, 0.0) for name in "abc")) == equal


def test_a_share_is_the_probability_that_the_offer_has_the_highest_rate() -> None:
    counts = [Shown(GROUP, "a", 1_000, 30), Shown(GROUP, "b", 1_000, 30), Shown(GROUP, "c", 1_000, 5)]
    found = shares(*counts)
    # Worked out apart, by a million draws of the posteriors: priors are chains of means that weigh 100 showings each.
    random = np.random.default_rng(5)
    everywhere = 66 / (3_000 + STRENGTH)
    drawn = []
    for count in counts:
        prior = everywhere
        for _ in range(2):
            prior = (STRENGTH * prior + count.clicked) / (STRENGTH + count.shown)
        alpha, beta = STRENGTH * prior + count.clicked, STRENGTH * (1 - prior) + count.shown - count.clicked
        drawn.append(random.beta(alpha, beta, 1_000_000))
    best = np.bincount(np.argmax(drawn, axis=0), minlength=3) / 1_000_000
    assert list(found.values()) == pytest.approx(best, abs=4 * np.sqrt(0.25 / SAMPLES))
    assert found["c"] < 0.02


def test_a_group_that_is_hardly_known_acts_like_its_category_and_then_like_everybody() -> None:
    counts = [
        Shown(("At Risk", "books"), "a", 5_000, 250),
        Shown(("At Risk", "books"), "b", 5_000, 25),
        Shown(("At Risk", "music"), "a", 5_000, 25),
        Shown(("At Risk", "music"), "b", 5_000, 250),
        Shown(GROUP, "a", 3, 0),
        Shown(GROUP, "b", 3, 0),
        Shown(GROUP, "c", 3, 0),
    ]
    policy = sample(counts, 1)
    assert policy.mean_rate(GROUP, "a") > 3 * policy.mean_rate(GROUP, "b")
    found = shares(*counts)
    assert found["a"] > found["c"] > found["b"]  # c is of a rate that nobody knows
    nobody = ("", "")
    assert policy.mean_rate(nobody, "a") == pytest.approx(policy.mean_rate(nobody, "b"), rel=0.2)
    assert policy.mean_rate(nobody, "z") == pytest.approx(550 / 20_000, rel=0.3)  # an offer that was never shown


def test_equal_counts_in_any_order_are_one_version_and_others_are_another() -> None:
    counts = [Shown(GROUP, name, 100, clicks) for name, clicks in (("a", 3), ("b", 5))]
    first, again, other = sample(counts, 1), sample(counts[::-1], 1), sample(counts, 2)
    assert first.version == again.version != other.version
    candidates, choice = candidates_of(book(), LOYAL)
    assert choice is not None
    assert first.probabilities(candidates, choice, LOYAL) == again.probabilities(candidates, choice, LOYAL)
    assert sample([*counts, Shown(GROUP, "c", 1, 0)], 1).version != first.version


def test_the_logged_propensity_is_how_often_the_offer_is_drawn() -> None:
    counts = [Shown(GROUP, "a", 1_000, 20), Shown(GROUP, "b", 1_000, 22), Shown(GROUP, "c", 1_000, 12)]
    policy, open_offers, customers = sample(counts, 1), book(share=0.1), 20_000
    drawn = []
    for number in range(customers):
        customer = Customer(f"c{number}", segment=LOYAL.segment, tastes=LOYAL.tastes)
        decision = decide(open_offers, customer, policy, draw_key("secret"), NOON)
        assert decision is not None
        drawn.append(decision)
    propensity = {decision.offer_id: decision.propensity for decision in drawn}
    assert sum(propensity.values()) == pytest.approx(1)
    counted = Counter(decision.offer_id for decision in drawn)
    assert {name: count / customers for name, count in counted.items()} == pytest.approx(propensity, abs=0.015)
    words = {decision.reason for decision in drawn if decision.basis == "thompson" and decision.offer_id == "a"}
    (reason,) = words
    assert reason.startswith("clicked by 2.0% of the segment Loyal and those after books")
