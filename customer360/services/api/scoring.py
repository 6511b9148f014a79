"""Scores of features that a client sends, by the champion of the affinity model: what the batch scores are, row for row.

This is the one module of the services that reads models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock

import pandas as pd

from customer360.features import Feature, feature_list
from customer360.services.api.calls import affinities
from customer360.services.api.problems import Problem
from customer360.services.api.schemas import LARGEST, Score, Value
from customer360.services.store.reading import StoreReader
from customer360.settings import Settings
from ml.datasets.targets import AFFINITY
from ml.serving.reasons import reasons
from ml.serving.scoring import score
from ml.versions.model_store import LoadedModel
from ml.versions.shop_models import servable_for_shop, store_of

NAMED = 5  # features in a message


class Scorer:
    """The champion, loaded when it is first asked for and again when the pointer names another version."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._champion: str | None = None
        self._loaded: LoadedModel | None = None

    def score(self, features: Mapping[str, Value], titles: Mapping[str, str]) -> Score:
        """Probabilities, label and reasons. Raises ``Problem``: 503 without a champion, 422 for features that are not its."""
        loaded = self._model()
        _require_features(loaded.model.features, features, feature_list(self._settings.shop))
        frame = pd.DataFrame([{"customer_id": "", "as_of": pd.Timestamp(0), **features}])
        scores = score(frame, loaded).to_pandas()
        why = reasons(frame, loaded, self._settings.shop, titles).iloc[0]
        return Score(
            model_version=loaded.version,
            label=str(scores.loc[scores["is_label"], "category_id"].iloc[0]),
            affinities=affinities(tuple(scores["category_id"]), scores["probability"].tolist()),
            top_category_id=str(why["category_id"]),
            reasons=[text for text in why[["reason_1", "reason_2", "reason_3"]] if isinstance(text, str)],
        )

    def _model(self) -> LoadedModel:
        with self._lock:
            champion = store_of(self._settings, AFFINITY).champion_version(AFFINITY)
            if champion != self._champion or self._loaded is None:
                settings = Settings.load(self._settings.shop_folder, self._settings.place.root)
                self._settings, self._champion = settings, champion
                self._loaded = servable_for_shop(settings, AFFINITY).loaded
            if self._loaded is None:
                raise Problem(503, "no-champion", "No model serves", "Run training_job, or promote a version.")
            return self._loaded


def titles_of(reader: StoreReader) -> dict[str, str]:
    """The categories' names, which reasons use. Raises ``StoreError`` where the store cannot be read."""
    with reader.view() as view:
        return view.meta.titles


def _require_features(wanted: tuple[Feature, ...], given: Mapping[str, Value], known: Iterable[Feature]) -> None:
    """Raise ``Problem`` unless all ``wanted`` and only ``known`` features are given, each with a value of its kind."""
    kinds = {feature.name: feature.kind for feature in known}
    numbers = {name: value for name, value in given.items() if isinstance(value, int | float) and not isinstance(value, bool)}
    texts = {name for name, value in given.items() if isinstance(value, str)}
    wrong = {
        "missing": {feature.name for feature in wanted} - given.keys(),
        "unknown": given.keys() - kinds.keys(),
        "no number": {name for name in texts if kinds.get(name) == "numeric"},
        "no text": {name for name in numbers if kinds.get(name) == "categorical"},
        "too large": {name for name, value in numbers.items() if abs(value) > LARGEST},
    }
    found = [
        f"{len(names)} {what}: {', '.join(name[:60] for name in sorted(names)[:NAMED])}"
        for what, names in wrong.items()
        if names
    ]
    if found:
        raise Problem(422, "wrong-features", "These are not the features of the champion", "; ".join(found))
