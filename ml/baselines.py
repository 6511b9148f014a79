"""What a model has to beat: four answers that need no model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.features import Feature
from customer360.settings import NONE
from ml.affinity_model import Probabilities
from ml.calibration import log_loss
from ml.training_sets import TrainingSet

PRIOR = "prior"
LAST_CATEGORY = "last category bought"
MAIN_CATEGORY = "most frequent category"
OWN_SHARES = "own category shares"
STRENGTHS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def baseline_probabilities(training_set: TrainingSet) -> dict[str, Probabilities]:
    """Probabilities (validation rows x categories) of each baseline, learned on the training cut-offs alone.

    ``prior``: label frequencies, add-one smoothed. ``last category bought`` and ``most frequent category`` (``main_category``):
    label frequencies among the customers with that category, smoothed towards the prior with the weight of as many rows as
    there are categories. ``own category shares``: see ``own_shares``.
    """
    features, categories = training_set.features, training_set.categories
    prior = class_prior(training_set.train_labels, categories)
    groups = {
        LAST_CATEGORY: (_last_category(training_set.train), _last_category(training_set.validation)),
        MAIN_CATEGORY: (main_category(training_set.train, features), main_category(training_set.validation, features)),
    }
    result = {PRIOR: np.tile(prior, (len(training_set.validation), 1))}
    for name, (train_groups, validation_groups) in groups.items():
        result[name] = grouped_frequencies(train_groups, training_set.train_labels, validation_groups, prior, categories)
    result[OWN_SHARES] = own_shares(training_set, prior)
    return result


def own_shares(training_set: TrainingSet, prior: npt.NDArray[np.float64]) -> Probabilities:
    """Each customer's share of orders by category over the longest window, smoothed towards the prior.

    Among those who buy: (orders in the category + s x prior share) / (orders + s), with the s of ``STRENGTHS`` that fits the
    training labels best. Whether anyone buys at all: the frequency among customers with, or without, orders in that window.
    """
    columns = order_columns(training_set.features, training_set.categories)
    counts = {
        part: _counts(matrix, columns) for part, matrix in (("train", training_set.train), ("judged", training_set.validation))
    }
    labels = training_set.train_labels.astype(str)
    known = {
        part: pd.Series(np.where(count.sum(axis=1) > 0, "with", "without"), dtype=object) for part, count in counts.items()
    }
    buys = np.where(labels == NONE, NONE, "buys").astype(object)
    shares = np.array([prior[:-1].sum(), prior[-1]])
    buying = {
        part: grouped_frequencies(known["train"], buys, groups, shares, ("buys", NONE))[:, 0] for part, groups in known.items()
    }
    among = prior[:-1] / prior[:-1].sum()

    def smoothed(part: str, strength: float) -> Probabilities:
        count = counts[part]
        within = (count + strength * among) / (count.sum(axis=1, keepdims=True) + strength)
        return np.column_stack([within * buying[part][:, None], 1 - buying[part]])

    truth = np.array([training_set.categories.index(label) for label in labels])
    best = min(STRENGTHS, key=lambda strength: log_loss(smoothed("train", strength), truth))
    return smoothed("judged", best)


def order_columns(features: Sequence[Feature], categories: Sequence[str]) -> list[str]:
    """Names of the features that count orders over the longest window, one a category in their order, without "none"."""
    orders = [feature for feature in features if feature.measure == "orders" and feature.category_id is not None]
    longest = max(feature.window_days or 0 for feature in orders)
    by_category = {feature.category_id: feature.name for feature in orders if feature.window_days == longest}
    return [by_category[category] for category in categories if category != NONE]


def _counts(matrix: pd.DataFrame, columns: list[str]) -> npt.NDArray[np.float64]:
    return matrix[columns].fillna(0).to_numpy(np.float64)


def class_prior(labels: npt.NDArray[np.object_], categories: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """(count + 1) / (rows + categories) for each category."""
    counts = pd.Series(labels).value_counts().reindex(list(categories), fill_value=0).to_numpy(np.float64)
    return np.asarray((counts + 1) / (counts.sum() + len(categories)), dtype=np.float64)


def grouped_frequencies(
    train_groups: pd.Series[str],
    train_labels: npt.NDArray[np.object_],
    groups: pd.Series[str],
    prior: npt.NDArray[np.float64],
    categories: tuple[str, ...],
) -> Probabilities:
    """For each row of ``groups``: (its group's label counts + K x prior) / (its group's rows + K), K = number of categories."""
    counts = pd.crosstab(train_groups.to_numpy(dtype=object), train_labels)
    counts = counts.reindex(columns=list(categories), fill_value=0).reindex(index=groups.to_numpy(dtype=object), fill_value=0)
    table = counts.to_numpy(np.float64)
    strength = float(len(categories))
    return np.asarray((table + strength * prior) / (table.sum(axis=1, keepdims=True) + strength), dtype=np.float64)


def main_category(matrix: pd.DataFrame, features: Sequence[Feature]) -> pd.Series[str]:
    """The category with the largest net spend > 0 over the longest window, ties by category id, else "none"."""
    spend = [feature for feature in features if feature.measure == "spend" and feature.category_id is not None]
    longest = max(feature.window_days or 0 for feature in spend)
    columns = {feature.category_id: feature.name for feature in spend if feature.window_days == longest}
    real = sorted(str(category) for category in columns)
    amounts = matrix[[columns[category] for category in real]].fillna(0).to_numpy()
    best = np.array(real, dtype=object)[amounts.argmax(axis=1)]
    return pd.Series(np.where(amounts.max(axis=1) > 0, best, NONE), index=matrix.index, dtype=object)


def _last_category(matrix: pd.DataFrame) -> pd.Series[str]:
    return matrix["last_category_id"].astype(object)
