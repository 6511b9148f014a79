"""When a customer buys: weekday and daypart shares, smoothed towards the segment and then everyone.

They stand in where past touches do not say when they reached the customer.
"""

from __future__ import annotations

import numpy as np

from ml.planning.contact_rates import Integers
from ml.planning.shrinkage import Floats, posterior_mean, prior_strength


def time_shares(counts: Floats, segment: Integers, segments: int) -> Floats:
    """Customers x values: each customer's share of orders by weekday (or daypart). Rows sum to 1.

    ``counts``: orders by customer and value. Everyone's share is add-one smoothed; a segment's, then a customer's own share is
    shrunk towards the layer above by the beta-binomial of ``ml.planning.shrinkage``. Without orders: the segment's share.
    """
    total = counts.sum(axis=0)
    everyone = (total + 1) / (total.sum() + counts.shape[1])
    sums = [np.bincount(segment, weights=column, minlength=segments) for column in counts.T]
    by_segment = np.asarray(np.column_stack(sums), dtype=np.float64)
    shares = _shrink(by_segment, np.tile(everyone, (segments, 1)))
    return _shrink(counts, shares[segment])


def _shrink(counts: Floats, means: Floats) -> Floats:
    trials = np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)
    strength = prior_strength(counts.ravel(), trials.ravel(), means.ravel())
    return posterior_mean(counts, trials, means, strength)
