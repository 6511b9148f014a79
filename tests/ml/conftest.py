from __future__ import annotations

from pathlib import Path

import pytest
from published_frames import small_shop, training_frame
from trained_models import NOW, Trained

from customer360.settings import Shop
from ml.evaluation import evaluate
from ml.model_store import LoadedModel, ModelStore
from ml.training import train
from ml.training_sets import build_training_set


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
