"""Empirical Bayes for rates: how far a group's own rate is believed, learned from how much groups differ.

Beta-binomial model: group j has c_j successes in n_j trials, and its rate is Beta with mean m_j (what the layer above expects)
and strength s, counted in trials. The posterior mean is (c + s m) / (n + s). s comes from the data by the method of moments
(Kleinman, Proportions with extraneous variance, JASA 1973; Williams, Extra-binomial variation, Applied Statistics 1982):
Pearson's X2 = sum (c - n m)^2 / (n m (1 - m)) has expectation sum (1 + (n - 1) rho) with rho = 1 / (s + 1).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Below 1 trial a prior says nothing, above 10,000 everything; the upper bound is also what groups that differ by chance give.
STRENGTH_BOUNDS = (1.0, 10_000.0)
_EDGE = 1e-6


def prior_strength(successes: Floats, trials: Floats, means: Floats) -> float:
    """The strength s in trials, within ``STRENGTH_BOUNDS``. Groups without trials are left out."""
    low, high = STRENGTH_BOUNDS
    used = trials > 0
    n, c, m = trials[used], successes[used], np.clip(means[used], _EDGE, 1 - _EDGE)
    spare = float((n - 1).sum())
    if spare <= 0:
        return high
    rho = (float(((c - n * m) ** 2 / (n * m * (1 - m))).sum()) - len(n)) / spare
    return high if rho <= 0 else min(max(1 / rho - 1, low), high)


def posterior_mean(successes: Floats, trials: Floats, means: Floats, strength: float) -> Floats:
    """(c + s m) / (n + s)."""
    return np.asarray((successes + strength * means) / (trials + strength), dtype=np.float64)


def logit(probability: Floats) -> Floats:
    """Log-odds, with probabilities kept within 1e-6 of 0 and 1."""
    clipped = np.clip(probability, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(clipped / (1 - clipped)), dtype=np.float64)


def expit(log_odds: Floats) -> Floats:
    """The inverse of ``logit``."""
    return np.asarray(1 / (1 + np.exp(-log_odds)), dtype=np.float64)
