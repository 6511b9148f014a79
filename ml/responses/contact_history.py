"""A customer's state just before a contact: attributes, earlier contacts, their conversions and orders.

Training asks for the moments of past touches, planning for the moment of the plan; both call these functions. All of the
history lies strictly before the moment: a touch is never part of its own features, and two touches at one instant do not see
each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.arrays import Floats, Integers, Moments

ORDER_DAYS = 365
ORDER_COLUMNS = ("days_since_last_order", "orders_365d", "spend_365d")
DAY = np.timedelta64(1, "D")


def history_columns(channels: Sequence[str]) -> list[str]:
    """The columns of ``contact_history`` in their order."""
    return [
        *(f"contacts_{channel}" for channel in channels),
        "previous_channel",
        "days_since_last_contact",
        "conversions",
        *ORDER_COLUMNS,
    ]


def contact_history(
    points: pd.DataFrame, touches: pd.DataFrame, orders: pd.DataFrame | None, channels: Sequence[str]
) -> pd.DataFrame:
    """One row for each of ``points`` (customer_id, at in plain UTC), in their order and with their index.

    ``touches``: ``campaign_touch_history``; controls were not contacted and leave no trace. ``orders``: ``customer_orders``
    (customer_id, ordered_at, amount, lines); None or empty where the shop has none, and then the features of orders are null.

    - contacts_<channel>: contacts through it so far; one whose channel is unknown counts for none.
    - previous_channel: of the last contact, null before the first and where unknown.
    - days_since_last_contact: null before the first.
    - conversions: known by then (``converted_at``); one without a time is never known.
    - days_since_last_order; orders_365d and spend_365d (net, in the shop's currency) of the 365 days before.
    """
    moments = as_moments(points["at"])
    made = contacts(touches).reset_index(drop=True)
    if (
        "touch_id" in made
    ):  # orders contacts of one instant by their id, so that the result does not depend on the order of rows
        made = made.sort_values("touch_id", ignore_index=True)
    columns = {**_earlier_contacts(points, moments, made, channels), "conversions": _conversions(points, moments, made)}
    columns |= _orders(points, moments, orders)
    previous = pd.Series(columns.pop("previous_channel"), index=points.index, dtype=object)
    return pd.DataFrame(columns, index=points.index).assign(previous_channel=previous)[history_columns(channels)]


def contacts(touches: pd.DataFrame) -> pd.DataFrame:
    """Touches without controls. Tables of releases that had no controls lack the column; all of their touches count."""
    return touches[~touches["is_control"].astype("boolean").fillna(value=False)] if "is_control" in touches else touches


def _earlier_contacts(
    points: pd.DataFrame, moments: Moments, made: pd.DataFrame, channels: Sequence[str]
) -> dict[str, npt.NDArray[Any]]:
    timeline = Timeline.of(made["customer_id"], made["touched_at"])
    start, end = timeline.before(points, moments)
    channel = made["channel"].astype(object).where(made["channel"].notna(), None).to_numpy(dtype=object)[timeline.order]
    previous = np.full(len(points), None, dtype=object)
    has = end > start
    previous[has] = channel[end[has] - 1]
    return {
        **{f"contacts_{name}": sums(channel == name, start, end) for name in channels},
        "previous_channel": previous,
        "days_since_last_contact": days_since(timeline, start, end, moments),
    }


def _conversions(points: pd.DataFrame, moments: Moments, made: pd.DataFrame) -> Floats:
    is_converted = made["is_converted"].astype("boolean").fillna(value=False).to_numpy(dtype=bool)
    won = made[is_converted & made["converted_at"].notna().to_numpy()]
    # A conversion is known at its contact at the earliest, whatever the producer wrote: else a touch would leak its outcome.
    known_at = won[["converted_at", "touched_at"]].max(axis=1)
    start, end = Timeline.of(won["customer_id"], known_at).before(points, moments)
    return np.asarray(end - start, dtype=np.float64)


def _orders(points: pd.DataFrame, moments: Moments, orders: pd.DataFrame | None) -> dict[str, npt.NDArray[Any]]:
    if orders is None or orders.empty:
        return {name: np.full(len(points), np.nan) for name in ORDER_COLUMNS}
    sales = orders[orders["lines"] > 0]  # a return under its own order_id has no lines: it lowers the spend and is no order
    timeline = Timeline.of(sales["customer_id"], sales["ordered_at"])
    start, end = timeline.before(points, moments)
    _, year_ago = timeline.before(points, earlier(moments, ORDER_DAYS))
    amounts = Timeline.of(orders["customer_id"], orders["ordered_at"])
    _, last = amounts.before(points, moments)
    _, first = amounts.before(points, earlier(moments, ORDER_DAYS))
    return {
        "days_since_last_order": days_since(timeline, start, end, moments),
        "orders_365d": (end - year_ago).astype(np.float64),
        "spend_365d": sums(orders["amount"].to_numpy(dtype=np.float64)[amounts.order], first, last),
    }


def attributes_at(points: pd.DataFrame, versions: pd.DataFrame) -> pd.DataFrame:
    """One row for each of ``points`` (customer_id, at in plain UTC): the attributes in force, null where there are none.

    ``versions``: customer_id, valid_from, valid_to (null while in force) and the attributes, of one customer not overlapping
    (``customer360.lake.reference.customer_queries``).
    """
    moments = as_moments(points["at"])
    timeline = Timeline.of(versions["customer_id"], versions["valid_from"])
    start, end = timeline.before(points, moments, or_at=True)
    until = as_moments(versions["valid_to"])[timeline.order]
    last = np.maximum(end - 1, 0)
    in_force = end > start
    if len(timeline.order):
        in_force &= np.isnat(until[last]) | (moments < until[last])
    rows = np.where(in_force, timeline.order[last] if len(timeline.order) else -1, -1)
    names = [name for name in versions.columns if name not in {"customer_id", "valid_from", "valid_to"}]
    found = {name: versions[name].reset_index(drop=True).reindex(rows).to_numpy(dtype=object) for name in names}
    return pd.DataFrame({name: pd.Series(values, index=points.index, dtype=object) for name, values in found.items()})


@dataclass(frozen=True)
class Timeline:
    """Events by customer, then time, then their place in the frame they came from.

    ``order`` are the events' rows in that frame; ``customers`` the customers that have any, ``codes`` and ``times`` (UTC) are
    those of the events in order.
    """

    order: Integers
    customers: pd.Index[str]
    codes: Integers
    times: Moments

    @classmethod
    def of(cls, customer_ids: pd.Series[str], times: pd.Series[pd.Timestamp]) -> Timeline:
        """The timeline of these events; those without a time are left out."""
        moments = as_moments(times)
        known = np.flatnonzero(~np.isnat(moments))
        codes, customers = pd.factorize(customer_ids.astype(str).to_numpy(dtype=object)[known])
        places = np.lexsort((moments[known], codes))
        return cls(known[places], pd.Index(customers), codes[places].astype(np.int64), moments[known][places])

    def before(self, points: pd.DataFrame, moments: Moments, *, or_at: bool = False) -> tuple[Integers, Integers]:
        """For each point (``customer_id``) the first and the last but one place of its customer's events before its moment.

        Strictly before, or with ``or_at`` at it as well; the two are equal where there is none.
        """
        codes = self.customers.get_indexer(pd.Index(points["customer_id"].astype(str)))
        # One number that orders by customer and then by time: the rank of the time among all times.
        every = np.unique(np.concatenate([self.times, moments]))
        events = self.codes * len(every) + np.searchsorted(every, self.times)
        start = np.searchsorted(self.codes, codes, side="left")
        end = np.searchsorted(events, codes * len(every) + np.searchsorted(every, moments), side="right" if or_at else "left")
        return start.astype(np.int64), np.where(codes < 0, start, end).astype(np.int64)


def as_moments(times: pd.Series[pd.Timestamp]) -> Moments:
    """Plain UTC in microseconds."""
    return np.asarray(pd.to_datetime(times).to_numpy(dtype="datetime64[us]"))


def earlier(moments: Moments, days: int) -> Moments:
    """Each moment less that number of times 24 hours."""
    return np.asarray(moments - np.timedelta64(days, "D"), dtype="datetime64[us]")


def sums(values: npt.ArrayLike, start: Integers, end: Integers) -> Floats:
    """The sum of ``values`` (in the timeline's order) from ``start`` to before ``end``, for each point."""
    running = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=np.float64))])
    return np.asarray(running[end] - running[start], dtype=np.float64)


def days_since(timeline: Timeline, start: Integers, end: Integers, moments: Moments) -> Floats:
    """Days from the last event before each point's moment to that moment; NaN where there is none."""
    result = np.full(len(moments), np.nan)
    has = end > start
    result[has] = (moments[has] - timeline.times[end[has] - 1]) / DAY
    return result
