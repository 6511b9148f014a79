"""Training: one CatBoost multiclass classifier, small and fast, with its calibration and its decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from catboost import CatBoostClassifier

from ml.datasets.training_sets import Split, TrainingSet
from ml.fitting.boosting_settings import BoostingSettings
from ml.fitting.calibration import FLOOR, UNCALIBRATED, Classes, Floats, fit_calibration, row_losses
from ml.fitting.class_model import ClassModel, pool
from ml.fitting.decisions import decision_weights
from ml.fitting.forest import Forest
from ml.fitting.tuning import Budget, Search, search


@dataclass(frozen=True)
class Tuned:
    """What a model that was fitted on part of the rows says of the others: shares by class, true classes, its trees."""

    shares: Floats
    truth: Classes
    trees: int


@dataclass(frozen=True)
class TrainedModel:
    """A model with the settings that made it, its number of trees, and the search for the settings where there was one.

    ``tuned``: what was said of the tuning rows, None where there were none. Where families were compared
    (``ml.fitting.families``): ``rivals``, the models that were not kept, the figures of all, and why this one was.
    """

    model: ClassModel
    settings: dict[str, Any]
    tree_count: int
    search: Search | None = None
    tuned: Tuned | None = None
    rivals: Mapping[str, ClassModel] = field(default_factory=dict)
    families: pd.DataFrame | None = None
    family_reason: str = ""


def train(
    training_set: TrainingSet,
    *,
    seed: int,
    threads: int,
    settings: BoostingSettings | None = None,
    budget: Budget | None = None,
) -> TrainedModel:
    """Choose on the tuning rows, then fit on all training rows. Same data, seed and threads: same model.

    The number of trees comes from early stopping on the tuning rows; on what those models say of them, calibration and decision
    weights are learned. The model that is kept has as many trees and was fitted on the tuning rows as well.

    Rows count by their weights where trees are fitted. The choices do not use them: they are to be right for the customers who
    are served, of whom each counts once.

    A category without a training label cannot be learned. It is published with 1 / (rows + categories), Laplace's estimate for
    what was not seen yet, so that its log loss stays finite.

    With a ``budget`` other settings are searched for, on the tuning rows as well; see ``ml.fitting.tuning``.
    """
    chosen = settings or BoostingSettings()
    features, labels = training_set.features, training_set.train_labels.astype(str)

    def tune(candidate: BoostingSettings) -> list[Tuned]:
        splits = training_set.tuning
        found = [_tuned(training_set, labels, split, candidate, _classifier(candidate, seed, threads)) for split in splits]
        return [one for one in found if one is not None]

    tuned, searched = tune(chosen), None
    if budget and tuned:
        searched = search(chosen, budget, seed, lambda one: _losses(tune(one)))
        chosen = searched.chosen
        tuned = tune(chosen)
    trees = max(round(float(np.mean([one.trees for one in tuned]))), 1) if tuned else chosen.iterations
    final = _classifier(replace(chosen, iterations=trees), seed, threads)
    final.fit(pool(training_set.train, features, labels, training_set.train_weights))
    made_with = {**asdict(chosen), "random_seed": seed, "thread_count": threads}
    return replace(finished(training_set, final, tuned, made_with, int(final.tree_count_)), search=searched)


def finished(
    training_set: TrainingSet,
    classifier: CatBoostClassifier | Forest,
    tuned: Sequence[Tuned],
    settings: dict[str, Any],
    tree_count: int,
) -> TrainedModel:
    """A classifier with the calibration and the decision weights that ``tuned`` asks for, neutral ones where it is empty."""
    calibration, weights = UNCALIBRATED, np.ones(len(training_set.categories))
    together = None
    if tuned:
        together = Tuned(
            np.concatenate([one.shares for one in tuned]), np.concatenate([one.truth for one in tuned]), tree_count
        )
        calibration = fit_calibration(together.shares, together.truth)
        places = [training_set.categories.index(label) for label in sorted(set(training_set.train_labels.astype(str)))]
        weights[places] = decision_weights(calibration.apply(together.shares), together.truth)
    model = ClassModel(
        classifier=classifier,
        features=training_set.features,
        categories=training_set.categories,
        unseen_probability=1.0 / (len(training_set.train) + len(training_set.categories)),
        calibration=calibration,
        weights=tuple(float(weight) for weight in weights),
        bands=training_set.amounts.bands if training_set.amounts else None,
    )
    return TrainedModel(model, settings, tree_count, tuned=together)


def _losses(tuned: Sequence[Tuned]) -> Floats:
    """The log loss of each tuning row."""
    return np.concatenate([row_losses(one.shares, one.truth) for one in tuned])


def _tuned(
    training_set: TrainingSet,
    labels: npt.NDArray[np.str_],
    split: Split,
    settings: BoostingSettings,
    classifier: CatBoostClassifier,
) -> Tuned | None:
    """None where there is nothing to learn, or nothing to learn it from.

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
    return Tuned(shares / shares.sum(axis=1, keepdims=True), truth, int(classifier.tree_count_))


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
