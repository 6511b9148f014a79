"""A trained model: of a customer, the probability of each class of its target, such as each category as the next one.

Trees, a baseline, or both: a logarithmic opinion pool (Genest and Zidek, Combining Probability Distributions, 1986) multiplies
their probabilities, each raised to its weight, and renormalises. It keeps what each is sure of, and is one where they agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from catboost import CatBoostClassifier, Pool

from customer360.features import Feature
from ml.arrays import Floats, Integers
from ml.datasets.bands import Bands
from ml.fitting.baselines import Baseline
from ml.fitting.calibration import UNCALIBRATED, Calibration, correct_odds
from ml.fitting.decisions import weighted_argmax


class Batch:
    """Rows of a feature matrix (``ml.frames.feature_matrix``) for several models: a pool is made once for equal features."""

    def __init__(self, matrix: pd.DataFrame) -> None:
        self.matrix = matrix
        self._pools: dict[tuple[Feature, ...], Pool] = {}

    def pool(self, features: tuple[Feature, ...]) -> Pool:
        """The rows as a classifier with these features reads them."""
        if features not in self._pools:
            self._pools[features] = pool(self.matrix, features)
        return self._pools[features]


@dataclass(frozen=True)
class ClassModel:
    """A trained classifier with the features that it reads and the categories that are published.

    ``calibration`` maps the classifier's probabilities. A category without a training label gets ``unseen_probability`` each;
    the seen ones share what remains. ``weights`` choose the decision; they do not change probabilities. ``bands``, where the
    classes are bands of an amount, give the amount to expect.

    ``baseline`` has ``baseline_weight`` in the pool, the trees have 1 less it: with 1 the baseline alone answers. The odds of
    all classes but the ``negatives`` (positions in ``categories``) are multiplied by ``odds_factor``.
    """

    classifier: CatBoostClassifier
    features: tuple[Feature, ...]
    categories: tuple[str, ...]
    unseen_probability: float
    calibration: Calibration = UNCALIBRATED
    weights: tuple[float, ...] | None = None
    bands: Bands | None = None
    baseline: Baseline | None = None
    baseline_weight: float = 0.0
    negatives: tuple[int, ...] = ()
    odds_factor: float = 1.0

    @property
    def seen_categories(self) -> list[str]:
        """The classes that the classifier knows, in its own order."""
        return [str(category) for category in self.classifier.classes_]

    def pool(self, matrix: pd.DataFrame) -> Pool:
        """A feature matrix (``ml.frames.feature_matrix``) as the classifier reads it."""
        return pool(matrix, self.features)

    def probabilities(self, rows: pd.DataFrame | Batch) -> Floats:
        """Rows are those of the feature matrix, columns ``categories``; every row sums to 1."""
        batch = rows if isinstance(rows, Batch) else Batch(rows)
        if not len(batch.matrix):
            return np.empty((0, len(self.categories)))
        shares = self._as_learned(batch)
        return shares if self.odds_factor == 1 else correct_odds(shares, self.negatives, self.odds_factor)

    def _as_learned(self, batch: Batch) -> Floats:
        if self.baseline is None or self.baseline_weight == 0:
            return self._by_trees(batch)
        by_baseline = self.baseline.probabilities(batch.matrix, self.features, self.bands)
        if self.baseline_weight == 1:
            return by_baseline
        return pooled(self._by_trees(batch), by_baseline, self.baseline_weight)

    def _by_trees(self, batch: Batch) -> Floats:
        shares = np.asarray(self.classifier.predict_proba(batch.pool(self.features)), dtype=np.float64)
        return self.published(shares.reshape(len(batch.matrix), len(self.seen_categories)))

    def published(self, shares: Floats) -> Floats:
        """The classifier's probabilities (rows x ``seen_categories``), calibrated, with the categories that it has not seen."""
        seen = self.seen_categories
        unseen = len(self.categories) - len(seen)
        position = {category: index for index, category in enumerate(self.categories)}
        result = np.full((len(shares), len(self.categories)), self.unseen_probability)
        result[:, [position[category] for category in seen]] = self.calibration.apply(shares) * (
            1 - unseen * self.unseen_probability
        )
        return result

    def decisions(self, probabilities: Floats) -> Integers:
        """Of each row of ``probabilities`` the position in ``categories`` of the category that is decided for."""
        return weighted_argmax(probabilities, np.ones(len(self.categories)) if self.weights is None else np.array(self.weights))


def pooled(first: Floats, second: Floats, second_weight: float) -> Floats:
    """The logarithmic opinion pool of two tables of probabilities (rows x classes)."""
    raised = (1 - second_weight) * np.log(np.clip(first, 1e-15, 1)) + second_weight * np.log(np.clip(second, 1e-15, 1))
    powered = np.exp(raised - raised.max(axis=1, keepdims=True))
    return np.asarray(powered / powered.sum(axis=1, keepdims=True), dtype=np.float64)


def pool(
    matrix: pd.DataFrame,
    features: tuple[Feature, ...],
    labels: npt.NDArray[Any] | None = None,
    weights: Floats | None = None,
) -> Pool:
    """A CatBoost pool of the matrix, its text columns marked as categorical."""
    categorical = [feature.name for feature in features if feature.kind == "categorical"]
    return Pool(matrix[[feature.name for feature in features]], label=labels, weight=weights, cat_features=categorical)
