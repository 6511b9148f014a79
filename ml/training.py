"""Training: one CatBoost multiclass classifier, small and fast."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from catboost import CatBoostClassifier

from ml.affinity_model import AffinityModel, pool
from ml.training_sets import TrainingSet


@dataclass(frozen=True)
class BoostingSettings:
    """What was measured to be enough: 30,000 rows x 105 features x 7 classes on two cores, validation log loss in brackets.

    CatBoost's defaults at depth 4 take 63 s [.920]: ordered boosting and combinations of categorical features cost most.
    One-hot categories and plain boosting: 17 s [.920]; 32 borders and half the rows for each tree: 6 s [.924];
    a stronger L2 with fewer, larger steps: 7 s [.920]. Depth 6 is no better [.925].
    """

    depth: int = 4
    iterations: int = 200
    learning_rate: float = 0.15
    l2_leaf_reg: float = 20.0
    subsample: float = 0.5
    border_count: int = 32
    one_hot_max_size: int = 64
    early_stopping_rounds: int = 20


@dataclass(frozen=True)
class TrainedModel:
    """A model with the settings that made it and the number of trees that early stopping kept."""

    model: AffinityModel
    settings: dict[str, Any]
    tree_count: int


def train(training_set: TrainingSet, *, seed: int, threads: int, settings: BoostingSettings | None = None) -> TrainedModel:
    """Fit on the training cut-offs and stop early on the validation cut-off. Same data, seed and threads: same model.

    A category without a training label cannot be learned. It is published with 1 / (rows + categories), Laplace's estimate for
    what was not seen yet, so that its log loss stays finite.
    """
    chosen = settings or BoostingSettings()
    classifier = CatBoostClassifier(
        loss_function="MultiClass",
        boosting_type="Plain",
        bootstrap_type="Bernoulli",
        random_seed=seed,
        thread_count=threads,
        allow_writing_files=False,
        logging_level="Silent",
        **asdict(chosen),
    )
    # CatBoost refuses validation labels that training has not seen; the evaluation counts those rows.
    known = np.isin(training_set.validation_labels.astype(str), np.unique(training_set.train_labels.astype(str)))
    classifier.fit(
        pool(training_set.train, training_set.features, training_set.train_labels),
        eval_set=pool(training_set.validation[known], training_set.features, training_set.validation_labels[known])
        if known.any()
        else None,
    )
    model = AffinityModel(
        classifier=classifier,
        features=training_set.features,
        categories=training_set.categories,
        unseen_probability=1.0 / (len(training_set.train) + len(training_set.categories)),
    )
    return TrainedModel(model, {**asdict(chosen), "random_seed": seed, "thread_count": threads}, int(classifier.tree_count_))
