"""The response model in the store: either family comes back as it was, and is refused where it does not fit the shop."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from customer360.settings import Shop
from ml.datasets.targets import RESPONSE, target_of
from ml.fitting.boosting_settings import BoostingSettings
from ml.fitting.families import train_families
from ml.fitting.forest_training import ForestSettings, train_forest
from ml.fitting.training import TrainedModel
from ml.judging.evaluation import Evaluation, evaluate
from ml.judging.model_card import model_card
from ml.judging.promotion import decide
from ml.responses.features import response_features
from ml.responses.training_set import build_response_training_set
from ml.versions.model_store import LoadedModel, ModelRefused, ModelStore
from ml.versions.model_text import show_lines
from ml.versions.model_versions import model_versions
from tests.ml.contacts import KNOWN_AT, drawn_inputs
from tests.ml.published_frames import small_shop

SHOP = small_shop()
SET = build_response_training_set(drawn_inputs(SHOP, touches=4_000), SHOP, KNOWN_AT)
NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def boosted() -> TrainedModel:
    return train_families(SET, seed=1, threads=2, settings=BoostingSettings(iterations=60))


@pytest.fixture(scope="module")
def judged(boosted: TrainedModel) -> Evaluation:
    return evaluate(SET, boosted.model, None, boosted.rivals)


@pytest.fixture
def store(tmp_path: Path, boosted: TrainedModel, judged: Evaluation) -> ModelStore:
    """Two versions: what was trained, and a forest."""
    made = ModelStore(tmp_path)
    forest = train_forest(SET, seed=1, threads=2, settings=ForestSettings(trees=10))
    made.save(RESPONSE, "v1", trained=boosted, training_set=SET, evaluation=judged, created_at=NOW)
    made.save(RESPONSE, "v2", trained=forest, training_set=SET, evaluation=evaluate(SET, forest.model), created_at=NOW)
    return made


def load(store: ModelStore, version: str, shop: Shop) -> LoadedModel:
    target = target_of(RESPONSE, shop)
    return store.load(RESPONSE, version, response_features(shop), target.classes, target.horizon_days)


def test_both_families_come_back_as_they_were(store: ModelStore, boosted: TrainedModel) -> None:
    assert (load(store, "v1", SHOP).model.probabilities(SET.validation) == boosted.model.probabilities(SET.validation)).all()
    forest = train_forest(SET, seed=1, threads=2, settings=ForestSettings(trees=10)).model
    again = load(store, "v2", SHOP)
    assert (again.model.probabilities(SET.validation) == forest.probabilities(SET.validation)).all()
    assert again.manifest.model_file == "model.npz"
    assert "scikit-learn" in again.manifest.packages
    with pytest.raises(TypeError, match="random forest"):
        _ = again.model.boosted


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_other_features_or_another_window_are_refused(store: ModelStore, version: str) -> None:
    attributes = {"age": {"type": "integer"}, "hobby": {"type": "text"}}
    with pytest.raises(
        ModelRefused, match=r"it lacks \['hobby'\] and has \['household_size', 'is_head_of_household', 'region'\]"
    ):
        load(store, version, small_shop(attributes=attributes))
    with pytest.raises(ModelRefused, match=r"looks 3 days ahead, the present shop\.yaml asks for 5"):
        load(store, version, small_shop(campaigns={"attribution_days": 5}))


def test_a_damaged_forest_is_refused_and_the_one_before_serves(store: ModelStore) -> None:
    store.promote(RESPONSE, "v1", "first", NOW)
    store.promote(RESPONSE, "v2", "second", NOW)
    file = store.root / RESPONSE / "v2" / "model.npz"
    file.write_bytes(file.read_bytes()[:-20])
    target = target_of(RESPONSE, SHOP)
    found = store.load_servable(RESPONSE, response_features(SHOP), target.classes, target.horizon_days)
    assert found.loaded is not None
    assert found.loaded.version == "v1"
    assert "was damaged or exchanged" in found.refusals[0].reason


def test_the_other_family_is_shown_and_is_no_baseline(store: ModelStore, boosted: TrainedModel, judged: Evaluation) -> None:
    (rival,) = boosted.rivals
    manifest = store.manifest(RESPONSE, "v1")
    assert manifest.rivals == (rival,)
    assert rival in manifest.metrics
    assert manifest.metrics["model"]["auc"] > 0.6
    better = replace(
        judged, scores=judged.scores.assign(log_loss=judged.scores["log_loss"].where(judged.scores["contender"] != rival, 0))
    )
    assert better.best_baseline == judged.best_baseline
    row = model_versions(store, RESPONSE).set_index("model_version").loc["v1"]
    assert row["best_baseline"] == judged.best_baseline[0]


def test_card_and_text_say_from_when_to_when_and_what_judged(store: ModelStore, judged: Evaluation) -> None:
    manifest = store.manifest(RESPONSE, "v1")
    first, last = SET.train_cutoffs
    card = model_card(manifest, judged, decide(judged), SET.target.purpose)
    assert f"from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} (UTC)" in card
    assert f"Judged on {SET.judged_on}, in which no choice had a part." in card
    text = " ".join(" ".join(show_lines(manifest, "champion", "", [])).split())
    assert f"trained on {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC" in text
    assert f"judged on {SET.judged_on}" in text
