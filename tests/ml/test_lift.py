"""Intervals of differences: against published numbers, against simulation, and where there is nothing to compare."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ml.effects.lift import Z, adjusted_difference, anytime_z, mean_difference, rate_difference
from ml.effects.power import customers_needed, detectable_effect, holdout_needed


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [  # Newcombe (1998), table II, method 10
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 20), -0.1611, 0.2775),
        ((10, 10, 0, 10), 0.6075, 1.0),
    ],
)
def test_the_difference_of_rates_has_newcombes_published_interval(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    found = rate_difference(*counts)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert found.estimate == pytest.approx(counts[0] / counts[1] - counts[2] / counts[3])


def test_the_interval_of_rates_keeps_its_coverage_where_walds_does_not() -> None:
    chance, truth = np.random.default_rng(11), 0.03 - 0.02
    drawn = zip(chance.binomial(900, 0.03, 4000), chance.binomial(100, 0.02, 4000), strict=True)
    ours = walds = 0
    for contacted, held in drawn:
        found = rate_difference(int(contacted), 900, int(held), 100)
        ours += found.low <= truth <= found.high
        rates = contacted / 900, held / 100
        half = 1.96 * math.sqrt(rates[0] * (1 - rates[0]) / 900 + rates[1] * (1 - rates[1]) / 100)
        walds += abs(rates[0] - rates[1] - truth) <= half
    assert 0.945 < ours / 4000 < 0.98
    assert walds / 4000 < 0.90


LOOKS = 30


def ever_excluding(customers: int, share: float, rates: tuple[float, float], campaigns: int) -> tuple[float, float]:
    """Shares of campaigns, looked at daily, whose interval ever leaves the true difference out: anytime-valid, and fixed."""
    chance, daily = np.random.default_rng(12), (round(customers * (1 - share) / LOOKS), round(customers * share / LOOKS))
    drawn = [chance.binomial(size, rate, (campaigns, LOOKS)).cumsum(axis=1) for size, rate in zip(daily, rates, strict=True)]
    truth, left = rates[0] - rates[1], np.zeros((campaigns, 2), dtype=bool)
    for look in range(LOOKS):
        sizes = [size * (look + 1) for size in daily]
        for place, z in enumerate((anytime_z(*sizes), Z)):
            for campaign in np.flatnonzero(~left[:, place]):
                converted = [int(arm[campaign, look]) for arm in drawn]
                found = rate_difference(converted[0], sizes[0], converted[1], sizes[1], z)
                left[campaign, place] = not found.low <= truth <= found.high
    return float(left[:, 0].mean()), float(left[:, 1].mean())


@pytest.mark.parametrize(
    ("customers", "share", "rates", "campaigns"),
    [
        (6_000, 0.1, (0.03, 0.03), 1_000),
        *(
            pytest.param(customers, share, rates, 4_000, marks=pytest.mark.exhaustive)
            for customers in (900, 6_000, 36_000)
            for share in (0.1, 0.5)
            for rates in ((0.02, 0.02), (0.2, 0.2), (0.05, 0.02))
        ),
    ],
)
def test_the_anytime_interval_holds_the_truth_on_all_days_at_once_and_the_fixed_one_does_not(
    customers: int, share: float, rates: tuple[float, float], campaigns: int
) -> None:
    anytime, fixed = ever_excluding(customers, share, rates, campaigns)
    assert anytime <= 0.05
    assert fixed > 0.1


def test_the_anytime_boundary_is_robbins() -> None:
    # P(|W(t)| >= sqrt((t + m) log((t + m) / (m a^2))) for any t) = a, by hand at t = m: sqrt(2 (log 2 - 2 log a)) errors.
    mixture = 400 / (5.9915 + math.log(5.9915) + 1)
    assert anytime_z(2 * mixture, 2 * mixture) == pytest.approx(math.sqrt(2 * (math.log(2) + 5.9915)), abs=1e-3)
    assert anytime_z(800, 800) == min(anytime_z(size, size) for size in range(100, 4_000, 100))
    assert anytime_z(0, 10) == math.inf


def test_the_difference_of_means_is_welchs() -> None:
    chance = np.random.default_rng(3)
    first, second = chance.gamma(2, 10, 80), chance.gamma(2, 8, 30)
    found = mean_difference(first, second)
    theirs = stats.ttest_ind(first, second, equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_spend_before_narrows_the_interval_and_does_not_move_the_truth() -> None:
    chance, plain, adjusted, covered = np.random.default_rng(4), [], [], 0
    for _ in range(300):
        before = chance.gamma(1, 20, 1000)
        after = 0.8 * before + chance.normal(0, 6, 1000)
        after[:800] += 2.0
        raw = mean_difference(after[:800], after[800:])
        cuped = adjusted_difference(after[:800], before[:800], after[800:], before[800:])
        plain.append(raw.high - raw.low)
        adjusted.append(cuped.high - cuped.low)
        covered += cuped.low <= 2.0 <= cuped.high
    # The correlation is 16 / sqrt(16^2 + 6^2) = .936, so the width shrinks to sqrt(1 - .936^2) = .35 of it.
    assert np.mean(adjusted) / np.mean(plain) == pytest.approx(0.35, abs=0.02)
    assert 0.92 < covered / 300 < 0.98


def test_where_nobody_bought_before_nothing_is_adjusted() -> None:
    values, control = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.5])
    assert adjusted_difference(values, np.zeros(3), control, np.zeros(2)) == mean_difference(values, control)


def test_nobody_to_compare_with_gives_no_numbers() -> None:
    nothing = np.array([])
    assert math.isnan(rate_difference(3, 10, 0, 0).estimate)
    assert math.isnan(mean_difference(np.ones(3), nothing).low)
    assert math.isnan(adjusted_difference(nothing, nothing, np.ones(3), np.ones(3)).estimate)
    assert math.isnan(mean_difference(np.ones(1), np.zeros(3)).low)


@pytest.mark.parametrize("control", [np.zeros(3), np.full(3, 0.1)])
@pytest.mark.parametrize("values", [np.zeros(4), np.full(4, 0.1), np.array([0.0, 0.0, 30.0, 10.0])])
def test_an_arm_in_which_all_spent_alike_gives_a_difference_without_bounds(values: np.ndarray, control: np.ndarray) -> None:
    for found in (
        mean_difference(values, control),
        adjusted_difference(values, np.array([1.0, 5.0, 2.0, 0.0]), control, np.array([4.0, 0.0, 1.0])),
    ):
        assert found.estimate == pytest.approx(values.sum() / 4 - control[0])
        assert math.isnan(found.low)
        assert math.isnan(found.high)


def test_sizes_agree_with_a_published_table_and_with_each_other() -> None:
    # Fleiss, Levin and Paik: .25 against .40 at 5% and 80% power takes 152 a group without the correction.
    needed = customers_needed(0.25, 0.15, 0.5)
    assert needed is not None and needed / 2 == pytest.approx(152, abs=3)
    assert holdout_needed(0.25, 0.15, needed // 2) == pytest.approx(needed / 2, abs=2)
    assert detectable_effect(0.25, needed // 2, needed // 2) == pytest.approx(0.15, abs=0.001)


@pytest.mark.parametrize(
    ("base", "effect", "share"), [(0.04, 0.02, 0.1), (0.02, 0.01, 0.05), (0.3, 0.1, 0.5), (0.05, -0.02, 0.2)]
)
def test_the_size_that_is_named_finds_the_effect_four_times_out_of_five(base: float, effect: float, share: float) -> None:
    needed = customers_needed(base, effect, share)
    assert needed is not None
    held = round(needed * share)
    contacts = needed - held
    chance, found = np.random.default_rng(8), 0
    for among_contacts, among_held in zip(
        chance.binomial(contacts, base + effect, 4000), chance.binomial(held, base, 4000), strict=True
    ):
        interval = rate_difference(int(among_contacts), contacts, int(among_held), held)
        found += interval.low > 0 if effect > 0 else interval.high < 0
    assert found / 4000 == pytest.approx(0.8, abs=0.03)


def test_what_no_size_would_show_has_none() -> None:
    assert customers_needed(0.1, 0.0, 0.1) is None
    assert customers_needed(0.1, 0.95, 0.1) is None
    assert customers_needed(0.1, 0.02, 0.0) is None
    assert holdout_needed(0.1, 0.001, 100) is None
    assert detectable_effect(0.1, 100, 0) is None
    assert detectable_effect(1.0, 50, 50) is None


def test_what_is_detectable_shrinks_as_either_arm_grows() -> None:
    sizes = [(100, 10), (100, 100), (1000, 100), (1000, 1000), (100_000, 1000), (100_000, 100_000)]
    found = [detectable_effect(0.05, contacts, held) for contacts, held in sizes]
    assert all(effect is not None for effect in found)
    assert found == sorted(found, reverse=True)
