"""What a customer's order is worth on average: the Gamma-Gamma model, which shrinks the own mean towards all customers'.

Fader and Hardie, The Gamma-Gamma Model of Monetary Value, 2013; Fader, Hardie and Lee, RFM and CLV: Using Iso-Value Curves for
Customer Base Analysis, Journal of Marketing Research, 2005. It takes the value of orders for independent of their number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln

from ml.arrays import Floats

BOUNDS = ((-5.0, 10.0), (1e-4, 10.0), (-10.0, 20.0))  # of the logarithms; q above 1, so that there is a mean


@dataclass(frozen=True)
class OrderValue:
    """A fitted model: an order is gamma (shape p), its rate over customers gamma (shape q, rate v; v in currency)."""

    p: float
    q: float
    v: float

    def expected(self, orders: Floats, mean_value: Floats) -> Floats:
        """Mean value of each customer's future orders, in currency; all customers' where no order is known."""
        known = np.where(orders > 0, orders * np.maximum(np.nan_to_num(mean_value), 0), 0)
        return self.p * (self.v + known) / (self.p * orders + self.q - 1)


def fit_order_value(orders: Floats, mean_value: Floats) -> OrderValue:
    """The parameters under which the customers' mean values are most likely, by those with orders and a mean above 0.

    Raises ``ValueError`` where there are fewer than two of them.
    """
    is_known = (orders > 0) & (mean_value > 0)
    x, mean = orders[is_known], mean_value[is_known]
    if len(x) < 2:
        raise ValueError("fewer than two customers have paid for an order: a model of its value has nothing to learn from")
    scale = float(mean.mean())
    found = minimize(_loss, (1.0, 1.0, 1.0), (x, mean / scale), method="L-BFGS-B", bounds=BOUNDS)
    p, q, v = (float(value) for value in np.exp(found.x))
    return OrderValue(p, q, v * scale)


def _loss(logarithms: Floats, x: Floats, mean: Floats) -> float:
    p, q, v = np.exp(logarithms)
    likelihoods = gammaln(p * x + q) - gammaln(p * x) - gammaln(q) + q * np.log(v)
    likelihoods += (p * x - 1) * np.log(mean) + p * x * np.log(x) - (p * x + q) * np.log(x * mean + v)
    return -float(likelihoods.mean())
