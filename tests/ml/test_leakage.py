from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from trained_models import Trained

from customer360.features import Feature
from ml.datasets.leakage import auc, strongest_features
from ml.datasets.training_sets import TrainingSet


def planted(training_set: TrainingSet, train: pd.Series, validation: pd.Series, kind: str) -> TrainingSet:
    """The training set with one more column."""
    feature = Feature("spend_after", "categorical" if kind == "categorical" else "numeric", "", "spend_after")
    return replace(
        training_set,
        features=(*training_set.features, feature),
        train=training_set.train.assign(spend_after=train.to_numpy()),
        validation=training_set.validation.assign(spend_after=validation.to_numpy()),
    )


def test_the_auc_is_that_worked_out_by_hand() -> None:
    # Pairs (inside, outside): 3 > 1, 3 > 2, 2 > 1, 2 = 2: 3.5 of 4.
    assert auc(np.array([3.0, 2.0, 1.0, 2.0]), np.array([True, True, False, False])) == 3.5 / 4
    assert auc(np.array([1.0, 2.0, 3.0]), np.array([True, False, False])) == 1
    assert auc(np.array([np.nan, 2.0]), np.array([True, False])) == 1


def test_honest_features_raise_no_alarm_and_the_strongest_is_named(trained: Trained) -> None:
    found = strongest_features(trained.training_set)
    assert len(found) == 5
    assert not any(feature.is_alarming for feature in found)
    # The shop of these frames buys along its browsing.
    assert found[0].feature.startswith(("views_", "dwell_seconds_"))
    assert found[0].category_id in found[0].feature
    assert [feature.auc for feature in found] == sorted((feature.auc for feature in found), reverse=True)


def test_a_planted_amount_that_the_label_is_made_of_is_caught(trained: Trained) -> None:
    training_set, chance = trained.training_set, np.random.default_rng(1)
    spend = [
        pd.Series(np.where(labels == "fitness", chance.gamma(2, 20, len(labels)) + 1, 0))
        for labels in (training_set.train_labels, training_set.validation_labels)
    ]
    (first, *_) = strongest_features(planted(training_set, *spend, "numeric"))
    assert (first.feature, first.category_id, first.is_alarming) == ("spend_after", "fitness", True)


def test_a_planted_text_that_repeats_the_label_is_caught(trained: Trained) -> None:
    training_set = trained.training_set
    texts = [pd.Series(labels) for labels in (training_set.train_labels, training_set.validation_labels)]
    (first, *_) = strongest_features(planted(training_set, *texts, "categorical"))
    assert (first.feature, first.is_alarming) == ("spend_after", True)


def test_a_text_that_is_different_in_every_row_tells_nothing(trained: Trained) -> None:
    training_set = trained.training_set
    texts = [
        pd.Series([f"{name}{n}" for n in range(len(part))])
        for name, part in (("a", training_set.train), ("b", training_set.validation))
    ]
    names = {
        feature.feature: feature.auc
        for feature in strongest_features(planted(training_set, *texts, "categorical"), count=1_000)
    }
    assert names["spend_after"] == pytest.approx(0.5, abs=0.02)
