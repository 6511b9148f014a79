"""Past touches and orders as places among customers, channels, weekdays and dayparts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.settings import Shop
from ml.planning.contact_rates import UNKNOWN, Integers, Touches
from ml.planning.shrinkage import Floats
from ml.responses.contact_history import contacts

# With fewer touches that say when, weekday and daypart are learned from purchases instead.
MIN_TIMED_TOUCHES = 100
NO_SEGMENT = "Prospect"

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Universe:
    """The plan's customers in the order of their ids, with the name and the place of each one's segment."""

    ids: pd.Index[str]
    segment_names: npt.NDArray[np.object_]
    segment: Integers
    segments: int

    def places(self, customer_ids: pd.Series[str]) -> Integers:
        """Where each id lies in ``ids``; -1 for others (erased or merged customers, of whom nothing is planned)."""
        return np.asarray(self.ids.get_indexer(pd.Index(customer_ids.astype(str))), dtype=np.int64)


def universe(customers: pd.DataFrame) -> Universe:
    """Order the customers. Without a segment one is a Prospect."""
    ordered = customers.sort_values("customer_id", ignore_index=True)
    names = ordered["segment"].astype("object").where(ordered["segment"].notna(), NO_SEGMENT).astype(str)
    codes, found = pd.factorize(names, sort=True)
    ids = pd.Index(ordered["customer_id"].astype(str))
    return Universe(ids, names.to_numpy(dtype=object), np.asarray(codes, dtype=np.int64), len(found))


def index_touches(touches: pd.DataFrame, customers: Universe, shop: Shop) -> Touches:
    """Past touches of the plan's customers. Weekday or daypart count as unknown while too few touches say them."""
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


def order_counts(purchase_times: pd.DataFrame, customers: Universe, shop: Shop) -> tuple[Floats, Floats]:
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
