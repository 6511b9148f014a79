"""The best channel, day and daypart of each customer, among those that consent and the contact rules allow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from customer360.settings import Shop
from ml.planning.contact_rates import UNKNOWN, ContactRates, Integers, estimate_rates
from ml.planning.plan_inputs import Booleans, PlanInputs, Universe, allowed_channels, earliest_days, index_touches, order_counts
from ml.planning.purchase_times import time_shares
from ml.planning.shrinkage import Floats, expit

# Customers x 63 combinations at a time: about 10 MB an array.
BATCH = 20_000


@dataclass(frozen=True)
class Preferences:
    """Log shares of purchase times (customers x 7, customers x dayparts) where they stand in for touches, else None."""

    day: Floats | None
    daypart: Floats | None

    @property
    def borrowed(self) -> list[str]:
        """The dimensions for which purchases stand in."""
        return [name for name, used in (("day", self.day), ("daypart", self.daypart)) if used is not None]


@dataclass(frozen=True)
class Best:
    """One entry a customer: places of the best channel, day of the plan and daypart, and the expected conversion there.

    Where ``is_possible`` is false, there is none; ``has_consent`` tells whether some channel is allowed.
    """

    channel: Integers
    day: Integers
    daypart: Integers
    expected: Floats
    is_possible: Booleans
    has_consent: Booleans
    borrowed: list[str]


def best_options(inputs: PlanInputs, customers: Universe, shop: Shop, days: list[date]) -> Best:
    """The most promising combination on ``days`` (consecutive, shop-local) for each customer.

    Equal ones go by date, then by the order of channels and dayparts in shop.yaml: with no channel in the touches that is the
    first channel with consent.
    """
    touches = index_touches(inputs.touches, customers, shop)
    rates = estimate_rates(touches, len(customers.ids), customers.segments, (len(shop.channels), 7, len(shop.dayparts)))
    stand_in = [
        None
        if (values != UNKNOWN).any()
        else np.asarray(np.log(time_shares(counts, customers.segment, customers.segments)), dtype=np.float64)
        for values, counts in zip(touches.values[1:], order_counts(inputs.purchase_times, customers, shop), strict=True)
    ]
    preferences = Preferences(stand_in[0], stand_in[1])
    allowed = allowed_channels(inputs.consents, customers, shop)
    earliest = earliest_days(inputs.touches, customers, shop, days[0] - (days[1] - days[0]))
    in_time = np.arange(1, len(days) + 1)[None, :] >= earliest[:, None]
    weekdays = np.array([day.isoweekday() - 1 for day in days])
    starts = range(0, max(len(customers.ids), 1), BATCH)
    rows = [np.arange(start, min(start + BATCH, len(customers.ids))) for start in starts]
    parts = [_best(rates, customers.segment, preferences, allowed, in_time, weekdays=weekdays, rows=batch) for batch in rows]
    channel, day, daypart = (np.concatenate([part[axis] for part in parts]) for axis in (0, 1, 2))
    return Best(
        channel=channel,
        day=day,
        daypart=daypart,
        expected=np.concatenate([part[3] for part in parts]),
        is_possible=np.asarray(allowed.any(axis=1) & in_time.any(axis=1), dtype=bool),
        has_consent=np.asarray(allowed.any(axis=1), dtype=bool),
        borrowed=preferences.borrowed,
    )


def _best(
    rates: ContactRates,
    segment: Integers,
    preferences: Preferences,
    allowed: Booleans,
    in_time: Booleans,
    *,
    weekdays: Integers,
    rows: Integers,
) -> tuple[Integers, Integers, Integers, Floats]:
    # Axes: customers, days in the order of the calendar, channels and dayparts in the shop's; argmax takes the first of equals.
    log_odds = rates.log_odds(rows, segment[rows])[:, :, weekdays, :].transpose(0, 2, 1, 3)
    value = log_odds.copy()
    if preferences.day is not None:
        value += preferences.day[rows][:, weekdays][:, :, None, None]
    if preferences.daypart is not None:
        value += preferences.daypart[rows][:, None, None, :]
    possible = in_time[rows][:, :, None, None] & allowed[rows][:, None, :, None]
    # Rounded, so that the last digits of equal sums do not decide.
    options = int(np.prod(log_odds.shape[1:]))
    flat = np.where(possible, np.round(value, 9), -np.inf).reshape(len(rows), options).argmax(axis=1)
    day, channel, daypart = np.unravel_index(flat, log_odds.shape[1:])
    return channel, day, daypart, expit(log_odds.reshape(len(rows), options)[np.arange(len(rows)), flat])
