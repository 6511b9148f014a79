"""Target leakage: a feature that alone predicts the label nearly perfectly was probably made of it.

Of each feature and class: the area under the ROC curve of the feature alone, the class against the others, in whichever
direction is larger (Mann and Whitney, On a Test of Whether one of Two Random Variables is Stochastically Larger, 1947). A text
feature is ranked by each value's share of the class among the other half of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml import measures
from ml.arrays import Booleans, Floats
from ml.datasets.training_sets import TrainingSet

ALARM_AUC = 0.99
MIN_CLASS_ROWS = 20  # with fewer rows a feature may separate a class by chance


@dataclass(frozen=True)
class StrongFeature:
    """How well a feature alone separates a category from the others."""

    feature: str
    category_id: str
    auc: float

    @property
    def is_alarming(self) -> bool:
        """True where hardly anything but a leak explains it."""
        return self.auc > ALARM_AUC


def strongest_features(training_set: TrainingSet, count: int = 5) -> list[StrongFeature]:
    """The features that separate a category best alone, the strongest first, by all training and validation rows."""
    rows = pd.concat([training_set.train, training_set.validation], ignore_index=True)
    labels = np.concatenate([training_set.train_labels, training_set.validation_labels]).astype(str)
    classes = [category for category in training_set.categories if MIN_CLASS_ROWS <= (labels == category).sum() < len(labels)]
    found = []
    for feature in training_set.features:
        column = rows[feature.name]
        by_class = {}
        for category in classes:
            is_class = labels == category
            values = _share_of_class(column, is_class) if feature.kind == "categorical" else column.to_numpy(np.float64)
            by_class[category] = auc(values, is_class)
        if by_class:
            best = max(by_class, key=lambda category: by_class[category])
            found.append(StrongFeature(feature.name, best, by_class[best]))
    return sorted(found, key=lambda feature: (-feature.auc, feature.feature))[:count]


def auc(values: Floats, is_class: Booleans) -> float:
    """The larger of AUC and 1 - AUC; missing values rank below all others, ties count half."""
    area = measures.auc(np.where(np.isnan(values), -np.inf, values), is_class)
    return max(area, 1 - area)


def _share_of_class(column: pd.Series[str], is_class: Booleans) -> Floats:
    """Each row's value as the share of the class among the rows of the other half with that value."""
    result = np.empty(len(column))
    half = np.arange(len(column)) % 2
    texts = column.astype(str).reset_index(drop=True)
    for number in (0, 1):
        others = pd.Series(is_class[half != number]).groupby(texts[half != number].to_numpy()).mean()
        result[half == number] = texts[half == number].map(others).fillna(is_class.mean())
    return result
