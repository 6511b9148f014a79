"""The effect of a contact where little or nothing was measured: what documented campaigns found, combined with the shop's own.

The prior (``campaigns.prior_effect`` of shop.yaml) is of a test at another base rate. Below that rate it is taken as relative,
so mean and standard deviation shrink with the base rate; above it the mean stays, since nothing documented says more, and the
standard deviation grows with that of a single order, sqrt(b (1 - b)), so that as many controls outweigh it at any base rate:
some 230 with the default.

The combination is that of a Student t prior and a normal measurement. The t distribution is a mixture of normal ones, so each
part is the textbook average weighted by precisions. Its heavy tails let a measurement that contradicts the prior win (O'Hagan
and Pericchi, Bayesian heavy-tailed models and conflict resolution, Brazilian Journal of Probability and Statistics 26, 2012).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from customer360.settings import PriorEffect

FREEDOM = 3  # of the t distribution: the fewest whole number with which it has a standard deviation
_PRECISIONS = np.geomspace(1e-6, 20, 600)  # of the parts of the mixture, relative to its scale


@dataclass(frozen=True)
class Effect:
    """What a contact adds to the share of customers who order: mean and standard deviation of what is believed.

    ``weight``: of the measurement, 0 (the prior alone) to 1 (the measurement alone).
    """

    mean: float
    standard_deviation: float
    weight: float


def prior_effect(base_rate: float, documented: PriorEffect) -> Effect:
    """The prior at a shop's ``base_rate``: the share that orders within an attribution window without a contact."""
    relative = base_rate / documented.base_rate
    spread = math.sqrt(base_rate * (1 - base_rate) / (documented.base_rate * (1 - documented.base_rate)))
    return Effect(documented.mean * min(relative, 1.0), documented.standard_deviation * min(relative, max(spread, 1.0)), 0.0)


def combined(prior: Effect, difference: float, error: float) -> Effect:
    """The prior and a measured ``difference`` of shares with its standard ``error``; with an infinite one, the prior."""
    if math.isinf(error):
        return prior
    variances = prior.standard_deviation**2 * (FREEDOM - 2) / FREEDOM / _PRECISIONS
    total = variances + error**2
    surprise = difference - prior.mean
    prior_density = stats.gamma.logpdf(_PRECISIONS, FREEDOM / 2, scale=2 / FREEDOM) + np.log(_PRECISIONS)
    parts = special.softmax(prior_density - 0.5 * np.log(total) - 0.5 * surprise**2 / total)
    weights = variances / total
    weight = float(parts @ weights)
    variance = float(parts @ (weights * error**2 + ((weights - weight) * surprise) ** 2))
    return Effect(prior.mean + weight * surprise, math.sqrt(variance), weight)
