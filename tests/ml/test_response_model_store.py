"""The response model in the store: it comes back as it was; another shop's, and a forest, is refused."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from customer360.settings import Shop
from ml.datasets.targets import EVERY_MODEL, RESPONSE, target_of
from ml.fitting.boosting_settings import BoostingSettings
from ml.fitting.training import TrainedModel, train
from ml.judging.evaluation import Evaluation, evaluate
from ml.judging.promotion import decide
from ml.responses.features import response_features
from ml.responses.training_set import build_response_training_set
from ml.versions.model_card import model_card
from ml.versions.model_store import LoadedModel, ModelRefused, ModelStore, Servable
from ml.versions.model_text import UNSERVED, list_lines, show_lines
from ml.versions.model_versions import model_versions
from tests.ml.contacts import KNOWN_AT, drawn_inputs
from tests.ml.published_frames import small_shop

SHOP = small_shop()
SET = build_response_training_set(drawn_inputs(SHOP, touches=4_000), SHOP, KNOWN_AT)
NOW = datetime(2026, 5, 1, tzinfo=UTC)
IS_FOREST = r"v2/model\.npz is a random forest, which is not read since 0\.1\.0; run training_job, or promote another version"


@pytest.fixture(scope="module")
def boosted() -> TrainedModel:
    return train(SET, seed=1, threads=2, settings=BoostingSettings(iterations=60))


@pytest.fixture(scope="module")
def judged(boosted: TrainedModel) -> Evaluation:
    return evaluate(SET, boosted)


@pytest.fixture
def store(tmp_path: Path, boosted: TrainedModel, judged: Evaluation) -> ModelStore:
    """Version v1, the champion."""
    made = ModelStore(tmp_path)
    made.save(RESPONSE, "v1", trained=boosted, training_set=SET, evaluation=judged, created_at=NOW)
    made.promote(RESPONSE, "v1", "first", NOW)
    return made


@pytest.fixture
def forest_store(store: ModelStore) -> ModelStore:
    """Beside v1, the new champion v2 as releases before 0.1.0 wrote a forest: arrays in model.npz, CatBoost's model a rival."""
    folder = store.root / RESPONSE / "v2"
    folder.mkdir()
    (folder / "model.npz").write_bytes(b"PK arrays of nodes")
    manifest = json.loads((store.root / RESPONSE / "v1" / "manifest.json").read_text(encoding="utf-8"))
    manifest |= {
        "version": "v2",
        "model_file": "model.npz",
        "model_sha256": hashlib.sha256(b"PK arrays of nodes").hexdigest(),
        "rivals": ["CatBoost"],
        "metrics": {**manifest["metrics"], "CatBoost": {**manifest["metrics"]["model"], "log_loss": 0.0}},
        "settings": {"family": "random forest", "trees": 100},
        "packages": {**manifest["packages"], "scikit-learn": "1.7.2"},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    line = {"version": "v2", "decision": "promoted", "reason": "better by both", "at": NOW.isoformat(), "by": "training"}
    with (store.root / RESPONSE / "promotions.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({**line, "previous": "v1"}) + "\n")
    (store.root / RESPONSE / "champion").write_text("v2\n", encoding="utf-8")
    return store


def load(store: ModelStore, version: str, shop: Shop = SHOP) -> LoadedModel:
    target = target_of(RESPONSE, shop)
    return store.load(RESPONSE, version, response_features(shop), target.classes, target.horizon_days)


def servable(store: ModelStore) -> Servable:
    target = target_of(RESPONSE, SHOP)
    return store.load_servable(RESPONSE, response_features(SHOP), target.classes, target.horizon_days)


def test_a_saved_model_comes_back_as_it_was(store: ModelStore, boosted: TrainedModel) -> None:
    assert (load(store, "v1").model.probabilities(SET.validation) == boosted.model.probabilities(SET.validation)).all()
    assert store.manifest(RESPONSE, "v1").metrics["model"]["auc"] > 0.6


def test_other_features_or_another_window_are_refused(store: ModelStore) -> None:
    attributes = {"age": {"type": "integer"}, "hobby": {"type": "text"}}
    with pytest.raises(ModelRefused, match=r"which lacks \['household_size', 'is_head_of_household', 'region'\]"):
        load(store, "v1", small_shop(attributes=attributes))
    with pytest.raises(ModelRefused, match=r"looks 3 days ahead, the present shop\.yaml asks for 5"):
        load(store, "v1", small_shop(campaigns={"attribution_days": 5}))


def test_a_champion_that_is_a_forest_is_refused_with_the_remedy_and_the_one_before_serves(forest_store: ModelStore) -> None:
    with pytest.raises(ModelRefused, match=IS_FOREST):
        load(forest_store, "v2")
    found = servable(forest_store)
    assert found.loaded is not None
    assert found.loaded.version == "v1"
    assert [refusal.version for refusal in found.refusals] == ["v2"]


def test_a_forest_alone_serves_nobody_and_stops_nothing(forest_store: ModelStore) -> None:
    (forest_store.root / RESPONSE / "v1" / "model.cbm").unlink()
    found = servable(forest_store)
    assert found.loaded is None
    assert [refusal.version for refusal in found.refusals] == ["v2", "v1"]
    lines = list(list_lines(RESPONSE, model_versions(forest_store, RESPONSE), found))
    assert "serving meanwhile: none, so plans use smoothed rates" in lines


def test_every_model_says_what_follows_while_none_of_its_versions_serves() -> None:
    assert set(UNSERVED) == set(EVERY_MODEL)


def test_a_forest_is_listed_with_its_figures_and_its_rival_is_no_baseline(forest_store: ModelStore, judged: Evaluation) -> None:
    versions = model_versions(forest_store, RESPONSE).set_index("model_version")
    assert versions["status"].to_dict() == {"v1": "promoted", "v2": "promoted"}
    assert versions.loc["v2", "best_baseline"] == judged.best_baseline[0]
    lines = list(list_lines(RESPONSE, versions.reset_index(), servable(forest_store)))
    assert "which is not read since 0.1.0" in " ".join(" ".join(lines).split())
    assert "serving meanwhile: v1" in lines
    manifest = forest_store.manifest(RESPONSE, "v2")
    assert any("family random forest" in line for line in show_lines(manifest, "champion", "refused", []))


def test_a_forest_is_neither_promoted_nor_rolled_back_to_and_can_be_left(forest_store: ModelStore) -> None:
    assert forest_store.roll_back(RESPONSE, "v1", "a forest", NOW, "ana") == "v2"
    for change in (
        lambda: forest_store.promote(RESPONSE, "v2", "again", NOW),
        lambda: forest_store.roll_back(RESPONSE, "v2", "again", NOW, "ana"),
    ):
        with pytest.raises(ModelRefused, match=IS_FOREST):
            change()
    assert forest_store.champion_version(RESPONSE) == "v1"


def test_card_and_text_say_from_when_to_when_and_what_judged(store: ModelStore, judged: Evaluation) -> None:
    manifest = store.manifest(RESPONSE, "v1")
    first, last = SET.train_cutoffs
    card = model_card(manifest, judged, decide(judged), SET.target.purpose)
    assert f"from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} (UTC)" in card
    assert f"Judged on {SET.judged_on}, in which no choice had a part." in card
    text = " ".join(" ".join(show_lines(manifest, "champion", "", [])).split())
    assert f"trained on {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC" in text
    assert f"judged on {SET.judged_on}" in text
