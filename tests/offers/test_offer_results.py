"""What offers brought, and which policy they earn."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from customer360.lake.publishing.tables import TABLES
from customer360.offers.decisions import PriorityList
from customer360.offers.policy import PolicyState, policy_of, read_state, state_file, write_state
from customer360.offers.thompson import Shown
from customer360.settings import OfferRules, Place
from ml.effects.lift import effective_size, rate_difference, wilson
from ml.effects.offer_policies import judge, learned, serves
from ml.effects.offer_results import LOG, log_frame, with_rates

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
OFFERS = ("a", "b", "c")
EXPLORED = 0.1
# Click rates by segment and offer; the list shows "a" to everybody.
RATES = {"Loyal": (0.02, 0.10, 0.02), "New": (0.05, 0.02, 0.02)}


def simulated(decisions: int, seed: int, rates: dict[str, tuple[float, ...]] = RATES) -> pd.DataFrame:
    """A log as ``judge`` takes it: the list with exploration."""
    random = np.random.default_rng(seed)
    shares = (1 - EXPLORED + EXPLORED / 3, EXPLORED / 3, EXPLORED / 3)
    segment = random.choice(list(rates), decisions)
    place = random.choice(3, decisions, p=shares)
    chance = np.array([rates[name][offer] for name, offer in zip(segment, place, strict=True)])
    return pd.DataFrame(
        {
            "customer": [f"c{number}" for number in random.integers(0, decisions // 3, decisions)],
            "segment": segment,
            "category_id": "",
            "candidates": [OFFERS] * decisions,
            "list_offer_id": "a",
            "propensities": [shares] * decisions,
            "offer_id": np.array(OFFERS)[place],
            "propensity": np.array(shares)[place],
            "reward": (random.random(decisions) < chance).astype(float),
        }
    )


def test_the_values_hold_the_truth_and_thompson_sampling_wins_where_segments_differ() -> None:
    found = judge(simulated(40_000, 1), seed=1)
    truth = {"priority_list": 0.035, "uniform": np.mean([rate for rates in RATES.values() for rate in rates])}
    truth["served"] = 0.9 * truth["priority_list"] + 0.1 * truth["uniform"]
    for policy, value in truth.items():
        for estimate in (found.values[policy].ips, found.values[policy].snips, found.values[policy].doubly_robust):
            assert estimate is not None
            assert estimate.low <= value <= estimate.high, policy
    # The best offer of each segment brings .075; Thompson sampling nearly always shows it after so many decisions.
    assert found.values["thompson"].doubly_robust.estimate == pytest.approx(0.075, abs=0.012)
    assert found.verdict.is_better
    assert found.gains["thompson"].estimate == pytest.approx(found.verdict.gain.estimate)
    assert found.gains["priority_list"].estimate == 0
    assert found.untried == {"priority_list": 0, "thompson": 0, "uniform": 0, "served": 0}


@pytest.mark.full
def test_intervals_of_each_policy_hold_its_value_about_95_times_of_100() -> None:
    truth = {"priority_list": 0.035, "uniform": float(np.mean([rate for rates in RATES.values() for rate in rates]))}
    repeats = 40
    hits = dict.fromkeys(truth, 0)
    for seed in range(repeats):
        found = judge(simulated(2_000, seed), seed=1)
        for policy, value in truth.items():
            estimate = found.values[policy].doubly_robust
            hits[policy] += estimate.low <= value <= estimate.high
    # 3 standard errors of 40 draws at 95% are 10.3 points.
    assert {name: count / repeats for name, count in hits.items()} == pytest.approx(dict.fromkeys(hits, 0.95), abs=0.103)


def test_where_the_list_is_best_thompson_sampling_does_not_serve() -> None:
    best_first = {"Loyal": (0.10, 0.02, 0.02), "New": (0.05, 0.02, 0.02)}
    found = judge(simulated(10_000, 3, best_first), seed=1)
    assert not found.verdict.is_better
    assert not serves(before=False, verdict=found.verdict)


def test_what_serves_stays_until_the_other_wins() -> None:
    better = judge(simulated(40_000, 1), seed=1).verdict
    unclear = judge(simulated(600, 2, {"Loyal": (0.05, 0.05, 0.05), "New": (0.05, 0.05, 0.05)}), seed=1).verdict
    worse = replace(better, is_better=False, gain=replace(better.gain, low=-0.02, high=-0.01))
    assert (serves(before=False, verdict=better), serves(before=True, verdict=better)) == (True, True)
    assert (serves(before=False, verdict=unclear), serves(before=True, verdict=unclear)) == (False, True)
    assert not serves(before=True, verdict=worse)


def test_offers_that_were_never_tried_are_no_evidence() -> None:
    log = simulated(4_000, 5)
    log = log[log["offer_id"] == "a"].assign(propensity=1.0)
    log["propensities"] = [(1.0, 0.0, 0.0)] * len(log)
    found = judge(log, seed=1)
    assert found.untried["uniform"] == pytest.approx(2 / 3)
    assert found.values["uniform"].overlap.mean_weight == pytest.approx(1 / 3)
    assert not found.values["uniform"].overlap.is_enough
    assert not found.verdict.is_better


def test_counts_are_by_group_and_offer() -> None:
    log = simulated(500, 6)
    counts = {(shown.group, shown.offer_id): (shown.shown, shown.clicked) for shown in learned(log)}
    mine = log[(log["segment"] == "New") & (log["offer_id"] == "a")]
    assert counts[("New", ""), "a"] == (len(mine), mine["reward"].sum())
    assert sum(shown for shown, _ in counts.values()) == len(log)


def result(basis: str, decisions: int, clicked: int, **values: Any) -> dict[str, Any]:
    """A row of counts, of customers with one decision each."""
    counts = {"shown": decisions, "bought": 0, "orders": 0, "revenue": 0.0, "customers": decisions}
    counts |= {"squares": clicked, "products": clicked, "size_squares": decisions}
    keys = {"offer_id": "a", "policy_version": "v1", "segment": "New", "decision_date": date(2026, 5, 4)}
    return {**keys, "basis": basis, "decisions": decisions, "clicked": clicked, **counts, **values}


def test_the_lift_is_over_those_who_drew_the_same_offer_at_random() -> None:
    rows = with_rates(
        pd.DataFrame(
            [
                result("priority_list", 200, 20),
                result("exploration", 50, 2),
                result("plan", 10, 1),
                result("priority_list", 100, 9, segment="Loyal"),
            ]
        )
    )
    first, explored, plan, alone = rows.to_dict("records")
    assert (first["click_rate"], first["click_rate_low"], first["click_rate_high"]) == (0.1, *wilson(20, 200))
    expected = rate_difference(20, 200, 2, 50)  # .1 - .04
    assert (first["lift"], first["lift_low"], first["lift_high"]) == (expected.estimate, expected.low, expected.high)
    assert first["lift"] == pytest.approx(0.06)
    assert first["explored_decisions"] == 50
    for other in (explored, plan, alone):
        assert pd.isna(other["lift"])
    assert list(rows.columns) == list(TABLES["offer_results"].frame_types)


def test_decisions_of_one_customer_count_as_far_as_they_differ() -> None:
    # Ten customers with four decisions each. All four of three customers were clicked: each customer tells as much as one.
    alike = result("plan", 40, 12, customers=10, squares=3 * 16, products=3 * 16, size_squares=160)
    # Each customer clicked one or two of four: no more alike than independent ones.
    spread = result("plan", 40, 15, customers=10, squares=5 * 1 + 5 * 4, products=15 * 4, size_squares=160)
    nobody = result("plan", 40, 0, customers=10, squares=0, products=0, size_squares=160)
    rows = with_rates(pd.DataFrame([alike, spread, nobody])).to_dict("records")
    assert [row["effective_decisions"] for row in rows] == [10, 40, 10]
    for row, (clicked, size) in zip(rows, [(3, 10), (15, 40), (0, 10)], strict=True):
        assert (row["click_rate_low"], row["click_rate_high"]) == pytest.approx(wilson(clicked, size))


def test_intervals_hold_the_rate_where_customers_come_again_and_again() -> None:
    random, truth, repeats = np.random.default_rng(4), 0.1, 400
    held = {"by customer": 0, "by decision": 0}
    for _ in range(repeats):
        sizes = random.integers(1, 12, 120)
        alike = random.beta(truth * 2, (1 - truth) * 2, len(sizes))  # an intraclass correlation of 1/3
        clicked = random.binomial(sizes, alike)
        size, total = float(sizes.sum()), float(clicked.sum())
        between = float(((clicked - total / size * sizes) ** 2).sum())
        effective = effective_size(total, size, between, float((sizes**2).sum()), len(sizes))
        for name, count in (("by customer", effective), ("by decision", size)):
            low, high = wilson(total / size * count, count)
            held[name] += low <= truth <= high
    assert held["by customer"] / repeats == pytest.approx(0.95, abs=0.035)  # 3 standard errors
    assert held["by decision"] / repeats < 0.8


def test_a_log_is_read_with_every_probability_to_the_last_digit() -> None:
    rows = pd.DataFrame({"candidates": ["a|b", "a|b"], "propensities": ["0.30000000000000004|0.7", "1.0|0.0"]})
    assert log_frame(rows)["propensities"].tolist() == [(0.1 + 0.2, 0.7), (1.0, 0.0)]
    assert log_frame(rows)["candidates"].tolist() == [("a", "b")] * 2
    assert "list_offer_id is not null" in LOG  # held out and planned contacts were not drawn


def state(**values: Any) -> PolicyState:
    counts = (Shown(("New", ""), "a", 100.0, 3.0), Shown(("New", ""), "b", 50.0, 9.0))
    base = {"made_at": NOON, "decisions": 150, "thompson_serves": True, "verdict": "better", "counts": counts}
    return PolicyState(**{**base, **values})


def test_the_state_comes_back_and_makes_the_same_policy(tmp_path: Path) -> None:
    place = Place(root=tmp_path)
    assert read_state(place) is None
    write_state(place, state())
    assert read_state(place) == state()
    first, again = (policy_of(found, OfferRules()) for found in (state(), read_state(place)))
    assert first.name == "thompson"
    assert first.version == again.version
    assert policy_of(state(decisions=151), OfferRules()).version == first.version
    assert policy_of(state(counts=state().counts[:1]), OfferRules()).version != first.version


def test_the_list_serves_before_it_is_beaten_where_the_shop_says_so_and_where_the_state_cannot_be_read(tmp_path: Path) -> None:
    assert policy_of(None, OfferRules()) == PriorityList()
    assert policy_of(state(thompson_serves=False), OfferRules()) == PriorityList()
    assert policy_of(state(), OfferRules(policy="priority_list")) == PriorityList()
    place = Place(root=tmp_path)
    write_state(place, state())
    state_file(place).write_text('{"made_at": "yesterday"}')
    found = read_state(place)
    assert policy_of(found, OfferRules()) == PriorityList()
    assert found is not None
    assert "cannot be read" in found.verdict
