"""When people visit: the hour of the day and the day of the week on the shop's own clock."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from customer360.simulation.arrays import MINUTE, Floats, Ints

SLOT = 15 * MINUTE
HOURS = np.array([5, 3, 2, 2, 2, 4, 9, 16, 24, 30, 34, 36, 40, 38, 36, 35, 36, 40, 46, 56, 62, 56, 36, 14], dtype=np.float64)
WEEKDAYS = np.array([1.0, 0.96, 0.95, 0.97, 0.98, 1.06, 1.16])  # Monday first
HOURS /= HOURS.mean()
WEEKDAYS /= WEEKDAYS.mean()


def slots(start: int, end: int) -> Ints:
    """Starts of the quarters of an hour in [start, end), in microseconds since 1970."""
    return np.arange(start, end, SLOT, dtype=np.int64)


def weights(starts: Ints, zone: ZoneInfo) -> Floats:
    """Traffic of each quarter of an hour relative to the mean of a week. Across a change of the clocks it follows the clock."""
    local = pd.DatetimeIndex(starts.view("datetime64[us]")).tz_localize("UTC").tz_convert(zone)
    relative: Floats = HOURS[local.hour.to_numpy()] * WEEKDAYS[local.dayofweek.to_numpy()]
    return relative
