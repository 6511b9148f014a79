"""The affinity model: the probability of each category as a customer's next one, "none" included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from catboost import CatBoostClassifier, Pool

from customer360.features import Feature
from ml.calibration import UNCALIBRATED, Calibration, Classes
from ml.decisions import decided

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AffinityModel:
    """A trained classifier with the features that it reads and the categories that are published.

    ``calibration`` bends the classifier's probabilities. A category without a training label gets ``unseen_probability`` each;
    the seen ones share the rest. ``weights`` decide which category is named; they do not touch probabilities.
    """

    classifier: CatBoostClassifier
    features: tuple[Feature, ...]
    categories: tuple[str, ...]
    unseen_probability: float
    calibration: Calibration = UNCALIBRATED
    weights: tuple[float, ...] | None = None

    @property
    def seen_categories(self) -> list[str]:
        """The classes that the classifier knows, in its own order."""
        return [str(category) for category in self.classifier.classes_]

    def pool(self, matrix: pd.DataFrame) -> Pool:
        """A feature matrix (``ml.frames.feature_matrix``) as CatBoost reads it."""
        return pool(matrix, self.features)

    def probabilities(self, matrix: pd.DataFrame) -> Probabilities:
        """Rows are those of ``matrix``, columns ``categories``; every row sums to 1."""
        seen = self.seen_categories
        unseen = len(self.categories) - len(seen)
        result = np.full((len(matrix), len(self.categories)), self.unseen_probability)
        if len(matrix):
            position = {category: index for index, category in enumerate(self.categories)}
            shares = np.asarray(self.classifier.predict_proba(self.pool(matrix)), dtype=np.float64)
            shares = self.calibration.apply(shares.reshape(len(matrix), len(seen))) * (1 - unseen * self.unseen_probability)
            result[:, [position[category] for category in seen]] = shares
        return result

    def decisions(self, probabilities: Probabilities) -> Classes:
        """Of each row of ``probabilities`` the position in ``categories`` of the one that is named."""
        return decided(probabilities, np.ones(len(self.categories)) if self.weights is None else np.array(self.weights))


def pool(
    matrix: pd.DataFrame,
    features: tuple[Feature, ...],
    labels: npt.NDArray[Any] | None = None,
    weights: npt.NDArray[np.float64] | None = None,
) -> Pool:
    """A CatBoost pool of the matrix, its text columns marked as categorical."""
    categorical = [feature.name for feature in features if feature.kind == "categorical"]
    return Pool(matrix[[feature.name for feature in features]], label=labels, weight=weights, cat_features=categorical)
