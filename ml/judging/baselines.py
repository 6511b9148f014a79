"""Baselines that a model has to beat: frequencies by groups of customers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from customer360.features import Feature
from customer360.settings import NONE
from ml.arrays import Floats, Texts
from ml.datasets.bands import Bands
from ml.datasets.targets import AFFINITY, CHURN, ORGANIC_RESPONSE, RESPONSE, SPEND
from ml.datasets.training_sets import TrainingSet
from ml.measures import log_loss

PRIOR = "prior"
LAST_CATEGORY = "last category bought"
MAIN_CATEGORY = "most frequent category"
OWN_SHARES = "own category shares"
OWN_ORDER = "own mean order"
CHANNEL = "channel"
COMBINATION = "channel, day and daypart"
RECENCY = "days since the last order"
RECENCY_EDGES = (4, 8, 15, 31, 61, 91, 181, 366)
STRENGTHS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def baseline_probabilities(training_set: TrainingSet) -> dict[str, Floats]:
    """Floats (validation rows x classes) of each baseline, learned on the training cut-offs alone, unweighted.

    ``prior``: label frequencies, add-one smoothed. Those of ``GROUPINGS``: label frequencies among the customers of the same
    group, smoothed towards the prior with the weight of as many rows as there are classes. Affinity has ``own category shares``
    too, see ``own_shares``.
    """
    train, judged, labels = training_set.train, training_set.validation, training_set.train_labels
    prior = class_prior(labels, training_set.categories)
    result = {PRIOR: np.tile(prior, (len(judged), 1))}
    for name, group in GROUPINGS[training_set.target.name].items():
        groups = group(train, training_set), group(judged, training_set)
        result[name] = grouped_frequencies(groups[0], labels, groups[1], prior, training_set.categories)
    if training_set.target.name == AFFINITY:
        result[OWN_SHARES] = own_shares(training_set, prior)
    return result


def own_shares(training_set: TrainingSet, prior: Floats) -> Floats:
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

    def smoothed(part: str, strength: float) -> Floats:
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


def _counts(matrix: pd.DataFrame, columns: list[str]) -> Floats:
    return matrix[columns].fillna(0).to_numpy(np.float64)


def class_prior(labels: Texts, categories: tuple[str, ...]) -> Floats:
    """(count + 1) / (rows + categories) for each category."""
    counts = pd.Series(labels).value_counts().reindex(list(categories), fill_value=0).to_numpy(np.float64)
    return np.asarray((counts + 1) / (counts.sum() + len(categories)), dtype=np.float64)


def grouped_frequencies(
    train_groups: pd.Series[str],
    train_labels: Texts,
    groups: pd.Series[str],
    prior: Floats,
    categories: tuple[str, ...],
) -> Floats:
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


def own_order_band(matrix: pd.DataFrame, features: Sequence[Feature], bands: Bands) -> pd.Series[str]:
    """The band of the customer's own mean net spend an order over the longest window, "no order" without one."""
    orders, spend = (_over_longest(matrix, features, measure) for measure in ("orders", "spend"))
    return pd.Series(np.where(orders > 0, bands.labels(spend / np.maximum(orders, 1)), "no order"), dtype=object)


def recency_band(days_since: pd.Series[float]) -> pd.Series[str]:
    """Days since the last order, in bands that grow; "never" before the first."""
    days = days_since.to_numpy(np.float64)
    names = np.array([f"from {low}" for low in (0, *RECENCY_EDGES)], dtype=object)
    return pd.Series(np.where(np.isnan(days), "never", names[np.searchsorted(RECENCY_EDGES, days, side="right")]), dtype=object)


def _over_longest(matrix: pd.DataFrame, features: Sequence[Feature], measure: str) -> Floats:
    totals = {f.window_days: f.name for f in features if f.measure == measure and f.category_id is None and f.window_days}
    return matrix[totals[max(totals)]].fillna(0).to_numpy(np.float64)


def _own_order(matrix: pd.DataFrame, training_set: TrainingSet) -> pd.Series[str]:
    if training_set.amounts is None:
        raise ValueError(f"{training_set.target.name} has no amounts, and so no bands")
    return own_order_band(matrix, training_set.features, training_set.amounts.bands)


# Target -> baseline -> group of each row of a feature matrix.
GROUPINGS: Mapping[str, Mapping[str, Callable[[pd.DataFrame, TrainingSet], pd.Series[str]]]] = {
    AFFINITY: {
        LAST_CATEGORY: lambda matrix, _: matrix["last_category_id"].astype(object),
        MAIN_CATEGORY: lambda matrix, training_set: main_category(matrix, training_set.features),
    },
    SPEND: {OWN_ORDER: _own_order},
    CHURN: {RECENCY: lambda matrix, _: recency_band(matrix["recency_days"])},
    ORGANIC_RESPONSE: {RECENCY: lambda matrix, _: recency_band(matrix["days_since_last_order"])},
    RESPONSE: {
        CHANNEL: lambda matrix, _: matrix["channel"].astype(object),
        COMBINATION: lambda matrix, _: matrix["channel"] + " " + matrix["day_of_week"] + " " + matrix["daypart"],
    },
}
