"""Calibration and decisions, on probabilities whose truth is drawn here."""

from __future__ import annotations

import numpy as np
import pytest

from ml.bootstrap import interval, mean_interval
from ml.fitting.calibration import Calibration, Curve, correct_odds, fit_calibration, fit_odds_factor
from ml.fitting.decisions import decision_weights, weighted_argmax
from ml.measures import calibration_error, log_loss, macro_f1

CLASSES = 3


def drawn(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """True probabilities and outcomes drawn from them."""
    chance = np.random.default_rng(seed)
    truth = chance.dirichlet([2.0, 1.0, 0.5], rows)
    return truth, (truth.cumsum(axis=1) < chance.random((rows, 1))).sum(axis=1)


def sharpened(probabilities: np.ndarray, power: float) -> np.ndarray:
    powered = probabilities**power
    return powered / powered.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("power", [2.0, 0.5])
def test_the_temperature_that_was_applied_is_found(power: float) -> None:
    probabilities, outcomes = drawn(20_000, 1)
    found = fit_calibration(sharpened(probabilities, power), outcomes)
    assert found.method == "temperature"
    assert found.temperature == pytest.approx(power, rel=0.05)
    mended = found.apply(sharpened(probabilities, power))
    assert mended == pytest.approx(probabilities, abs=0.03)
    assert mended.sum(axis=1) == pytest.approx(1)


def test_what_no_temperature_mends_isotonic_regression_does() -> None:
    probabilities, outcomes = drawn(20_000, 2)
    bent = probabilities * [1.0, 1.0, 0.2]
    bent /= bent.sum(axis=1, keepdims=True)
    found = fit_calibration(bent, outcomes)
    assert found.method == "isotonic"
    fresh, fresh_outcomes = drawn(20_000, 3)
    wrong = fresh * [1.0, 1.0, 0.2]
    wrong /= wrong.sum(axis=1, keepdims=True)
    assert log_loss(found.apply(wrong), fresh_outcomes) < log_loss(wrong, fresh_outcomes) - 0.02
    assert calibration_error(found.apply(wrong), fresh_outcomes) < calibration_error(wrong, fresh_outcomes) / 2


def test_honest_probabilities_stay_nearly_as_they_are() -> None:
    probabilities, outcomes = drawn(5_000, 4)
    found = fit_calibration(probabilities, outcomes)
    assert found.method in {"none", "temperature"}
    assert found.apply(probabilities) == pytest.approx(probabilities, abs=0.05)


def test_few_rows_teach_no_calibration() -> None:
    probabilities, outcomes = drawn(40, 5)
    assert fit_calibration(probabilities, outcomes) == Calibration()


def test_odds_are_corrected_to_the_share_that_came() -> None:
    even = np.tile([0.3, 0.2, 0.5], (400, 1))  # odds of buying 1; a quarter bought, odds 1/3
    outcomes = np.array([0, 2, 2, 2] * 100)
    factor = fit_odds_factor(even, outcomes, [2])
    assert factor == pytest.approx(1 / 3)
    assert correct_odds(even, [2], factor)[0] == pytest.approx([0.15, 0.1, 0.75])


def test_few_or_extreme_rows_move_no_odds_far() -> None:
    even = np.tile([0.5, 0.5], (1_000, 1))
    assert fit_odds_factor(even, np.array([0] * 49 + [1] * 951), [1]) == 1
    assert fit_odds_factor(even, np.array([0] * 50 + [1] * 950), [1]) == pytest.approx(0.2)  # 1/19 would be the share's
    assert fit_odds_factor(even, np.array([0] * 950 + [1] * 50), [1]) == pytest.approx(5)


def test_a_calibration_survives_being_written_down() -> None:
    curve = Curve(predicted=(0.0, 0.5, 1.0), observed=(0.0, 0.2, 0.9))
    calibration = Calibration(method="isotonic", curves=(curve,) * CLASSES)
    again = Calibration.model_validate_json(calibration.model_dump_json())
    probabilities, _ = drawn(10, 6)
    assert np.array_equal(again.apply(probabilities), calibration.apply(probabilities))


def test_isotonic_curves_are_followed_by_hand() -> None:
    curve = Curve(predicted=(0.0, 0.5, 1.0), observed=(0.0, 0.2, 0.8))
    found = Calibration(method="isotonic", curves=(curve, curve)).apply(np.array([[0.25, 0.75]]))
    # .25 -> .1, .75 -> .5; renormalised.
    assert found[0] == pytest.approx([0.1 / 0.6, 0.5 / 0.6])


def test_the_calibration_error_is_that_worked_out_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]])
    # Class 0: bin .9 says 1.8, one came: gap .8; bin .2 says .2, none came. Class 1: .2 against 1, and .8 against 1.
    assert calibration_error(probabilities, np.array([0, 1, 1])) == pytest.approx((0.8 + 0.2 + 0.8 + 0.2) / 6)


def test_decisions_name_a_rare_class_and_leave_probabilities_alone() -> None:
    chance = np.random.default_rng(7)
    signal = chance.random(20_000)
    rare = 0.45 * signal**3
    probabilities = np.column_stack([1 - rare, rare])
    outcomes = (chance.random(20_000) < rare).astype(int)
    weights = decision_weights(probabilities[:10_000], outcomes[:10_000])
    plain = macro_f1(probabilities[10_000:].argmax(axis=1), outcomes[10_000:], 2)
    weighted = macro_f1(weighted_argmax(probabilities[10_000:], weights), outcomes[10_000:], 2)
    assert plain < 0.5
    assert weighted > 0.6
    # The best line in hindsight, by trying all of them.
    lines = [macro_f1((rare[10_000:] > line).astype(int), outcomes[10_000:], 2) for line in np.linspace(0.01, 0.44, 100)]
    assert weighted > max(lines) - 0.02


def test_a_class_without_rows_keeps_its_weight() -> None:
    probabilities, outcomes = drawn(2_000, 8)
    weights = decision_weights(probabilities[outcomes != 2], outcomes[outcomes != 2])
    assert weights[2] == 1


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    values = np.random.default_rng(9).normal(3.0, 2.0, 2_000)
    found = mean_interval(values, seed=1)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    assert mean_interval(values, seed=1) == found


def test_an_interval_undoes_what_resampling_adds() -> None:
    found = interval(1.0, np.linspace(1.1, 1.5, 101))
    assert (found.low, found.high) == pytest.approx((0.51, 0.89))
