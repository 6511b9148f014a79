"""Responses without a response model: smoothed rates of past touches; until there are any, what is expected before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from customer360.campaigns.definition import Campaign
from customer360.settings import Shop
from ml.arrays import Floats, Integers, SingleFloats
from ml.planning.contact_rates import (
    UNKNOWN,
    ResponsePrior,
    Touches,
    estimate_rates,
    posterior_mean,
    prior_strength,
)
from ml.responses.contact_history import contacts

# Customers x 63 combinations at a time: about 10 MB an array.
BATCH = 20_000
# With fewer touches of known weekday and daypart, those of purchases settle the choice instead.
MIN_TIMED_TOUCHES = 100
# When customers buy says which of equal contacts to prefer, not what a contact at that time brings: at most so much of it.
PREFERENCE = 0.01
NO_SEGMENT = "Prospect"

# A campaign and customers' ids -> P(an order within the window | contacted so), float32, as in ``Predicted.conversion``.
Responses = Callable[[Campaign, "pd.Index[str]"], SingleFloats]


def rate_responses(
    customers: IndexedCustomers, touches: pd.DataFrame, purchase_times: pd.DataFrame, prior: ResponsePrior, shop: Shop
) -> Responses:
    """The smoothed share of past touches that converted, by segment and customer, channel, weekday and daypart.

    ``touches``: those of ``campaign_touch_history`` whose outcome is known. ``purchase_times``: the published table. ``prior``:
    what is expected of each of ``customers`` before any touch. Where too few touches have a weekday or a daypart, those in
    which a customer buys most are preferred, by ``PREFERENCE``.
    """
    past = index_touches(touches, customers, shop)
    rates = estimate_rates(past, customers.segments, (len(shop.channels), 7, len(shop.dayparts)), prior)
    preferred = [
        None if (values != UNKNOWN).any() else _preferences(time_shares(counts, customers.segment, customers.segments))
        for values, counts in zip(past.values[1:], order_counts(purchase_times, customers, shop), strict=True)
    ]

    def respond(_: Campaign, ids: pd.Index[str]) -> SingleFloats:
        places = np.asarray(customers.ids.get_indexer(ids), dtype=np.int64)
        conversion: SingleFloats = np.empty((len(ids), len(shop.channels), 7, len(shop.dayparts)), dtype=np.float32)
        for start in range(0, len(ids), BATCH):
            rows = places[start : start + BATCH]
            found = expit(rates.log_odds(rows, customers.segment[rows]))
            if preferred[0] is not None:
                found = found * preferred[0][rows][:, None, :, None]
            if preferred[1] is not None:
                found = found * preferred[1][rows][:, None, None, :]
            conversion[start : start + BATCH] = found
        return conversion

    return respond


def _preferences(shares: Floats) -> Floats:
    """1 for each customer's best value, less by at most ``PREFERENCE`` for the others."""
    return np.asarray(1 - PREFERENCE * (1 - shares / shares.max(axis=1, keepdims=True)), dtype=np.float64)


@dataclass(frozen=True)
class IndexedCustomers:
    """The plan's customers in the order of their ids, with the place of each one's segment among the segments."""

    ids: pd.Index[str]
    segment: Integers
    segments: int

    def places(self, customer_ids: pd.Series[str]) -> Integers:
        """Where each id lies in ``ids``; -1 for others (erased or merged customers, of whom nothing is planned)."""
        return np.asarray(self.ids.get_indexer(pd.Index(customer_ids.astype(str))), dtype=np.int64)


def index_customers(customers: pd.DataFrame) -> IndexedCustomers:
    """Order the customers. Without a segment one is a Prospect."""
    ordered = customers.sort_values("customer_id", ignore_index=True)
    names = ordered["segment"].astype("object").where(ordered["segment"].notna(), NO_SEGMENT).astype(str)
    codes, found = pd.factorize(names, sort=True)
    ids = pd.Index(ordered["customer_id"].astype(str))
    return IndexedCustomers(ids, np.asarray(codes, dtype=np.int64), len(found))


def index_touches(touches: pd.DataFrame, customers: IndexedCustomers, shop: Shop) -> Touches:
    """Past touches of the plan's customers. Weekday or daypart count as unknown while too few touches have them."""
    made = contacts(touches)
    customer = customers.places(made["customer_id"])
    rows = made[customer >= 0]
    customer = customer[customer >= 0]
    places = {channel: place for place, channel in enumerate(shop.channels)}
    channel = _integers(rows["channel"].map(places), UNKNOWN)
    converted = rows["is_converted"].astype("boolean").fillna(value=False).to_numpy(dtype=np.float64)
    times = [np.full(len(rows), UNKNOWN) if _is_rare(values) else values for values in _times(rows, shop)]
    return Touches(
        customer, customers.segment[customer], (channel, times[0], times[1]), np.asarray(converted, dtype=np.float64)
    )


def order_counts(purchase_times: pd.DataFrame, customers: IndexedCustomers, shop: Shop) -> tuple[Floats, Floats]:
    """Orders of each customer by weekday (customers x 7) and by daypart (customers x dayparts)."""
    customer = customers.places(purchase_times["customer_id"])
    rows = purchase_times[customer >= 0]
    customer = customer[customer >= 0]
    orders = rows["orders"].to_numpy(dtype=np.float64)
    tables = []
    for values, size in zip(_times(rows, shop), (7, len(shop.dayparts)), strict=True):
        known = values != UNKNOWN
        cells = customer[known] * size + values[known]
        counts = np.bincount(cells, weights=orders[known], minlength=len(customers.ids) * size)
        tables.append(np.asarray(counts.reshape(-1, size), dtype=np.float64))
    return tables[0], tables[1]


def _times(rows: pd.DataFrame, shop: Shop) -> tuple[Integers, Integers]:
    """Place of the weekday (0 is Monday) and of the daypart; -1 where unknown, or at an hour outside every daypart."""
    place = np.full(25, UNKNOWN, dtype=np.int64)
    for number, daypart in enumerate(shop.dayparts.values()):
        place[daypart.start : daypart.end] = number
    return _integers(rows["day_of_week"], 0) - 1, place[_integers(rows["local_hour"], 24)]


def _is_rare(values: Integers) -> bool:
    return int((values != UNKNOWN).sum()) < MIN_TIMED_TOUCHES


def _integers(values: pd.Series[int], missing: int) -> Integers:
    return np.asarray(values.astype("Float64").fillna(missing).to_numpy(dtype=np.int64), dtype=np.int64)


def time_shares(counts: Floats, segment: Integers, segments: int) -> Floats:
    """Customers x values: each customer's share of orders by weekday (or daypart). Rows sum to 1.

    ``counts``: orders by customer and value. Everyone's share is add-one smoothed. Without orders: the segment's share.
    """
    total = counts.sum(axis=0)
    return shrunk_shares(counts, (total + 1) / (total.sum() + counts.shape[1]), segment, segments)


def shrunk_shares(counts: Floats, everyone: Floats, segment: Integers, segments: int) -> Floats:
    """Customers x values: each customer's share of their counts, shrunk towards the segment's, and that towards everyone's."""
    sums = [np.bincount(segment, weights=column, minlength=segments) for column in counts.T]
    by_segment = np.asarray(np.column_stack(sums), dtype=np.float64)
    shares = _shrink(by_segment, np.tile(everyone, (segments, 1)))
    return _shrink(counts, shares[segment])


def _shrink(counts: Floats, means: Floats) -> Floats:
    trials = np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)
    strength = prior_strength(counts.ravel(), trials.ravel(), means.ravel())
    return posterior_mean(counts, trials, means, strength)
