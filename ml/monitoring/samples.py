"""What a drift report compares: current and reference values of a column, and their distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from ml.arrays import Floats

# With more rows a report takes minutes, and the distances do not change.
MAX_ROWS = 50_000
WASSERSTEIN, JENSEN_SHANNON, DIFFERENCE, MISSING_SHARE = "wasserstein", "jensenshannon", "difference", "missing_share"

FEATURE, SCORE, QUALITY, PERFORMANCE = "feature", "score", "quality", "performance"
DAY, THREE_DAYS = "24 hours", "3 days"
WINDOWS = {DAY: 1, THREE_DAYS: 3}

Values = pd.Series  # of floats, or of texts


@dataclass(frozen=True)
class Sample:
    """Current and reference values of one column; numbers or texts, at most 50,000 of each, in any order.

    ``kind`` is one of the constants above; with ``column`` it names the sample in ``drift_metrics``.
    """

    kind: str
    column: str
    current: Values
    reference: Values

    @property
    def key(self) -> tuple[str, str]:
        """Kind and column."""
        return self.kind, self.column

    @property
    def title(self) -> str:
        """The title in reports: the name of a feature; of a window also its length."""
        return self.column if self.kind in (FEATURE, SCORE) else f"{self.column}, {self.kind}"

    @property
    def method(self) -> str:
        """How the distance is measured; where one side has no value at all, by the share of missing values."""
        return method_of(self.current, self.reference)

    @property
    def value(self) -> float:
        """The distance between current and reference values."""
        return distance(self.current, self.reference)


def method_of(current: Values, reference: Values) -> str:
    """Single numbers by their difference, numbers by Wasserstein, texts by Jensen-Shannon."""
    if not (current.notna().any() and reference.notna().any()):
        return MISSING_SHARE
    if not pd.api.types.is_numeric_dtype(reference):
        return JENSEN_SHANNON
    return DIFFERENCE if len(reference) == 1 else WASSERSTEIN


def distance(current: Values, reference: Values) -> float:
    """As Evidently measures it: Wasserstein in standard deviations of ``reference``, Jensen-Shannon by natural logarithms.

    Missing values are left out, but where one side has nothing else: then the difference of their shares.
    """
    method = method_of(current, reference)
    if method == MISSING_SHARE:
        return abs(_share_missing(current) - _share_missing(reference))
    current, reference = current.dropna(), reference.dropna()
    if method == DIFFERENCE:
        return abs(float(current.iloc[0]) - float(reference.iloc[0]))
    if method == WASSERSTEIN:
        return wasserstein(counted(current), counted(reference))
    shares = (
        pd.concat([values.value_counts(normalize=True) for values in (reference, current)], axis=1)
        .fillna(0)
        .to_numpy(np.float64)
    )
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


def wasserstein(current: Counted, reference: Counted) -> float:
    """Distance in standard deviations of ``reference``, which are at least .001."""
    return float(
        wasserstein_distance(reference.values, current.values, reference.counts, current.counts)
        / max(reference.deviation, 0.001)
    )


def drawn(values: Values, rows: int, seed: int) -> Values:
    """At most so many of the values, drawn with ``seed``, in a new index."""
    return (values.sample(rows, random_state=seed) if len(values) > rows else values).reset_index(drop=True)


def _share_missing(values: pd.Series[Any]) -> float:
    return float(values.isna().mean()) if len(values) else 1.0
