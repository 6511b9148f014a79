"""Predictions without a response model: smoothed rates of past touches, and when customers buy if touches do not say when."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.settings import Shop
from ml.planning.contact_rates import UNKNOWN, estimate_rates
from ml.planning.indexed_touches import index_touches, order_counts, universe
from ml.planning.predictions import RESPONSE, Predict, Predicted
from ml.planning.purchase_times import time_shares
from ml.planning.shrinkage import Floats, expit

# Customers x 63 combinations at a time: about 10 MB an array.
BATCH = 20_000


def rate_predictions(customers: pd.DataFrame, touches: pd.DataFrame, purchase_times: pd.DataFrame, shop: Shop) -> Predict:
    """The smoothed share of past touches that converted, by segment and customer, channel, weekday and daypart.

    ``customers``: customer_id, segment. ``touches``: ``campaign_touch_history``. ``purchase_times``: the published table. Where
    too few touches say on which day or when they were made, the odds move with the share of orders that are made then.
    """
    every = universe(customers)
    indexed = index_touches(touches, every, shop)
    rates = estimate_rates(indexed, len(every.ids), every.segments, (len(shop.channels), 7, len(shop.dayparts)))
    shifts = [
        None if (values != UNKNOWN).any() else _shift(time_shares(counts, every.segment, every.segments))
        for values, counts in zip(indexed.values[1:], order_counts(purchase_times, every, shop), strict=True)
    ]

    def predict(_: Campaign, ids: pd.Index[str]) -> Predicted:
        places = np.asarray(every.ids.get_indexer(ids), dtype=np.int64)
        conversion: npt.NDArray[np.float32] = np.empty((len(ids), len(shop.channels), 7, len(shop.dayparts)), dtype=np.float32)
        for start in range(0, len(ids), BATCH):
            rows = places[start : start + BATCH]
            log_odds = rates.log_odds(rows, every.segment[rows])
            if shifts[0] is not None:
                log_odds = log_odds + shifts[0][rows][:, None, :, None]
            if shifts[1] is not None:
                log_odds = log_odds + shifts[1][rows][:, None, None, :]
            conversion[start : start + BATCH] = expit(log_odds)
        return Predicted(conversion, None, None, RESPONSE)

    return predict


def _shift(shares: Floats) -> Floats:
    """Log of each share over an equal one."""
    return np.asarray(np.log(shares * shares.shape[1]), dtype=np.float64)
