from __future__ import annotations

import numpy as np
import pytest

from ml.planning.contact_rates import (
    STRENGTH_BOUNDS,
    UNKNOWN,
    ResponsePrior,
    Touches,
    estimate_rates,
    expit,
    logit,
    posterior_mean,
    prior_strength,
)
from ml.planning.rate_predictions import time_shares


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_the_prior_strength_is_the_moment_estimate_worked_out_by_hand() -> None:
    # Two groups of 10 trials, mean .5, 2 and 8 successes: X2 = 2 * 9 / 2.5 = 7.2; rho = (7.2 - 2) / 18; s = 18 / 5.2 - 1.
    assert prior_strength(array(2, 8), array(10, 10), array(0.5, 0.5)) == pytest.approx(18 / 5.2 - 1)
    # A group without trials says nothing.
    assert prior_strength(array(2, 8, 0), array(10, 10, 0), array(0.5, 0.5, 0.5)) == pytest.approx(18 / 5.2 - 1)


def test_the_prior_strength_stays_within_its_bounds() -> None:
    low, high = STRENGTH_BOUNDS
    assert prior_strength(array(5, 5), array(10, 10), array(0.5, 0.5)) == high
    assert prior_strength(array(0, 10), array(10, 10), array(0.5, 0.5)) == low
    assert prior_strength(array(0, 1), array(1, 1), array(0.5, 0.5)) == high
    assert prior_strength(array(), array(), array()) == high


def test_a_group_is_shrunk_towards_its_mean_by_the_prior_strength() -> None:
    # (3 + 8 * .25) / (4 + 8); no trials: the mean itself.
    assert posterior_mean(array(3, 0), array(4, 0), array(0.25, 0.25), 8) == pytest.approx([5 / 12, 0.25])


def test_the_moment_estimate_finds_the_strength_that_rates_were_drawn_with() -> None:
    rng = np.random.default_rng(1)
    rates = rng.beta(2, 18, 4000)
    trials = rng.integers(1, 12, 4000)
    successes = rng.binomial(trials, rates)
    found = prior_strength(successes.astype(float), trials.astype(float), np.full(4000, 0.1))
    assert found == pytest.approx(20, rel=0.25)


def touches(rng: np.random.Generator, truth: np.ndarray, segment: np.ndarray, count: int, known: float = 1.0) -> Touches:
    """Touches at random combinations; ``truth`` is segments x channels x 7 x dayparts."""
    who = rng.integers(0, len(segment), count)
    values = [rng.integers(0, size, count) for size in truth.shape[1:]]
    converted = rng.random(count) < truth[segment[who], values[0], values[1], values[2]]
    shown = [np.where(rng.random(count) < known, value, UNKNOWN) for value in values]
    return Touches(who, segment[who], (shown[0], shown[1], shown[2]), converted.astype(np.float64))


def segment_truth(rng: np.random.Generator, segments: int, spread: float) -> np.ndarray:
    effects = [rng.normal(0, spread, (segments, size)) for size in (3, 7, 3)]
    together = effects[0][:, :, None, None] + effects[1][:, None, :, None] + effects[2][:, None, None, :]
    return expit(-2.5 + together)


@pytest.mark.parametrize("known", [1.0, 0.7])
def test_shrunk_rates_are_nearer_the_truth_than_raw_and_pooled_ones(known: float) -> None:
    rng = np.random.default_rng(2)
    truth = segment_truth(rng, 4, 0.7)
    segment = rng.integers(0, 4, 2000)
    seen = touches(rng, truth, segment, 10_000, known)
    rates = estimate_rates(seen, 4, (3, 7, 3), ResponsePrior.unknown(2000))
    found = expit(rates.segments)
    is_complete = np.logical_and.reduce([values != UNKNOWN for values in seen.values])
    index = (seen.segment[is_complete], *(values[is_complete] for values in seen.values))
    trials, successes = np.zeros(truth.shape), np.zeros(truth.shape)
    np.add.at(trials, index, 1)
    np.add.at(successes, index, seen.converted[is_complete])
    raw = np.where(trials > 0, successes / np.maximum(trials, 1), seen.converted.mean())
    pooled = np.broadcast_to(successes.sum(axis=0) / trials.sum(axis=0), truth.shape)
    error = np.abs(found - truth).mean()
    assert error < 0.6 * np.abs(raw - truth).mean()
    assert error < 0.8 * np.abs(pooled - truth).mean()


def test_without_differences_everyone_gets_nearly_the_same_rate() -> None:
    rng = np.random.default_rng(3)
    segment = rng.integers(0, 4, 1000)
    seen = touches(rng, np.full((4, 3, 7, 3), 0.1), segment, 10_000)
    rates = estimate_rates(seen, 4, (3, 7, 3), ResponsePrior.unknown(1000))
    everyone = expit(rates.log_odds(np.arange(1000), segment))
    assert np.abs(everyone - 0.1).mean() < 0.01


def test_a_customers_own_conversions_move_only_that_customer() -> None:
    rng = np.random.default_rng(4)
    segment = np.zeros(200, dtype=np.int64)
    # Half of the customers always convert, half never: the own history must count.
    who = np.repeat(np.arange(200), 10)
    values = [rng.integers(0, size, 2000) for size in (3, 7, 3)]
    converted = (who % 2).astype(np.float64)
    rates = estimate_rates(
        Touches(who, segment[who], (values[0], values[1], values[2]), converted), 1, (3, 7, 3), ResponsePrior.unknown(201)
    )
    own = expit(rates.log_odds(np.arange(201), np.zeros(201, dtype=np.int64))).mean(axis=(1, 2, 3))
    assert own[1:200:2].min() > 0.8
    assert own[0:200:2].max() < 0.2
    assert own[200] == pytest.approx(0.5, abs=0.1)


def test_without_touches_every_combination_is_equal() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    empty = Touches(nothing, nothing, (nothing, nothing, nothing), array())
    rates = estimate_rates(empty, 1, (3, 7, 3), ResponsePrior.unknown(2))
    assert np.ptp(rates.log_odds(np.arange(2), np.zeros(2, dtype=np.int64))) == 0


def test_without_touches_each_customer_has_the_rate_that_was_expected_before() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    empty = Touches(nothing, nothing, (nothing, nothing, nothing), array())
    rates = estimate_rates(empty, 1, (3, 7, 3), ResponsePrior(array(0.02, 0.3), 200))
    found = expit(rates.log_odds(np.arange(2), np.zeros(2, dtype=np.int64)))
    np.testing.assert_allclose(found[0], 0.02, rtol=1e-9)
    np.testing.assert_allclose(found[1], 0.3, rtol=1e-9)


def test_a_few_touches_move_the_rate_from_what_was_expected_by_as_much_as_they_weigh() -> None:
    who = np.arange(10)
    unknown = np.full(10, UNKNOWN)
    three = Touches(who, np.zeros(10, dtype=np.int64), (unknown, unknown, unknown), array(1, 1, 1, *[0] * 7))
    rates = estimate_rates(three, 1, (3, 7, 3), ResponsePrior(np.full(10, 0.05), 100))
    # 3 of 10, and 5 of the 100 that the expectation counts as; single customers stay near it
    assert expit(rates.log_odds(who, np.zeros(10, dtype=np.int64))).mean() == pytest.approx(8 / 110, rel=0.02)


def test_log_odds_and_back_is_the_same_probability() -> None:
    assert expit(logit(array(0.01, 0.5, 0.99))) == pytest.approx([0.01, 0.5, 0.99])


def test_purchase_times_are_smoothed_towards_the_segment_and_everyone() -> None:
    counts = np.zeros((4, 3))
    counts[0] = [40, 0, 0]
    counts[1] = [0, 40, 0]
    counts[2] = [0, 1, 0]
    shares = time_shares(counts, np.array([0, 1, 1, 0]), 2)
    assert shares.sum(axis=1) == pytest.approx(np.ones(4))
    assert shares.argmax(axis=1).tolist() == [0, 1, 1, 0]
    # The customer without orders has the segment's share, the one with forty stands by its own.
    assert shares[3, 0] < shares[0, 0]
    assert (shares > 0).all()
