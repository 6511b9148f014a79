"""Training: one CatBoost multiclass classifier, small and fast, with its calibration, decision weights, and its rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from catboost import CatBoostClassifier
from scipy.optimize import minimize_scalar

from ml.arrays import Booleans, Floats, Integers
from ml.datasets.targets import CHOSEN
from ml.datasets.training_sets import Split, TrainingSet
from ml.fitting.baselines import Baseline, fit_baselines
from ml.fitting.boosting_settings import BoostingSettings
from ml.fitting.calibration import FLOOR, UNCALIBRATED, fit_calibration
from ml.fitting.class_model import ClassModel, pool, pooled
from ml.fitting.decisions import decision_weights
from ml.fitting.tuning import Budget, Search, search
from ml.measures import log_loss, row_losses

MODEL, BLEND = "model", "blend"
LEAST_WEIGHT = 0.02  # a side with less weight has none


@dataclass(frozen=True)
class TuningPredictions:
    """Predictions for the tuning rows by what was not fitted on them: probabilities, true classes, the number of trees.

    ``baselines``: those of each baseline, over the same classes. ``classifier`` may have more trees than are best.
    """

    probabilities: Floats
    truth: Integers
    trees: int
    baselines: Mapping[str, Floats]
    classifier: CatBoostClassifier
    fitted: Booleans


@dataclass(frozen=True)
class Fit:
    """A classifier with the labels and weights of the rows that it was fitted on: those that were known at ``cutoff``."""

    classifier: CatBoostClassifier
    labels: npt.NDArray[np.str_]
    weights: Floats
    cutoff: datetime

    def grown(self, training_set: TrainingSet, trees: int) -> CatBoostClassifier | None:
        """Its first trees, where it was fitted on all training rows of that set with as many trees: boosting adds to them."""
        same = (
            self.classifier.tree_count_ >= trees
            and self.cutoff == training_set.validation_cutoff
            and np.array_equal(self.labels, training_set.train_labels.astype(str))
            and np.array_equal(self.weights, training_set.train_weights)
        )
        if not same:
            return None
        found = self.classifier.copy()
        found.shrink(trees)
        return found


@dataclass(frozen=True)
class TrainedModel:
    """What may serve, with the settings that made it: the trees alone, a blend with the best baseline, or a baseline.

    ``blend`` is None where there are no choice rows, and for models of contacts: without one plans use smoothed rates.

    ``search``: the search for the settings where there was one. ``fits``: classifiers that were
    fitted on the older rows, for the training sets of earlier cut-offs.
    """

    model: ClassModel
    baselines: Mapping[str, Baseline]
    boosting: BoostingSettings
    settings: dict[str, Any]
    tree_count: int
    blend: ClassModel | None = None
    search: Search | None = None
    fits: tuple[Fit, ...] = ()

    @property
    def contenders(self) -> dict[str, ClassModel]:
        """Name -> what would serve under it. A baseline decides for its most probable class."""
        alone = {
            name: replace(self.model, baseline=baseline, baseline_weight=1.0, weights=None)
            for name, baseline in self.baselines.items()
        }
        return {MODEL: self.model, **({BLEND: self.blend} if self.blend else {}), **alone}


def train(
    training_set: TrainingSet,
    *,
    seed: int,
    threads: int,
    settings: BoostingSettings | None = None,
    budget: Budget | None = None,
    fits: Sequence[Fit] = (),
) -> TrainedModel:
    """Choose on the tuning rows, then fit on all training rows. Same data, seed and threads: same model.

    The number of trees comes from early stopping on the tuning rows; calibration and decision weights are learned from the
    predictions of those models for them. The model that is kept has as many trees and was fitted on the tuning rows as well.

    Rows count by their weights where trees are fitted. The choices do not use them: they are to be right for the customers who
    are served, of whom each counts once.

    A category without a training label cannot be learned. It is published with 1 / (rows + categories), Laplace's estimate for
    what was not seen yet, so that its log loss stays finite.

    With a ``budget`` other settings are searched for, on the tuning rows as well; see ``ml.fitting.tuning``. ``fits``: of a
    training set with newer rows and the same settings; what they hold already is not fitted again.
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
    final = next((grown for fit in fits if (grown := fit.grown(training_set, trees)) is not None), None)
    if final is None:
        final = classifier(replace(chosen, iterations=trees))
        final.fit(pool(training_set.train, features, labels, training_set.train_weights))
    baselines = fit_baselines(training_set)
    model = _class_model(training_set, final, tuned)
    return TrainedModel(
        model=model,
        baselines=baselines,
        boosting=chosen,
        settings={**asdict(chosen), "random_seed": seed, "thread_count": threads},
        tree_count=int(final.tree_count_),
        blend=_blend(training_set, model, baselines, tuned) if training_set.target.name in CHOSEN and tuned else None,
        search=searched,
        fits=tuple(_fit(training_set, labels, split) for split in tuned)
        if len(tuned) == 1 and training_set.train_cutoffs
        else (),
    )


def train_earlier(
    training_set: TrainingSet, trained: TrainedModel, *, seed: int, threads: int
) -> list[tuple[TrainingSet, TrainedModel]]:
    """The training sets of the earlier judged cut-offs, the newest first, each with what was trained on its rows alone.

    With the settings of ``trained``; its search, where there was one, saw the newest choice rows. The trees that a training
    fits on all but its newest cut-off, to choose on that, are those of the cut-off before: each earlier one costs one more fit.
    """
    found: list[tuple[TrainingSet, TrainedModel]] = []
    for earlier in training_set.earlier:
        trained = train(earlier, seed=seed, threads=threads, settings=trained.boosting, fits=trained.fits)
        found.append((earlier, trained))
    return found


def _fit(training_set: TrainingSet, labels: npt.NDArray[np.str_], split: TuningPredictions) -> Fit:
    cutoff = training_set.train_cutoffs[-1]
    return Fit(split.classifier, labels[split.fitted], training_set.train_weights[split.fitted], cutoff)


def _blend(
    training_set: TrainingSet, model: ClassModel, baselines: Mapping[str, Baseline], tuned: Sequence[TuningPredictions]
) -> ClassModel:
    """The pool of trees and the baseline that is best on the tuning rows, with the weight that is best on them."""
    truth = np.concatenate([split.truth for split in tuned])
    by_trees = model.calibration.apply(np.concatenate([split.probabilities for split in tuned]))
    by_baseline = {name: np.concatenate([split.baselines[name] for split in tuned]) for name in baselines}
    best = min(by_baseline, key=lambda name: log_loss(by_baseline[name], truth))
    weight = pool_weight(by_trees, by_baseline[best], truth)
    if not LEAST_WEIGHT < weight < 1 - LEAST_WEIGHT:
        weight = float(round(weight))
    places = [training_set.categories.index(label) for label in sorted(set(training_set.train_labels.astype(str)))]
    weights = np.ones(len(training_set.categories))
    weights[places] = decision_weights(pooled(by_trees, by_baseline[best], weight), truth)
    return replace(model, baseline=baselines[best], baseline_weight=weight, weights=tuple(float(value) for value in weights))


def pool_weight(by_trees: Floats, by_baseline: Floats, truth: Integers) -> float:
    """The baseline's weight in [0, 1] with the lowest log loss on these rows, in which it is convex."""
    found = minimize_scalar(
        lambda weight: log_loss(pooled(by_trees, by_baseline, weight), truth), bounds=(0, 1), method="bounded"
    )
    return float(found.x)


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
        use_best_model=False,
    )
    trees = int(classifier.get_best_iteration()) + 1
    shares = np.full((len(tuned), len(seen)), FLOOR)
    places = [seen.index(str(label)) for label in classifier.classes_]
    shares[:, places] = np.asarray(classifier.predict_proba(pool(tuned, features), ntree_end=trees), dtype=np.float64).reshape(
        -1, len(places)
    )
    columns = [training_set.categories.index(label) for label in seen]
    bands = training_set.amounts.bands if training_set.amounts else None
    by_baseline = {
        name: baseline.probabilities(tuned, features, bands)[:, columns]
        for name, baseline in fit_baselines(training_set, split.fitted).items()
    }
    return TuningPredictions(
        _normalised(shares),
        np.array([seen.index(label) for label in labels[is_tuned]]),
        trees,
        {name: _normalised(values) for name, values in by_baseline.items()},
        classifier,
        split.fitted,
    )


def _normalised(shares: Floats) -> Floats:
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float64)


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
