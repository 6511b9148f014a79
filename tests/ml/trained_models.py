"""A trained model and what it was made of, shared by the tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from ml.datasets.training_sets import TrainingSet
from ml.fitting.training import TrainedModel, train
from ml.judging.evaluation import Evaluation, evaluate
from ml.versions.model_store import ModelStore

NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)


@dataclass(frozen=True)
class Trained:
    """A training set with the model made of it; read-only, shared by the tests."""

    @classmethod
    def of(cls, training_set: TrainingSet) -> Trained:
        made = train(training_set, seed=1, threads=2)
        return cls(training_set, made, evaluate(training_set, made))

    training_set: TrainingSet
    trained: TrainedModel
    evaluation: Evaluation

    def save(self, store: ModelStore, version: str) -> None:
        store.save(
            self.training_set.target.name,
            version,
            trained=self.trained,
            training_set=self.training_set,
            evaluation=self.evaluation,
            created_at=NOW,
        )
