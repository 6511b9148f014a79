"""The Qini curve on worlds whose effects are known."""

import numpy as np
import pytest

from ml.effects.qini import Qini, qini


def drawn(p0: np.ndarray, effect: np.ndarray, contacted_share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    is_contacted = chance.random(len(p0)) < contacted_share
    return is_contacted, chance.random(len(p0)) < p0 + effect * is_contacted


@pytest.fixture(scope="module")
def customers() -> dict[str, np.ndarray]:
    """30,000 customers; those who order anyway are not those whom a contact changes."""
    chance = np.random.default_rng(5)
    return {"p0": chance.beta(1, 9, 30_000), "effect": 0.3 * chance.beta(0.5, 2.5, 30_000)}


def exact_area(ranking: np.ndarray, effect: np.ndarray) -> float:
    """Mean distance from the expected curve to the line, from the effects themselves."""
    added = np.concatenate([[0.0], np.cumsum(effect[np.argsort(-ranking)]) / len(effect)])
    share = np.linspace(0, 1, len(added))
    return float(np.mean(added - share * added[-1]))


def test_a_curve_by_hand_with_arms_of_unequal_size():
    """Contacts a to d (a and b convert), controls e and f (f converts); ranked a, e, b, f, c, d."""
    scores = np.array([6.0, 4, 2, 1, 5, 3])
    is_contacted = np.array([True, True, True, True, False, False])
    is_converted = np.array([True, True, False, False, False, True])
    found = qini(scores, is_contacted, is_converted, seed=1, resamples=50)
    assert found.curve["share"].tolist() == pytest.approx([0, 1 / 8, 3 / 8, 4 / 8, 6 / 8, 7 / 8, 1])
    assert found.curve["added"].tolist() == pytest.approx([0, 1 / 4, 1 / 4, 2 / 4, 0, 0, 0])
    # trapezoids: 1/8 * 1/8 + 1/4 * 1/4 + 1/8 * 3/8 + 1/4 * 1/4, and everyone adds 2/4 - 1/2 = 0
    assert found.area.estimate == pytest.approx(1 / 64 + 1 / 16 + 3 / 64 + 1 / 16)
    assert found.everyone.estimate == 0
    assert np.isnan(found.coefficient)
    assert (found.contacts, found.controls) == (4, 2)


def test_the_best_ranking_there_can_be_has_the_coefficient_one():
    """Half the customers convert by the contact and never otherwise, the others never."""
    scores = np.repeat([1.0, 0.0], 100)
    is_contacted = np.tile([True, False], 100)
    is_converted = is_contacted & (scores == 1)
    found = qini(scores, is_contacted, is_converted, seed=1)
    assert found.everyone.estimate == 0.5
    assert found.area.estimate == pytest.approx(0.125)
    assert found.coefficient == pytest.approx(1.0)
    assert qini(-scores, is_contacted, is_converted, seed=1).coefficient == pytest.approx(-1.0)


@pytest.mark.parametrize("contacted_share", [0.5, 0.9])
def test_the_area_is_that_of_the_effects_themselves_whatever_the_sizes_of_the_arms(customers, contacted_share):
    is_contacted, is_converted = drawn(customers["p0"], customers["effect"], contacted_share, seed=2)
    found = qini(customers["effect"], is_contacted, is_converted, seed=1)
    assert found.area.low < exact_area(customers["effect"], customers["effect"]) < found.area.high
    assert found.everyone.low < customers["effect"].mean() < found.everyone.high
    assert found.beats_random


def test_ranking_by_the_true_effect_has_the_largest_area(customers):
    is_contacted, is_converted = drawn(customers["p0"], customers["effect"], 0.8, seed=3)
    rankings = {
        "effect": customers["effect"],
        "noisy effect": customers["effect"] + np.random.default_rng(1).normal(0, 0.1, 30_000),
        "response": customers["p0"] + customers["effect"],
        "without contact": customers["p0"],
        "reversed": -customers["effect"],
    }
    areas = {name: qini(score, is_contacted, is_converted, seed=1).area.estimate for name, score in rankings.items()}
    assert max(areas, key=lambda name: areas[name]) == "effect"
    assert areas["effect"] > areas["noisy effect"] > 0 > areas["reversed"]
    assert areas["effect"] > areas["response"] + 0.002


@pytest.mark.full
def test_the_interval_of_a_random_ranking_covers_zero_nearly_always(customers):
    covers = beats = 0
    for seed in range(60):
        is_contacted, is_converted = drawn(customers["p0"][:4_000], customers["effect"][:4_000], 0.8, seed=seed)
        scores = np.random.default_rng(1_000 + seed).random(4_000)
        found = qini(scores, is_contacted, is_converted, seed=2_000 + seed)
        covers += found.area.low <= 0 <= found.area.high
        beats += found.beats_random
    # of 60 intervals at 95%, fewer than 52 cover with a probability of .003, and more than 5 lie above with .002
    assert covers >= 52
    assert beats <= 5


def test_where_contacts_change_nothing_no_ranking_beats_random(customers):
    beats = 0
    for seed in range(40):
        is_contacted, is_converted = drawn(customers["p0"][:4_000], np.zeros(4_000), 0.8, seed=seed)
        beats += qini(customers["p0"][:4_000], is_contacted, is_converted, seed=seed, resamples=200).beats_random
    assert beats <= 4


def test_equal_scores_are_one_step_so_that_a_constant_is_the_random_line(customers):
    is_contacted, is_converted = drawn(customers["p0"], customers["effect"], 0.7, seed=4)
    found = qini(np.ones(30_000), is_contacted, is_converted, seed=1, resamples=50)
    assert found.curve["share"].tolist() == [0.0, 1.0]
    assert found.area.estimate == pytest.approx(0, abs=1e-15)
    assert not found.beats_random


def test_rows_of_one_customer_are_drawn_together(customers):
    """Ten copies of each row tell nothing new: the interval stays as wide, where rows drawn alone would say it is narrow."""
    rows = slice(0, 2_000)
    is_contacted, is_converted = (part[rows] for part in drawn(customers["p0"], customers["effect"], 0.5, seed=6))
    scores, who = customers["effect"][rows], np.arange(2_000)
    once = qini(scores, is_contacted, is_converted, seed=1)
    copied = [np.tile(part, 10) for part in (scores, is_contacted, is_converted)]
    together = qini(*copied, seed=1, customers=np.tile(who, 10).astype(object))
    alone = qini(*copied, seed=1)

    def width(found: Qini) -> float:
        return found.area.high - found.area.low

    assert together.area.estimate == pytest.approx(once.area.estimate)
    assert width(together) == pytest.approx(width(once), rel=0.15)
    assert width(alone) < 0.5 * width(once)


def test_the_same_rows_give_the_same_figures_and_words(customers):
    is_contacted, is_converted = drawn(customers["p0"], customers["effect"], 0.5, seed=7)
    first, second = (qini(customers["effect"], is_contacted, is_converted, seed=9, resamples=100) for _ in range(2))
    assert first.area == second.area
    assert first.to_markdown() == second.to_markdown()
    assert "better than random beyond chance" in first.verdict
    assert first.plot().startswith(b"\x89PNG")


def test_an_empty_arm_and_missing_scores_are_refused():
    with pytest.raises(ValueError, match="one of them is empty"):
        qini(np.ones(3), np.ones(3, dtype=bool), np.ones(3, dtype=bool), seed=1)
    with pytest.raises(ValueError, match="score of every row"):
        qini(np.array([np.nan, 1.0]), np.array([True, False]), np.array([True, False]), seed=1)
