"""A trained model: of a customer, the probability of each class of its target, such as each category as the next one."""

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
from ml.fitting.calibration import UNCALIBRATED, Calibration
from ml.fitting.decisions import weighted_argmax


@dataclass(frozen=True)
class ClassModel:
    """A trained classifier with the features that it reads and the categories that are published.

    ``calibration`` maps the classifier's probabilities. A category without a training label gets ``unseen_probability`` each;
    the seen ones share what remains. ``weights`` choose the decision; they do not change probabilities. ``bands``, where the
    classes are bands of an amount, give the amount to expect.
    """

    classifier: CatBoostClassifier
    features: tuple[Feature, ...]
    categories: tuple[str, ...]
    unseen_probability: float
    calibration: Calibration = UNCALIBRATED
    weights: tuple[float, ...] | None = None
    bands: Bands | None = None

    @property
    def seen_categories(self) -> list[str]:
        """The classes that the classifier knows, in its own order."""
        return [str(category) for category in self.classifier.classes_]

    def pool(self, matrix: pd.DataFrame) -> Pool:
        """A feature matrix (``ml.frames.feature_matrix``) as the classifier reads it."""
        return pool(matrix, self.features)

    def probabilities(self, matrix: pd.DataFrame | Pool) -> Floats:
        """Rows are those of ``matrix``, or of a pool made of it, columns ``categories``; every row sums to 1."""
        rows = matrix.num_row() if isinstance(matrix, Pool) else len(matrix)
        if not rows:
            return np.empty((0, len(self.categories)))
        read = matrix if isinstance(matrix, Pool) else self.pool(matrix)
        shares = np.asarray(self.classifier.predict_proba(read), dtype=np.float64)
        return self.published(shares.reshape(rows, len(self.seen_categories)))

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


def pool(
    matrix: pd.DataFrame,
    features: tuple[Feature, ...],
    labels: npt.NDArray[Any] | None = None,
    weights: Floats | None = None,
) -> Pool:
    """A CatBoost pool of the matrix, its text columns marked as categorical."""
    categorical = [feature.name for feature in features if feature.kind == "categorical"]
    return Pool(matrix[[feature.name for feature in features]], label=labels, weight=weights, cat_features=categorical)
