"""Simple rules that a model has to beat, and that serve until one does: frequencies by groups of customers, own shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from customer360.features import Feature
from customer360.settings import NONE
from ml.arrays import Booleans, Floats, Integers, Texts
from ml.datasets.bands import Bands
from ml.datasets.segments import ORDERS
from ml.datasets.targets import AFFINITY, CHURN, ORGANIC_RESPONSE, PRODUCT, RESPONSE, SPEND
from ml.datasets.training_sets import TrainingSet
from ml.measures import log_loss

PRIOR = "prior"
LAST_CATEGORY = "last category bought"
MAIN_CATEGORY = "most frequent category"
OWN_SHARES = "own category shares"
OWN_ORDER = "own mean order"
CHANNEL = "channel"
COMBINATION = "channel, day and daypart"
POPULARITY = "recent popularity"
OWN_FREQUENCY = "own frequency and popularity"
ALIKE = "TIFU-KNN"
RECENCY = "days since the last order"
RECENCY_FREQUENCY = "recency and frequency"
RECENCY_EDGES = (4, 8, 15, 31, 61, 91, 181, 366)
STRENGTHS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


@dataclass(frozen=True)
class Rule:
    """How a baseline groups rows. ``group``: matrix, features and bands (of an amount, else None) -> the group of each row.

    ``reads``: the feature that its reason names for a class; None where there is none.
    """

    group: Callable[[pd.DataFrame, Sequence[Feature], Bands | None], pd.Series[str]]
    reads: Callable[[Sequence[Feature], str], str | None]


class Baseline(BaseModel):
    """A fitted baseline, as it stands in a manifest: probabilities over the target's classes in their order.

    ``groups``: the probabilities of each group's customers; who is of another group gets those of ``unseen``. Of own category
    shares both are (some category, none) alone, and the categories share the first by (own lines + ``strength`` x ``among``) /
    (all own lines + ``strength``).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    name: str
    classes: tuple[str, ...]
    unseen: tuple[float, ...]
    groups: dict[str, tuple[float, ...]]
    among: tuple[float, ...] = ()
    strength: float = 0.0

    def probabilities(self, matrix: pd.DataFrame, features: Sequence[Feature], bands: Bands | None = None) -> Floats:
        """Floats (rows x classes) for a feature matrix; every row sums to 1."""
        by_group = self._by_group(matrix, features, bands)
        if not self.among:
            return by_group
        return np.column_stack([self._within(matrix, features) * by_group[:, :1], by_group[:, 1]])

    def pushes(self, matrix: pd.DataFrame, features: Sequence[Feature], top: Integers) -> dict[str, Floats]:
        """Feature -> by how much it moves log p(class ``top``) of each row from that of a customer of whom nothing is known."""
        rows, rule = np.arange(len(matrix)), RULES.get(self.target, {}).get(self.name)
        by_group = self._by_group(matrix, features, None)
        found: dict[str, Floats] = {}
        if self.among:
            raised = np.log(self._within(matrix, features)[rows, top] / np.array(self.among)[top])
            lines = lifetime_lines(features, self.classes)
            found = {lines[place]: np.where(top == place, raised, 0.0) for place in np.unique(top)}
            top = np.zeros_like(top)
        moved = np.log(by_group[rows, top] / np.array(self.unseen)[top])
        for place in np.unique(top) if rule else ():
            name = rule.reads(features, self.classes[place]) if rule else None
            if name is not None:
                found[name] = found.get(name, np.zeros(len(matrix))) + np.where(top == place, moved, 0.0)
        return found

    def features_read(self, features: Sequence[Feature]) -> set[str]:
        """Names of the features that its reasons may name."""
        rule = RULES.get(self.target, {}).get(self.name)
        named = {rule.reads(features, name) for name in self.classes if name != NONE} if rule else set()
        own = set(lifetime_lines(features, self.classes)) if self.among else set()
        return own | {name for name in named if name is not None}

    def _by_group(self, matrix: pd.DataFrame, features: Sequence[Feature], bands: Bands | None) -> Floats:
        rule = RULES.get(self.target, {}).get(self.name)
        names = rule.group(matrix, features, bands) if rule else pd.Series(PRIOR, index=matrix.index, dtype=object)
        table = np.array([*self.groups.values(), self.unseen])
        places = pd.Index(list(self.groups)).get_indexer(pd.Index(names.astype(object)))
        return np.asarray(table[places], dtype=np.float64)  # -1, a group that was not seen, is the last row

    def _within(self, matrix: pd.DataFrame, features: Sequence[Feature]) -> Floats:
        lines = matrix[lifetime_lines(features, self.classes)].fillna(0).to_numpy(np.float64)
        return smoothed_shares(lines, np.array(self.among), self.strength)


def fit_baselines(training_set: TrainingSet, rows: Booleans | slice = slice(None)) -> dict[str, Baseline]:
    """Each baseline of the target, learned on these training rows (default: all), unweighted.

    ``prior``: label frequencies, add-one smoothed. Those of ``RULES``: label frequencies among the customers of the same group,
    smoothed towards the prior with the weight of as many rows as there are classes. ``own category shares``: each customer's
    share of purchase lines by category over everything known, smoothed towards the prior with the weight of ``STRENGTHS`` that
    fits the labels best; whether anyone buys at all is the frequency in the customer's group of recency and orders.
    """
    target, classes, features = training_set.target, training_set.categories, training_set.features
    matrix = training_set.train[rows].reset_index(drop=True)
    labels = training_set.train_labels[rows].astype(str)
    bands = training_set.amounts.bands if training_set.amounts else None
    prior = class_prior(labels, classes)
    found = {PRIOR: Baseline(target=target.name, name=PRIOR, classes=classes, unseen=tuple(prior), groups={})}
    for name, rule in RULES.get(target.name, {}).items():
        groups = rule.group(matrix, features, bands)
        if name == OWN_SHARES:
            found[name] = _fit_own_shares(matrix, labels, groups, found[PRIOR], features)
        else:
            found[name] = found[PRIOR].model_copy(
                update={"name": name, "groups": group_frequencies(groups, labels, prior, classes)}
            )
    return found


def _fit_own_shares(
    matrix: pd.DataFrame, labels: Texts, groups: pd.Series[str], prior: Baseline, features: Sequence[Feature]
) -> Baseline:
    classes, shares = prior.classes, np.array(prior.unseen)
    buys = np.where(labels == NONE, NONE, "buys").astype(object)
    unseen = np.array([1 - shares[-1], shares[-1]])
    among = shares[:-1] / shares[:-1].sum()
    is_buyer = labels != NONE
    lines = matrix.loc[is_buyer, lifetime_lines(features, classes)].fillna(0).to_numpy(np.float64)
    truth = np.array([classes.index(label) for label in labels[is_buyer]], dtype=np.int64)
    strength = STRENGTHS[-1]
    if len(truth):
        strength = min(STRENGTHS, key=lambda tried: log_loss(smoothed_shares(lines, among, tried), truth))
    return prior.model_copy(
        update={
            "name": OWN_SHARES,
            "unseen": tuple(unseen),
            "groups": group_frequencies(groups, buys, unseen, ("buys", NONE)),
            "among": tuple(among),
            "strength": strength,
        }
    )


def smoothed_shares(lines: Floats, among: Floats, strength: float) -> Floats:
    """(lines of the category + strength x its share ``among`` all) / (all lines + strength), rows x categories."""
    return np.asarray((lines + strength * among) / (lines.sum(axis=1, keepdims=True) + strength), dtype=np.float64)


def lifetime_lines(features: Sequence[Feature], classes: Sequence[str]) -> list[str]:
    """Names of the features that count purchase lines over everything known, one a category in their order, without "none"."""
    by_category = {feature.category_id: feature.name for feature in features if feature.measure == "lifetime_lines"}
    return [by_category[category] for category in classes if category != NONE]


def class_prior(labels: Texts, categories: tuple[str, ...]) -> Floats:
    """(count + 1) / (rows + categories) for each category."""
    counts = pd.Series(labels).value_counts().reindex(list(categories), fill_value=0).to_numpy(np.float64)
    return np.asarray((counts + 1) / (counts.sum() + len(categories)), dtype=np.float64)


def group_frequencies(
    groups: pd.Series[str], labels: Texts, prior: Floats, categories: tuple[str, ...]
) -> dict[str, tuple[float, ...]]:
    """Group -> (its label counts + K x prior) / (its rows + K), K = number of categories."""
    counts = pd.crosstab(groups.to_numpy(dtype=object), labels).reindex(columns=list(categories), fill_value=0)
    table, strength = counts.to_numpy(np.float64), float(len(categories))
    shares = (table + strength * prior) / (table.sum(axis=1, keepdims=True) + strength)
    return {str(name): tuple(float(share) for share in row) for name, row in zip(counts.index, shares, strict=True)}


def main_category(matrix: pd.DataFrame, features: Sequence[Feature]) -> pd.Series[str]:
    """The category with the largest net spend > 0 over the longest window, ties by category id, else "none"."""
    columns = _longest_by_category(features, "spend")
    real = sorted(columns)
    amounts = matrix[[columns[category] for category in real]].fillna(0).to_numpy()
    best = np.array(real, dtype=object)[amounts.argmax(axis=1)]
    return pd.Series(np.where(amounts.max(axis=1) > 0, best, NONE), index=matrix.index, dtype=object)


def own_order_band(matrix: pd.DataFrame, features: Sequence[Feature], bands: Bands | None) -> pd.Series[str]:
    """The band of the customer's own mean net spend an order over the longest window, "no order" without one."""
    if bands is None:
        raise ValueError("own mean orders are grouped by bands of an amount, and there are none")
    orders, spend = (
        matrix[_longest_total(features, measure)].fillna(0).to_numpy(np.float64) for measure in ("orders", "spend")
    )
    return pd.Series(np.where(orders > 0, bands.labels(spend / np.maximum(orders, 1)), "no order"), dtype=object)


def share_band(shares: pd.Series[float]) -> pd.Series[str]:
    """A share of purchases in bands, two a doubling; shares below 1e-6 are one band."""
    doublings = np.floor(2 * np.log2(np.maximum(shares.to_numpy(np.float64), 1e-6)))
    return pd.Series([f"2^{value / 2:g}" for value in doublings], dtype=object)


def recency_band(days_since: pd.Series[float]) -> pd.Series[str]:
    """Days since the last order, in bands that grow; "never" before the first."""
    days = days_since.to_numpy(np.float64)
    names = np.array([f"from {low}" for low in (0, *RECENCY_EDGES)], dtype=object)
    return pd.Series(np.where(np.isnan(days), "never", names[np.searchsorted(RECENCY_EDGES, days, side="right")]), dtype=object)


def recency_and_frequency(matrix: pd.DataFrame) -> pd.Series[str]:
    """The band of days since the last order with that of orders in the RFM window, as in ``ml.datasets.segments``."""
    frequency = matrix["frequency"].to_numpy(np.float64)
    orders = np.full(len(matrix), "no order", dtype=object)
    for name, (low, high) in ORDERS.items():
        orders[(frequency >= low) & (frequency <= high)] = name
    return recency_band(matrix["recency_days"]) + ", " + pd.Series(orders, dtype=object)


def _longest_by_category(features: Sequence[Feature], measure: str) -> dict[str, str]:
    """Category -> name of the feature with this measure over the longest window."""
    own = [f for f in features if f.measure == measure and f.category_id is not None and f.window_days is not None]
    longest = max(feature.window_days or 0 for feature in own)
    return {str(feature.category_id): feature.name for feature in own if feature.window_days == longest}


def _longest_total(features: Sequence[Feature], measure: str) -> str:
    totals = {f.window_days: f.name for f in features if f.measure == measure and f.category_id is None and f.window_days}
    return totals[max(totals)]


def _of_column(name: str) -> Rule:
    return Rule(lambda matrix, *_: matrix[name].astype(object).reset_index(drop=True), lambda *_: name)


_BY_RECENCY_AND_FREQUENCY = Rule(lambda matrix, *_: recency_and_frequency(matrix), lambda *_: "recency_days")
# Target -> baseline -> its rule. The prior has none.
RULES: Mapping[str, Mapping[str, Rule]] = {
    AFFINITY: {
        LAST_CATEGORY: _of_column("last_category_id"),
        MAIN_CATEGORY: Rule(
            lambda matrix, features, _: main_category(matrix, features),
            lambda features, name: _longest_by_category(features, "spend").get(name),
        ),
        RECENCY_FREQUENCY: _BY_RECENCY_AND_FREQUENCY,
        OWN_SHARES: _BY_RECENCY_AND_FREQUENCY,
    },
    SPEND: {OWN_ORDER: Rule(own_order_band, lambda features, _: _longest_total(features, "spend"))},
    CHURN: {
        RECENCY: Rule(lambda matrix, *_: recency_band(matrix["recency_days"]), lambda *_: "recency_days"),
        RECENCY_FREQUENCY: _BY_RECENCY_AND_FREQUENCY,
    },
    PRODUCT: {
        POPULARITY: Rule(lambda matrix, *_: share_band(matrix["popularity"]), lambda *_: "popularity"),
        OWN_FREQUENCY: Rule(
            lambda matrix, *_: share_band(matrix["purchase_share"] + matrix["popularity"]), lambda *_: "purchase_share"
        ),
        ALIKE: Rule(lambda matrix, *_: share_band(matrix["tifu_knn"]), lambda *_: "tifu_knn"),
    },
    ORGANIC_RESPONSE: {
        RECENCY: Rule(lambda matrix, *_: recency_band(matrix["days_since_last_order"]), lambda *_: "days_since_last_order")
    },
    RESPONSE: {
        CHANNEL: _of_column("channel"),
        COMBINATION: Rule(
            lambda matrix, *_: matrix["channel"] + " " + matrix["day_of_week"] + " " + matrix["daypart"], lambda *_: "channel"
        ),
    },
}
