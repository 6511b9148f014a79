"""The models of a shop: the store, the versions that serve its present features and categories, the list of versions."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from customer360.decisions import DecisionRefused
from customer360.features import Feature, feature_list
from customer360.lake.publishing.publications import publish_files
from customer360.lake.warehouse.frames import write_parquet
from customer360.settings import Settings, Shop
from ml.datasets.targets import EVERY_MODEL, ORGANIC_RESPONSE, PRODUCT, RESPONSE, target_of
from ml.recommendations.candidates import product_features
from ml.responses.features import organic_features, response_features
from ml.versions.model_store import LoadedModel, ModelStore, Servable
from ml.versions.model_versions import model_versions


def store_of(settings: Settings, name: str) -> ModelStore:
    """The store of a model that exists. Raises ``DecisionRefused`` for any other name."""
    if name not in EVERY_MODEL:
        raise DecisionRefused(f"{name!r} is no model; the models are: {', '.join(EVERY_MODEL)}")
    return ModelStore(settings.place.models)


def features_of(name: str, shop: Shop) -> tuple[Feature, ...]:
    """The features of a model: of touches for the models of response, of candidates for that of products, else of customers."""
    made = {RESPONSE: response_features, ORGANIC_RESPONSE: organic_features, PRODUCT: product_features}
    return made[name](shop) if name in made else tuple(feature_list(shop))


def load_for_shop(settings: Settings, name: str, version: str) -> LoadedModel:
    """A version for the shop's present features, categories and horizon. Raises ``ModelRefused`` where it does not fit."""
    store, shop = store_of(settings, name), settings.shop
    target = target_of(name, shop)
    return store.load(name, version, features_of(name, shop), target.classes, target.horizon_days)


def servable_for_shop(settings: Settings, name: str) -> Servable:
    """The version that serves the shop's present features, categories and horizon; see ``ModelStore.load_servable``."""
    store, shop = store_of(settings, name), settings.shop
    target = target_of(name, shop)
    return store.load_servable(name, features_of(name, shop), target.classes, target.horizon_days)


def publish_versions(settings: Settings, now: datetime) -> None:
    """Make ``model_versions`` of all models anew and publish it, so that BI has each decision at once."""
    place = settings.place
    every = [model_versions(store_of(settings, name), name) for name in EVERY_MODEL]
    write_parquet(place.models / "model_versions.parquet", pd.concat(every, ignore_index=True))
    publish_files(place, now)
