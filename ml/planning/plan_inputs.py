"""What a plan is made of: published frames, and the same as places among customers, channels, weekdays and dayparts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.settings import Shop
from ml.frames import FrameError, require_columns
from ml.planning.contact_rates import UNKNOWN, Integers, Touches
from ml.planning.shrinkage import Floats
from ml.responses.contact_history import contacts

# With fewer touches that say when, weekday and daypart are learned from purchases instead.
MIN_TIMED_TOUCHES = 100
NO_SEGMENT = "Prospect"

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PlanInputs:
    """The frames that a plan is made of. Timestamps are plain UTC; weekdays (1 is Monday) and hours (0 to 23) are shop-local.

    ``customers``: customer_id, segment, one row each. ``consents``: customer_id, channel, is_allowed (empty means no).
    ``touches``: customer_id, campaign_id, channel, day_of_week, local_hour, is_converted, touched_at; channel, day and hour are
    empty where unknown; controls (is_control) were no contacts. ``purchase_times``: customer_id, day_of_week, local_hour,
    orders. ``scores``: customer_scores. ``campaigns`` and ``offers``: the reference tables.
    """

    customers: pd.DataFrame
    consents: pd.DataFrame
    touches: pd.DataFrame
    purchase_times: pd.DataFrame
    scores: pd.DataFrame
    campaigns: pd.DataFrame
    offers: pd.DataFrame

    def check(self, shop: Shop) -> None:
        """Raise ``FrameError`` on missing columns, repeated customers and channels that shop.yaml does not name."""
        require_columns(self.customers, "customers", ["customer_id", "segment"])
        require_columns(self.consents, "consents", ["customer_id", "channel", "is_allowed"])
        touch_columns = ["customer_id", "campaign_id", "channel", "day_of_week", "local_hour", "is_converted", "touched_at"]
        require_columns(self.touches, "touches", touch_columns)
        require_columns(self.purchase_times, "purchase_times", ["customer_id", "day_of_week", "local_hour", "orders"])
        require_columns(self.scores, "customer_scores", ["customer_id", "category_id", "probability", "rank", "model_version"])
        repeated = self.customers["customer_id"][self.customers["customer_id"].duplicated()]
        if len(repeated):
            raise FrameError(f"customers names {repeated.iloc[0]} twice; a plan has one row a customer")
        unknown = sorted(set(self.touches["channel"].dropna().astype(str)) - set(shop.channels))
        if unknown:
            raise FrameError(f"touches.channel holds {unknown[:5]}, which shop.yaml does not name under channels; correct them")


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


def earliest_days(touches: pd.DataFrame, customers: Universe, shop: Shop, plan_date: date) -> Integers:
    """How many days after ``plan_date`` each customer may be contacted first: 1, or later so shortly after a touch."""
    result, made = np.full(len(customers.ids), 1, dtype=np.int64), contacts(touches)
    if made.empty:
        return result
    last = made.groupby(made["customer_id"].astype(str))["touched_at"].max()
    local = pd.to_datetime(last).dt.tz_localize("UTC").dt.tz_convert(shop.zone).dt.tz_localize(None).dt.normalize()
    ahead = (local - pd.Timestamp(plan_date)).dt.days + shop.contact_rules.minimum_gap_days
    return np.maximum(result, _integers(ahead.reindex(customers.ids), 1))


def allowed_channels(consents: pd.DataFrame, customers: Universe, shop: Shop) -> Booleans:
    """Customers x channels: who may be contacted how. No answer means no; of two answers for one channel, no wins."""
    allowed = np.zeros((len(customers.ids), len(shop.channels)), dtype=bool)
    customer = customers.places(consents["customer_id"])
    yes = consents["is_allowed"].astype("boolean").fillna(value=False).to_numpy(dtype=bool)
    channels = consents["channel"].astype(str).to_numpy(dtype=object)
    for place, channel in enumerate(shop.channels):
        named = (channels == channel) & (customer >= 0)
        allowed[customer[named & yes], place] = True
        allowed[customer[named & ~yes], place] = False
    return allowed


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
