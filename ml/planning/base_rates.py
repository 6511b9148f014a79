"""The share of customers who order by themselves within an attribution window: of all of them, and of each."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from customer360.settings import Shop
from ml.arrays import Floats
from ml.planning.rate_predictions import IndexedCustomers, shrunk_shares

RATE_DAYS = 28
_LARGEST = 0.99


class BaseRate(NamedTuple):
    """The share of ``customers`` who order within an attribution window, from the orders of so many ``buyers``."""

    share: float
    buyers: int
    customers: int


def base_rate(orders: pd.DataFrame, customers: int, as_of: datetime, shop: Shop) -> BaseRate | None:
    """The share of all customers who order within an attribution window, mean over the windows of the last 28 days.

    ``orders``: customer_id, ordered_at (plain UTC); ``as_of``: plain UTC. None without customers, or without an order then.
    """
    buyers = _buyers(orders, as_of, shop)
    if not customers or buyers.empty:
        return None
    return BaseRate(len(buyers) / _windows(shop) / customers, buyers["customer_id"].nunique(), customers)


def customer_base_rates(
    customers: IndexedCustomers, orders: pd.DataFrame, purchase_probability: pd.Series[float], as_of: datetime, shop: Shop
) -> Floats:
    """Of each customer the probability of an order within an attribution window without a contact, in their order.

    In proportion to ``purchase_probability`` (of another horizon; by customer_id) where a model serves it, with the base rate
    as mean; who has none has the base rate. Else from the windows of the last 28 days in which the customer ordered, shrunk
    towards the segment and everyone. Nobody is held to be certain not to order: no order in n windows counts as half of one.
    """
    size = len(customers.ids)
    buyers = _buyers(orders, as_of, shop)
    places = customers.places(buyers["customer_id"])
    ordered = np.bincount(places[places >= 0], minlength=size).astype(np.float64)
    windows = float(_windows(shop))
    everyone = (ordered.sum() + 0.5) / (windows * size + 1)
    known = purchase_probability.set_axis(purchase_probability.index.astype(str)).reindex(customers.ids).to_numpy(np.float64)
    if np.nansum(known) > 0:
        relative = np.where(np.isnan(known), 1.0, known / np.nanmean(known))
        return np.asarray(np.clip(everyone * relative, 0.0, _LARGEST), dtype=np.float64)
    counts = np.column_stack([ordered, windows - ordered])
    return shrunk_shares(counts, np.array([everyone, 1 - everyone]), customers.segment, customers.segments)[:, 0]


def _windows(shop: Shop) -> int:
    return max(RATE_DAYS // shop.campaigns.attribution_days, 1)


def _buyers(orders: pd.DataFrame, as_of: datetime, shop: Shop) -> pd.DataFrame:
    """Each customer and window of the last 28 days in which there is an order of theirs, once."""
    width = timedelta(days=shop.campaigns.attribution_days)
    back = (pd.Timestamp(as_of) - orders["ordered_at"]).dt.total_seconds() / width.total_seconds()
    recent: pd.DataFrame = orders.assign(window=np.floor(back))[(back >= 0) & (back < _windows(shop))]
    return recent.drop_duplicates(["customer_id", "window"])
