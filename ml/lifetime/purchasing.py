"""How often customers will buy: BG/NBD, and its modification by which a customer may be lost after the first order too.

While a customer is alive, orders come at a rate that is gamma distributed over customers (shape r, rate alpha); after an order
a customer is lost with a probability that is beta distributed (a, b). BG/NBD: after each repeat order (Fader, Hardie and Lee,
"Counting Your Customers" the Easy Way, Marketing Science, 2005). MBG/NBD: after the first order too, so that who bought once
need not be alive (Batislam, Denizel and Filiztekin, Empirical validation and comparison of models for customer base
analysis, International Journal of Research in Marketing, 2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln, hyp2f1

from ml.arrays import Floats

STARTS = ((0.0, 0.0, 0.0, 0.0), (0.0, 3.0, 0.0, 2.0))
BOUNDS = (-8.0, 10.0)  # of the logarithms of the parameters


@dataclass(frozen=True)
class Buying:
    """What the models know of each customer.

    ``repeats``: days with an order after the first such day. ``recency``: time from the first to the last. ``age``: time from
    the first to the moment. All times in one unit.
    """

    repeats: Floats
    recency: Floats
    age: Floats


@dataclass(frozen=True)
class Purchasing:
    """A fitted model: parameters, rates per unit of time; ``first_counts``: MBG/NBD. ``log_likelihood`` in nats."""

    r: float
    alpha: float
    a: float
    b: float
    first_counts: bool
    log_likelihood: float

    def alive(self, buying: Buying) -> Floats:
        """Probability that each customer still buys. By BG/NBD 1 of who bought once."""
        chances = buying.repeats + (1 if self.first_counts else 0)
        log_odds = (
            np.log(self.a)
            - np.log(self.b + np.maximum(chances, 1) - 1)
            + (self.r + buying.repeats) * np.log((self.alpha + buying.age) / (self.alpha + buying.recency))
        )
        return np.where(chances > 0, 1 / (1 + np.exp(np.minimum(log_odds, 700))), 1.0)

    def expected(self, buying: Buying, horizon: float) -> Floats:
        """Order days to expect of each customer within ``horizon`` from now.

        Euler's transformation of the published formula (Abramowitz and Stegun, 15.3.3): as printed, the hypergeometric function
        overflows for customers with hundreds of orders, whose answer then is not a number.
        """
        r, a, b = self.r, self.a, self.b + (1 if self.first_counts else 0)
        if abs(a - 1) < 1e-6:  # the formula divides by a - 1
            a += 2e-6
        share = horizon / (self.alpha + buying.age + horizon)
        total = a + b + buying.repeats - 1
        lost = (1 - share) ** (a - 1) * hyp2f1(a + b - 1 - r, a - 1, total, share)
        return np.asarray(np.maximum(total / (a - 1) * (1 - lost), 0) * self.alive(buying), dtype=np.float64)


def fit_purchasing(buying: Buying, *, first_counts: bool) -> Purchasing:
    """The parameters under which the customers' histories are most likely. Customers with equal histories are counted once.

    Raises ``ValueError`` without a customer who bought on two days: nothing tells the rate from the loss then.
    """
    if not (buying.repeats > 0).any():
        raise ValueError("no customer has bought on two days: a model of repeat buying has nothing to learn from")
    rows, counts = np.unique(np.column_stack([buying.repeats, buying.recency, buying.age]), axis=0, return_counts=True)
    unique, weights = Buying(*rows.T), counts / counts.sum()
    found = [
        minimize(_loss, start, (unique, weights, first_counts), method="L-BFGS-B", bounds=[BOUNDS] * 4) for start in STARTS
    ]
    best = min(found, key=lambda fit: float(fit.fun))
    r, alpha, a, b = (float(value) for value in np.exp(best.x))
    return Purchasing(r, alpha, a, b, first_counts, -float(best.fun) * int(counts.sum()))


def likeliest_purchasing(buying: Buying) -> Purchasing:
    """BG/NBD or MBG/NBD, which have the same number of parameters: the one under which the histories are more likely."""
    return max((fit_purchasing(buying, first_counts=first) for first in (False, True)), key=lambda model: model.log_likelihood)


def _loss(logarithms: Floats, buying: Buying, weights: Floats, first_counts: bool) -> float:
    r, alpha, a, b = np.exp(logarithms)
    x, chances = buying.repeats, buying.repeats + (1 if first_counts else 0)
    common = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    common += gammaln(a + b) - gammaln(b) + gammaln(b + chances) - gammaln(a + b + chances)
    is_alive = -(r + x) * np.log(alpha + buying.age)
    is_lost = np.log(a) - np.log(b + np.maximum(chances, 1) - 1) - (r + x) * np.log(alpha + buying.recency)
    likelihoods = common + np.logaddexp(is_alive, np.where(chances > 0, is_lost, -np.inf))
    return -float(weights @ likelihoods)
