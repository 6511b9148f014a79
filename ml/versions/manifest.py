"""The manifest beside a model file: enough to refuse a wrong file, and how the right one was made and judged."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from customer360.features import Feature
from ml.datasets.bands import Bands
from ml.datasets.training_sets import TrainingSet
from ml.fitting.baselines import Baseline
from ml.fitting.calibration import Calibration
from ml.fitting.training import MODEL, TrainedModel
from ml.fitting.tuning import Trial
from ml.judging.evaluation import CHAMPION, LEARNED, Evaluation

PACKAGES = ("catboost", "numpy", "pandas")


class FeatureType(BaseModel):
    """A feature as the model file knows it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["numeric", "categorical"]


class Manifest(BaseModel):
    """``manifest.json``. Timestamps are UTC. ``metrics``: contender -> measure -> value on the validation cut-off.

    ``serves``: the contender that the version serves: its trees (model), the blend, or a baseline alone. ``baseline`` has
    ``baseline_weight`` in it. ``odds_factor`` multiplies the odds of the classes that are no ``negatives`` (positions in
    ``categories``), so that as many buy as at the newest judged cut-off; ``metrics`` are those before it. ``served_because``:
    why, and ``judged_cutoffs``: on which cut-offs, the newest first.
    """

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
    serves: str = MODEL
    baseline: Baseline | None = None
    baseline_weight: float = Field(default=0.0, ge=0, le=1)
    negatives: tuple[int, ...] = ()
    odds_factor: float = Field(default=1.0, gt=0)  # 1 in versions before it was learned
    served_because: str = ""
    judged_cutoffs: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()  # of before 0.1.0: contenders in ``metrics`` that are no baselines
    judged_on: str = ""

    @model_validator(mode="after")
    def _has_a_baseline(self) -> Self:
        if MODEL not in self.metrics or not self.baselines:
            raise ValueError("metrics lack the model or every baseline")
        if self.serves not in self.metrics or (self.serves != MODEL and self.baseline is None):
            raise ValueError(f"it serves {self.serves}, of which it holds no metrics or no baseline")
        return self

    @property
    def served_metrics(self) -> dict[str, float]:
        """Measure -> value of the contender that serves."""
        return self.metrics[self.serves]

    @property
    def baselines(self) -> dict[str, float]:
        """Log loss of each baseline: contender -> nats a row."""
        others = {*LEARNED, CHAMPION, *self.rivals}
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
    model, choice = trained.contenders[evaluation.serves], evaluation.choice
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
            str(row["category_id"]): float(row[evaluation.serves]) if row["rows"] else None
            for row in evaluation.recall.to_dict("records")
        },
        importance={str(row["feature"]): float(row["importance"]) for row in evaluation.importance.to_dict("records")},
        settings=trained.settings,
        tuning=trained.search.trials if trained.search else (),
        tree_count=trained.tree_count,
        packages={**{package: package_version(package) for package in PACKAGES}, "python": platform.python_version()},
        model_sha256=model_sha256,
        judged_on=training_set.judged_on,
        serves=evaluation.serves,
        baseline=model.baseline,
        baseline_weight=model.baseline_weight,
        negatives=tuple(training_set.target.negatives),
        odds_factor=evaluation.odds_factor,
        served_because=choice.reason if choice else "",
        judged_cutoffs=tuple(evaluation.cutoffs["cutoff"].unique()) if choice else (),
    )


def serves_text(manifest: Manifest) -> str:
    """What answers when the version serves, and why, in plain words."""
    answers = "The trees alone."
    if manifest.baseline is not None and manifest.baseline_weight == 1:
        answers = f"The baseline '{manifest.baseline.name}' alone, a simple rule; the trees are kept beside it."
    elif manifest.baseline is not None:
        share = manifest.baseline_weight
        answers = f"A blend: trees with weight {1 - share:.2f}, the baseline '{manifest.baseline.name}' with {share:.2f}."
    if manifest.odds_factor != 1:
        answers += f" Odds times {manifest.odds_factor:.3f}, by the share of positives at the newest judged cut-off."
    because = manifest.served_because
    return f"{answers} {because[:1].upper()}{because[1:]}." if because else answers


def feature_types(features: tuple[Feature, ...]) -> tuple[FeatureType, ...]:
    """Name and kind of each feature, in order."""
    return tuple(FeatureType(name=feature.name, kind=feature.kind) for feature in features)
