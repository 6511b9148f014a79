"""What is written beside a model file: enough to refuse the wrong file and to know how the right one came about."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from customer360.features import Feature
from ml.datasets.bands import Bands
from ml.datasets.training_sets import TrainingSet
from ml.fitting.calibration import Calibration
from ml.fitting.training import TrainedModel
from ml.fitting.tuning import Trial
from ml.judging.evaluation import Evaluation
from ml.versions.model_files import BOOSTED_FILE

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
    horizon_days: int | None = None  # older versions do not say
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
    model_file: Literal["model.cbm", "model.npz"] = "model.cbm"
    model_sha256: str
    rivals: tuple[str, ...] = ()  # contenders in ``metrics`` that need not be beaten
    judged_on: str = ""

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
    model_file: str,
    model_sha256: str,
) -> Manifest:
    """The manifest of a model that was just trained and evaluated. ``created_at`` carries its time zone."""
    model = trained.model
    packages = PACKAGES if model_file == BOOSTED_FILE else (*PACKAGES, "scikit-learn")
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
        packages={**{package: package_version(package) for package in packages}, "python": platform.python_version()},
        model_file=model_file,
        model_sha256=model_sha256,
        rivals=evaluation.rivals,
        judged_on=training_set.judged_on,
    )


def feature_types(features: tuple[Feature, ...]) -> tuple[FeatureType, ...]:
    """Name and kind of each feature, in order."""
    return tuple(FeatureType(name=feature.name, kind=feature.kind) for feature in features)
