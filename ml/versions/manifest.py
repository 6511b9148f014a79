"""The manifest beside a model file: enough to refuse a wrong file, and how the right one was made and judged."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, model_validator

from customer360.features import Feature
from ml.datasets.bands import Bands
from ml.datasets.training_sets import TrainingSet
from ml.fitting.calibration import Calibration
from ml.fitting.training import TrainedModel
from ml.fitting.tuning import Trial
from ml.judging.evaluation import CHAMPION, MODEL, Evaluation

PACKAGES = ("catboost", "numpy", "pandas")


class FeatureType(BaseModel):
    """A feature as the model file knows it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["numeric", "categorical"]


class Manifest(BaseModel):
    """``manifest.json``. Timestamps are UTC. ``metrics``: contender -> measure -> value on the validation cut-off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    created_at: AwareDatetime
    features: tuple[FeatureType, ...]
    categories: tuple[str, ...]
    unseen_probability: float
    calibration: Calibration = Calibration()
    decision_weights: tuple[float, ...] | None = None
    bands: Bands | None = None
    horizon_days: int | None = None  # missing in versions of early releases
    train_cutoffs: tuple[datetime, ...]
    validation_cutoff: datetime
    rows_train: int
    rows_validation: int
    data_fingerprint: str
    metrics: dict[str, dict[str, float]]
    recall: dict[str, float | None]
    importance: dict[str, float]
    settings: dict[str, Any]
    tuning: tuple[Trial, ...] = ()
    tree_count: int
    packages: dict[str, str]
    model_file: Literal["model.cbm", "model.npz"] = "model.cbm"  # model.npz: a random forest, of before 0.1.0
    model_sha256: str
    rivals: tuple[str, ...] = ()  # of before 0.1.0: contenders in ``metrics`` that are no baselines
    judged_on: str = ""

    @model_validator(mode="after")
    def _has_a_baseline(self) -> Self:
        if MODEL not in self.metrics or not self.baselines:
            raise ValueError("metrics lack the model or every baseline")
        return self

    @property
    def baselines(self) -> dict[str, float]:
        """Log loss of each baseline: contender -> nats a row."""
        others = {MODEL, CHAMPION, *self.rivals}
        return {name: scores["log_loss"] for name, scores in self.metrics.items() if name not in others}

    def top_features(self, count: int) -> list[str]:
        """The most important features, the most important first."""
        return sorted(self.importance, key=lambda name: (-self.importance[name], name))[:count]


def describe(
    *,
    name: str,
    version: str,
    created_at: datetime,
    trained: TrainedModel,
    training_set: TrainingSet,
    evaluation: Evaluation,
    model_sha256: str,
) -> Manifest:
    """The manifest of a model that was just trained and evaluated. ``created_at`` carries its time zone."""
    model = trained.model
    return Manifest(
        name=name,
        version=version,
        created_at=created_at.astimezone(UTC),
        features=feature_types(model.features),
        categories=model.categories,
        unseen_probability=model.unseen_probability,
        calibration=model.calibration,
        decision_weights=model.weights,
        bands=model.bands,
        horizon_days=training_set.target.horizon_days,
        train_cutoffs=training_set.train_cutoffs,
        validation_cutoff=training_set.validation_cutoff,
        rows_train=evaluation.rows_train,
        rows_validation=evaluation.rows_validation,
        data_fingerprint=training_set.fingerprint,
        metrics={
            str(row["contender"]): {measure: float(value) for measure, value in row.items() if measure != "contender"}
            for row in evaluation.scores.to_dict("records")
        },
        recall={
            str(row["category_id"]): float(row["model"]) if row["rows"] else None
            for row in evaluation.recall.to_dict("records")
        },
        importance={str(row["feature"]): float(row["importance"]) for row in evaluation.importance.to_dict("records")},
        settings=trained.settings,
        tuning=trained.search.trials if trained.search else (),
        tree_count=trained.tree_count,
        packages={**{package: package_version(package) for package in PACKAGES}, "python": platform.python_version()},
        model_sha256=model_sha256,
        judged_on=training_set.judged_on,
    )


def feature_types(features: tuple[Feature, ...]) -> tuple[FeatureType, ...]:
    """Name and kind of each feature, in order."""
    return tuple(FeatureType(name=feature.name, kind=feature.kind) for feature in features)
