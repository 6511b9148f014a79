"""What is believed of a contact's effect: the documented one, the measured one, and everything between."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from customer360.settings import PriorEffect
from ml.effects.prior import Effect, combined, prior_effect

DOCUMENTED = PriorEffect()


def error_of(rate: float, contacts: int, controls: int) -> float:
    return math.sqrt(rate * (1 - rate) * (1 / contacts + 1 / controls))


def test_the_default_is_the_mean_of_both_e_mails_of_the_documented_test() -> None:
    without, mens, womens = 0.0057, 0.0125, 0.0088
    assert DOCUMENTED.mean == pytest.approx((mens + womens) / 2 - without, abs=0.0002)
    assert DOCUMENTED.base_rate == without
    here = prior_effect(0.0057, DOCUMENTED)
    assert (here.mean, here.standard_deviation, here.weight) == (DOCUMENTED.mean, DOCUMENTED.standard_deviation, 0)


def test_at_a_lower_base_rate_it_is_relative_and_at_a_higher_one_no_larger() -> None:
    rare = prior_effect(0.00057, DOCUMENTED)
    assert (rare.mean, rare.standard_deviation) == (pytest.approx(0.0005), pytest.approx(0.0005))
    grocer = prior_effect(0.6, DOCUMENTED)
    assert grocer.mean == 0.005
    assert grocer.standard_deviation == pytest.approx(0.005 * math.sqrt(0.24 / (0.0057 * 0.9943)))
    assert prior_effect(0.0, DOCUMENTED) == Effect(0.0, 0.0, 0.0)
    for rate in (1e-5, 1e-3, 0.0057, 0.05, 0.5, 0.95):
        found = prior_effect(rate, DOCUMENTED)
        assert 0 < found.mean <= min(0.005, 0.88 * rate) * 1.0001


@pytest.mark.parametrize("rate", [0.0057, 0.03, 0.15, 0.6])
def test_above_the_documented_rate_it_is_worth_as_many_controls_at_any_base_rate(rate: float) -> None:
    spread = prior_effect(rate, DOCUMENTED).standard_deviation
    assert rate * (1 - rate) / spread**2 == pytest.approx(227, abs=1)


def test_a_measurement_without_controls_changes_nothing() -> None:
    prior = prior_effect(0.03, DOCUMENTED)
    assert combined(prior, 0.4, math.inf) == prior


@pytest.mark.parametrize(("difference", "error"), [(0.02, 0.02), (0.3, 0.03), (-0.05, 0.01), (0.005, 0.004)])
def test_it_is_the_posterior_of_a_t_prior_worked_out_by_integration(difference: float, error: float) -> None:
    prior = prior_effect(0.1, DOCUMENTED)
    believed = stats.t(3, loc=prior.mean, scale=prior.standard_deviation / math.sqrt(3))

    def moment(power: int) -> float:
        peaks = [prior.mean, difference]
        return float(
            integrate.quad(
                lambda x: x**power * believed.pdf(x) * stats.norm.pdf(difference, x, error), -1, 1, points=peaks, limit=500
            )[0]
        )

    mean = moment(1) / moment(0)
    found = combined(prior, difference, error)
    assert found.mean == pytest.approx(mean, abs=2e-5)
    assert found.standard_deviation == pytest.approx(math.sqrt(moment(2) / moment(0) - mean**2), rel=0.01)


def test_from_no_data_to_many_the_estimate_goes_from_the_prior_to_what_is_measured_without_a_jump() -> None:
    prior = prior_effect(0.05, DOCUMENTED)
    sizes = np.geomspace(1, 1e7, 400)
    found = [combined(prior, 0.02, error_of(0.05, int(10 * size), int(size) + 1)) for size in sizes]
    means, weights = np.array([effect.mean for effect in found]), np.array([effect.weight for effect in found])
    assert means[0] == pytest.approx(prior.mean, abs=2e-4)
    assert means[-1] == pytest.approx(0.02, abs=1e-5)
    assert (np.diff(weights) >= -1e-9).all()
    assert np.abs(np.diff(means)).max() < 0.0005
    widths = [effect.standard_deviation for effect in found]
    assert widths[-1] < 0.0002 and widths[0] == pytest.approx(prior.standard_deviation, rel=0.1)


def test_what_contradicts_the_prior_outweighs_it_with_few_controls() -> None:
    prior = prior_effect(0.15, DOCUMENTED)
    agrees = combined(prior, 0.02, error_of(0.15, 1_000, 100))
    contradicts = combined(prior, 0.25, error_of(0.15, 1_000, 100))
    assert agrees.weight < 0.5
    assert contradicts.weight > 0.85
