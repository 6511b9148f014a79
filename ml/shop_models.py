"""The models of a shop: the store of each, what serves its features and categories of now, the published list of versions."""

from __future__ import annotations

from datetime import datetime

from customer360.features import feature_list
from customer360.lake.frames import write_parquet
from customer360.lake.publications import file_tables
from customer360.lake.publishing import current_publication, republish
from customer360.settings import NONE, Settings
from ml.decision_log import DecisionRefused
from ml.model_store import AFFINITY, LoadedModel, ModelStore, Servable
from ml.model_versions import model_versions

MODELS = (AFFINITY,)


def store_of(settings: Settings, name: str) -> ModelStore:
    """The store, for a model that there is. Raises ``DecisionRefused`` for any other name."""
    if name not in MODELS:
        raise DecisionRefused(f"{name!r} is no model; the models are: {', '.join(MODELS)}")
    return ModelStore(settings.place.models)


def load_for_shop(settings: Settings, name: str, version: str) -> LoadedModel:
    """A version for the shop's features and categories of now. Raises ``ModelRefused`` where it does not fit."""
    return store_of(settings, name).load(name, version, feature_list(settings.shop), [*settings.shop.category_ids, NONE])


def servable_for_shop(settings: Settings, name: str) -> Servable:
    """What serves the shop's features and categories of now; see ``ModelStore.load_servable``."""
    return store_of(settings, name).load_servable(name, feature_list(settings.shop), [*settings.shop.category_ids, NONE])


def publish_versions(settings: Settings, name: str, now: datetime) -> None:
    """Make ``model_versions`` anew and publish it, so that BI sees at once what was decided."""
    place = settings.place
    write_parquet(place.models / "model_versions.parquet", model_versions(store_of(settings, name), name))
    if current_publication(place) is not None:
        republish(place, {"model_versions": file_tables(place)["model_versions"]}, now)
