"""What a drift report compares: values of one column now and then, and how far they lie apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from ml.arrays import Floats

# Above this a report takes minutes; the distances do not change.
MAX_ROWS = 50_000
WASSERSTEIN, JENSEN_SHANNON, DIFFERENCE, MISSING_SHARE = "wasserstein", "jensenshannon", "difference", "missing_share"

FEATURE, SCORE, QUALITY, PERFORMANCE = "feature", "score", "quality", "performance"
DAY, THREE_DAYS = "24 hours", "3 days"
WINDOWS = {DAY: 1, THREE_DAYS: 3}

Values = pd.Series  # of floats, or of texts


@dataclass(frozen=True)
class Sample:
    """Values of one column in the reference (``then``) and now; numbers or texts, at most 50,000 of each, any order.

    ``kind`` is one of the constants above; with ``column`` it names the sample in ``drift_metrics``.
    """

    kind: str
    column: str
    now: Values
    then: Values

    @property
    def key(self) -> tuple[str, str]:
        """Kind and column."""
        return self.kind, self.column

    @property
    def title(self) -> str:
        """For people: features by their names, windows with their length."""
        return self.column if self.kind in (FEATURE, SCORE) else f"{self.column}, {self.kind}"

    @property
    def method(self) -> str:
        """How the distance is measured; where one side has no value at all, by the share of missing values."""
        return method_of(self.now, self.then)

    @property
    def value(self) -> float:
        """The distance between now and then."""
        return distance(self.now, self.then)


def method_of(now: Values, then: Values) -> str:
    """Single numbers by their difference, numbers by Wasserstein, texts by Jensen-Shannon."""
    if not (now.notna().any() and then.notna().any()):
        return MISSING_SHARE
    if not pd.api.types.is_numeric_dtype(then):
        return JENSEN_SHANNON
    return DIFFERENCE if len(then) == 1 else WASSERSTEIN


def distance(now: Values, then: Values) -> float:
    """As Evidently measures it: Wasserstein in standard deviations of ``then``, Jensen-Shannon by natural logarithms.

    Missing values are left out, but where one side has nothing else: then the difference of their shares.
    """
    method = method_of(now, then)
    if method == MISSING_SHARE:
        return abs(_share_missing(now) - _share_missing(then))
    now, then = now.dropna(), then.dropna()
    if method == DIFFERENCE:
        return abs(float(now.iloc[0]) - float(then.iloc[0]))
    if method == WASSERSTEIN:
        return wasserstein(counted(now), counted(then))
    shares = pd.concat([one.value_counts(normalize=True) for one in (then, now)], axis=1).fillna(0).to_numpy(np.float64)
    return float(jensenshannon(shares[:, 0], shares[:, 1]))


@dataclass(frozen=True)
class Counted:
    """Numbers as their distinct values and how often each came: most customers did nothing on most days."""

    values: Floats
    counts: Floats

    @property
    def deviation(self) -> float:
        """Standard deviation of the numbers."""
        mean = np.average(self.values, weights=self.counts)
        return float(np.sqrt(np.average((self.values - mean) ** 2, weights=self.counts)))


def counted(values: Values) -> Counted:
    """The numbers, without missing ones."""
    distinct, counts = np.unique(values.dropna().to_numpy(np.float64), return_counts=True)
    return Counted(distinct, counts.astype(np.float64))


def wasserstein(now: Counted, then: Counted) -> float:
    """Distance in standard deviations of ``then``, which are at least .001."""
    return float(wasserstein_distance(then.values, now.values, then.counts, now.counts) / max(then.deviation, 0.001))


def drawn(values: Values, rows: int, seed: int) -> Values:
    """At most so many of the values, drawn with ``seed``, in a new index."""
    return (values.sample(rows, random_state=seed) if len(values) > rows else values).reset_index(drop=True)


def _share_missing(values: pd.Series[Any]) -> float:
    return float(values.isna().mean()) if len(values) else 1.0
