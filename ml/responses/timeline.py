"""What happened to each customer in the order of time, and how much of it lies before given moments, without a loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Moments = npt.NDArray[np.datetime64]
DAY = np.timedelta64(1, "D")


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
        """Events without a time are not on it."""
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
    """So many times 24 hours before each."""
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
