"""Thresholds of drift, learned for each column from normal windows, because noise differs by column and window.

A threshold lies eight standard deviations above the mean distance of normal windows, because distances are bounded below and
have long tails, and never below a floor under which a difference does not matter. Measured on two seeds of the synthetic shop,
46 columns over 90 normal days: with seven deviations no column exceeds its threshold in two reports in a row; with five
deviations that happens on one day and on three days, with the fixed .1 on three and on seven days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.arrays import Floats
from ml.monitoring.samples import FEATURE, PERFORMANCE, QUALITY, SCORE

MIN_NORMAL = 30  # with fewer windows the standard deviation is too uncertain
DEVIATIONS = 8.0
SMALLEST_SPREAD = 0.2  # of the mean, because thirty windows can be alike by chance
FIXED = 0.1  # Evidently's own
FLOORS = {FEATURE: FIXED, SCORE: FIXED, QUALITY: 0.01, PERFORMANCE: 0.03}
FLOOR = 0.02


@dataclass(frozen=True)
class Limit:
    """A threshold and its basis in words. ``is_learned``: from normal windows, so exceeding it is worth an alarm."""

    threshold: float
    basis: str
    is_learned: bool


@dataclass(frozen=True)
class Measured:
    """A number that is compared with no sample: performance. ``is_drifted`` where its threshold is exceeded (``limit``)."""

    kind: str
    column: str
    method: str
    value: float
    limit: Limit | None
    rows: int
    rows_reference: int = 0


UNLEARNED = Limit(FIXED, f"fixed, as fewer than {MIN_NORMAL} normal windows are known", is_learned=False)


def learned_limit(kind: str, normal: Floats, basis: str) -> Limit:
    """The threshold that these distances of normal windows give; the fixed one where there are fewer than 30.

    ``basis`` names the windows.
    """
    known = normal[~np.isnan(normal)]
    if len(known) < MIN_NORMAL:
        return UNLEARNED
    mean = float(known.mean())
    learned = mean + DEVIATIONS * max(float(known.std()), SMALLEST_SPREAD * mean)
    return Limit(max(FLOORS.get(kind, FLOOR), learned), f"{len(known)} normal {basis}", is_learned=True)
