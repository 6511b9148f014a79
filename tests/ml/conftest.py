from __future__ import annotations

from pathlib import Path

import pytest
from published_frames import small_shop, training_frame
from trained_models import NOW, Trained

from customer360.settings import Shop
from ml.datasets.targets import target_of
from ml.datasets.training_sets import build_training_set
from ml.serving.customer_value import Serving
from ml.versions.model_store import LoadedModel, ModelStore


@pytest.fixture(scope="session")
def shop() -> Shop:
    return small_shop()


@pytest.fixture(scope="session")
def trained(shop: Shop) -> Trained:
    return Trained.of(build_training_set(training_frame(shop, customers=700, cutoffs=4), shop))


@pytest.fixture(scope="session")
def every_trained(shop: Shop, trained: Trained) -> dict[str, Trained]:
    """A model of each target, of one shop whose churn is known 7 days after its labels."""
    near = shop.model_copy(update={"churn_horizon_days": 14})
    frame = training_frame(near, customers=700, cutoffs=4)
    return {
        "affinity": trained,
        **{name: Trained.of(build_training_set(frame, near, target_of(name, near))) for name in ("spend", "churn")},
    }


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory, every_trained: dict[str, Trained]) -> Serving:
    """A champion of each target, loaded from a store."""
    models, loaded = ModelStore(tmp_path_factory.mktemp("serving")), {}
    for name, trained in every_trained.items():
        trained.save(models, f"{name[0]}1")
        training_set = trained.training_set
        loaded[name] = models.load(name, f"{name[0]}1", training_set.features, training_set.categories)
    return Serving(**loaded)


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
    return models.load(
        "affinity", str(models.champion_version("affinity")), trained.training_set.features, trained.training_set.categories
    )
