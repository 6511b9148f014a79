from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from published_frames import small_shop, training_frame

from customer360.settings import Shop
from ml.evaluation import Evaluation, evaluate
from ml.model_store import LoadedModel, ModelStore
from ml.training import TrainedModel, train
from ml.training_sets import TrainingSet, build_training_set

NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)


@dataclass(frozen=True)
class Trained:
    """A training set with the model made of it; read-only, shared by the tests."""

    training_set: TrainingSet
    trained: TrainedModel
    evaluation: Evaluation

    def save(self, store: ModelStore, version: str) -> None:
        store.save(
            "affinity",
            version,
            trained=self.trained,
            training_set=self.training_set,
            evaluation=self.evaluation,
            created_at=NOW,
        )


@pytest.fixture(scope="session")
def shop() -> Shop:
    return small_shop()


@pytest.fixture(scope="session")
def trained(shop: Shop) -> Trained:
    training_set = build_training_set(training_frame(shop, customers=700, cutoffs=4), shop)
    made = train(training_set, seed=1, threads=2)
    return Trained(training_set, made, evaluate(training_set, made.model))


@pytest.fixture
def store(tmp_path: Path, trained: Trained) -> ModelStore:
    """A store whose champion is v1."""
    models = ModelStore(tmp_path / "models")
    trained.save(models, "v1")
    models.promote("affinity", "v1", "first", NOW)
    return models


@pytest.fixture(scope="session")
def champion(tmp_path_factory: pytest.TempPathFactory, trained: Trained) -> LoadedModel:
    models = ModelStore(tmp_path_factory.mktemp("champion"))
    trained.save(models, "v1")
    models.promote("affinity", "v1", "first", NOW)
    return models.load_champion("affinity", trained.training_set.features, trained.training_set.categories)
