"""Training: one CatBoost multiclass classifier, small and fast, with its calibration and its decision weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from catboost import CatBoostClassifier

from ml.arrays import Floats, Integers
from ml.datasets.training_sets import Split, TrainingSet
from ml.fitting.boosting_settings import BoostingSettings
from ml.fitting.calibration import FLOOR, UNCALIBRATED, fit_calibration
from ml.fitting.class_model import ClassModel, pool
from ml.fitting.decisions import decision_weights
from ml.fitting.tuning import Budget, Search, search
from ml.measures import row_losses


@dataclass(frozen=True)
class TuningPredictions:
    """Predictions for the tuning rows by a model that was not fitted on them: probabilities, true classes, its trees."""

    probabilities: Floats
    truth: Integers
    trees: int


@dataclass(frozen=True)
class TrainedModel:
    """A model with the settings that made it, its number of trees, and the search for the settings where there was one."""

    model: ClassModel
    settings: dict[str, Any]
    tree_count: int
    search: Search | None = None


def train(
    training_set: TrainingSet,
    *,
    seed: int,
    threads: int,
    settings: BoostingSettings | None = None,
    budget: Budget | None = None,
) -> TrainedModel:
    """Choose on the tuning rows, then fit on all training rows. Same data, seed and threads: same model.

    The number of trees comes from early stopping on the tuning rows; calibration and decision weights are learned from the
    predictions of those models for them. The model that is kept has as many trees and was fitted on the tuning rows as well.

    Rows count by their weights where trees are fitted. The choices do not use them: they are to be right for the customers who
    are served, of whom each counts once.

    A category without a training label cannot be learned. It is published with 1 / (rows + categories), Laplace's estimate for
    what was not seen yet, so that its log loss stays finite.

    With a ``budget`` other settings are searched for, on the tuning rows as well; see ``ml.fitting.tuning``.
    """
    chosen = settings or BoostingSettings()
    features, labels = training_set.features, training_set.train_labels.astype(str)

    def classifier(candidate: BoostingSettings) -> CatBoostClassifier:
        return _classifier(candidate, seed, threads)

    def tune(candidate: BoostingSettings) -> list[TuningPredictions]:
        splits = training_set.tuning
        found = [_tuning_predictions(training_set, labels, split, candidate, classifier(candidate)) for split in splits]
        return [predictions for predictions in found if predictions is not None]

    tuned, searched = tune(chosen), None
    if budget and tuned:
        searched = search(chosen, budget, seed, lambda candidate: _row_losses(tune(candidate)))
        chosen = searched.chosen
        tuned = tune(chosen)
    trees = max(round(float(np.mean([split.trees for split in tuned]))), 1) if tuned else chosen.iterations
    final = classifier(replace(chosen, iterations=trees))
    final.fit(pool(training_set.train, features, labels, training_set.train_weights))
    made_with = {**asdict(chosen), "random_seed": seed, "thread_count": threads}
    return TrainedModel(_class_model(training_set, final, tuned), made_with, int(final.tree_count_), searched)


def _class_model(training_set: TrainingSet, classifier: CatBoostClassifier, tuned: Sequence[TuningPredictions]) -> ClassModel:
    """The classifier with the calibration and the decision weights learned from ``tuned``, neutral ones where it is empty."""
    calibration, weights = UNCALIBRATED, np.ones(len(training_set.categories))
    if tuned:
        probabilities = np.concatenate([split.probabilities for split in tuned])
        truth = np.concatenate([split.truth for split in tuned])
        calibration = fit_calibration(probabilities, truth)
        places = [training_set.categories.index(label) for label in sorted(set(training_set.train_labels.astype(str)))]
        weights[places] = decision_weights(calibration.apply(probabilities), truth)
    return ClassModel(
        classifier=classifier,
        features=training_set.features,
        categories=training_set.categories,
        unseen_probability=1.0 / (len(training_set.train) + len(training_set.categories)),
        calibration=calibration,
        weights=tuple(float(weight) for weight in weights),
        bands=training_set.amounts.bands if training_set.amounts else None,
    )


def _row_losses(tuned: Sequence[TuningPredictions]) -> Floats:
    """The log loss of each tuning row."""
    return np.concatenate([row_losses(split.probabilities, split.truth) for split in tuned])


def _tuning_predictions(
    training_set: TrainingSet,
    labels: npt.NDArray[np.str_],
    split: Split,
    settings: BoostingSettings,
    classifier: CatBoostClassifier,
) -> TuningPredictions | None:
    """None where the fitted rows have fewer than two classes, or no tuning row has one of them.

    Rows of a class that the fitted rows lack are left out: CatBoost refuses to stop on them. They count in the evaluation.
    """
    seen, known = sorted(set(labels)), sorted(set(labels[split.fitted]))
    is_tuned = split.tuned & np.isin(labels, known)
    if len(known) < 2 or not is_tuned.any():
        return None
    features, tuned = training_set.features, training_set.train[is_tuned]
    classifier.fit(
        pool(training_set.train[split.fitted], features, labels[split.fitted], training_set.train_weights[split.fitted]),
        eval_set=pool(tuned, features, labels[is_tuned]),
        early_stopping_rounds=settings.early_stopping_rounds,
    )
    shares = np.full((len(tuned), len(seen)), FLOOR)
    places = [seen.index(str(label)) for label in classifier.classes_]
    shares[:, places] = np.asarray(classifier.predict_proba(pool(tuned, features)), dtype=np.float64).reshape(-1, len(places))
    truth = np.array([seen.index(label) for label in labels[is_tuned]])
    return TuningPredictions(shares / shares.sum(axis=1, keepdims=True), truth, int(classifier.tree_count_))


def _classifier(settings: BoostingSettings, seed: int, threads: int) -> CatBoostClassifier:
    values = asdict(settings)
    del values["early_stopping_rounds"]
    return CatBoostClassifier(
        loss_function="MultiClass",
        boosting_type="Plain",
        bootstrap_type="Bernoulli",
        random_seed=seed,
        thread_count=threads,
        allow_writing_files=False,
        logging_level="Silent",
        **values,
    )
