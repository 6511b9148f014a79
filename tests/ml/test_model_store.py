from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from trained_models import NOW, Trained

from customer360.features import Feature
from customer360.lake.publishing.tables import TABLES
from ml.judging.promotion import Decision
from ml.versions.model_store import ModelRefused, ModelStore, ModelStoreError, version_name
from ml.versions.model_versions import judged_until, model_versions


def load(store: ModelStore, trained: Trained, version: str = "v1") -> None:
    store.load("affinity", version, trained.training_set.features, trained.training_set.categories)


def model_file(store: ModelStore, version: str = "v1") -> Path:
    return store.root / "affinity" / version / "model.cbm"


def vouch_for(path: Path) -> None:
    """Make the manifest name the present file's hash, as if it had been saved so."""
    manifest = path.with_name("manifest.json")
    content = json.loads(manifest.read_text())
    content["model_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(content))


def test_a_saved_champion_predicts_as_it_did_before_saving(store: ModelStore, trained: Trained) -> None:
    loaded = store.load(
        "affinity", str(store.champion_version("affinity")), trained.training_set.features, trained.training_set.categories
    )
    rows = trained.training_set.validation
    assert loaded.version == "v1"
    as_learned = replace(loaded.model, odds_factor=1.0)
    assert np.array_equal(as_learned.probabilities(rows), trained.trained.model.probabilities(rows))
    assert loaded.model.odds_factor == trained.evaluation.odds_factor
    assert loaded.manifest.data_fingerprint == trained.training_set.fingerprint
    assert loaded.manifest.metrics["model"]["log_loss"] == pytest.approx(trained.evaluation.log_loss("model"))
    assert loaded.manifest.packages["catboost"] == "1.2.10"


def test_a_damaged_file_is_refused(store: ModelStore, trained: Trained) -> None:
    path = model_file(store)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelRefused, match=r"v1/model.cbm has sha256 .* damaged or exchanged"):
        load(store, trained)


def test_a_truncated_file_is_refused_even_when_its_manifest_vouches_for_it(store: ModelStore, trained: Trained) -> None:
    path = model_file(store)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelRefused, match="sha256"):
        load(store, trained)
    vouch_for(path)
    with pytest.raises(ModelRefused, match="is not a CatBoost model"):
        load(store, trained)


def test_a_foreign_file_is_refused(store: ModelStore, trained: Trained) -> None:
    path = model_file(store)
    path.write_bytes(b"PK\x03\x04 not a model")
    vouch_for(path)
    with pytest.raises(ModelRefused, match="is not a CatBoost model"):
        load(store, trained)


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        (CatBoostRegressor, {}, "was trained for RMSE"),
        (CatBoostClassifier, {"loss_function": "Logloss"}, "was trained for Logloss"),
    ],
)
def test_a_model_of_another_type_is_refused(
    store: ModelStore, trained: Trained, kind: type[CatBoostClassifier], settings: dict[str, str], reason: str
) -> None:
    path = model_file(store)
    other = kind(iterations=2, allow_writing_files=False, logging_level="Silent", **settings)
    other.fit(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1]))
    other.save_model(str(path))
    vouch_for(path)
    with pytest.raises(ModelRefused, match=reason):
        load(store, trained)


def test_a_model_for_other_features_or_categories_is_refused(store: ModelStore, trained: Trained) -> None:
    features, categories = trained.training_set.features, trained.training_set.categories
    with pytest.raises(ModelRefused, match=r"features are not those of the present shop.yaml, which lacks \['age'\]"):
        store.load("affinity", "v1", features[1:], categories)
    with pytest.raises(ModelRefused, match=r"lacks \['garden'\]"):
        store.load("affinity", "v1", features, [*categories, "garden"])
    retyped = (replace(features[0], kind="categorical"), *features[1:])
    with pytest.raises(ModelRefused, match="between numeric and categorical"):
        store.load("affinity", "v1", retyped, categories)


def test_a_model_serves_a_shop_that_has_more_features_than_it_reads(store: ModelStore, trained: Trained) -> None:
    features, rows = trained.training_set.features, trained.training_set.validation
    wider = (Feature("garden_size", "numeric", "", "garden_size"), *features[::-1])
    loaded = store.load("affinity", "v1", wider, trained.training_set.categories)
    assert loaded.model.features == features
    expected = trained.trained.model.probabilities(rows)
    as_learned = replace(loaded.model, odds_factor=1.0)
    assert (as_learned.probabilities(rows.assign(garden_size=1.0)) == expected).all()


def test_a_model_that_looks_as_far_ahead_as_the_shop_no_longer_asks_for_is_refused(store: ModelStore, trained: Trained) -> None:
    asked = ("affinity", "v1", trained.training_set.features, trained.training_set.categories)
    assert store.load(*asked, 7).manifest.horizon_days == 7
    with pytest.raises(ModelRefused, match=r"model.cbm looks 7 days ahead, the present shop.yaml asks for 5; train again"):
        store.load(*asked, 5)
    passed_over = store.load_servable("affinity", *asked[2:], 5)
    assert passed_over.loaded is None
    assert [refusal.version for refusal in passed_over.refusals] == ["v1"]
    manifest = model_file(store).with_name("manifest.json")
    content = json.loads(manifest.read_text())
    del content["horizon_days"]  # as an older release wrote it
    manifest.write_text(json.dumps(content))
    assert store.load(*asked, 5).version == "v1"


def test_a_manifest_of_another_version_or_without_sense_is_refused(store: ModelStore, trained: Trained) -> None:
    trained.save(store, "v2")
    manifest = model_file(store, "v2").with_name("manifest.json")
    manifest.write_text(model_file(store).with_name("manifest.json").read_text())
    with pytest.raises(ModelRefused, match="beside the manifest of affinity v1"):
        load(store, trained, "v2")
    manifest.write_text("{}")
    with pytest.raises(ModelRefused, match="is not a manifest"):
        load(store, trained, "v2")
    manifest.unlink()
    with pytest.raises(ModelRefused, match="does not exist"):
        load(store, trained, "v2")


def test_the_last_good_one_keeps_serving_when_the_champion_is_damaged(store: ModelStore, trained: Trained) -> None:
    trained.save(store, "v2")
    store.promote("affinity", "v2", "better", NOW)
    trained.save(store, "v3")
    store.record("affinity", "v3", Decision(is_promoted=False, reason="worse"), NOW)
    model_file(store, "v2").write_bytes(b"gone")
    with pytest.raises(ModelRefused):
        store.load(
            "affinity", str(store.champion_version("affinity")), trained.training_set.features, trained.training_set.categories
        )
    servable = store.load_servable("affinity", trained.training_set.features, trained.training_set.categories)
    # v3 was rejected: it never serves.
    assert servable.loaded is not None
    assert servable.loaded.version == "v1"
    assert [refusal.version for refusal in servable.refusals] == ["v2"]
    assert "damaged or exchanged" in servable.refusals[0].reason


def test_without_a_promotion_nothing_is_served(tmp_path: Path, trained: Trained) -> None:
    store = ModelStore(tmp_path)
    features, categories = trained.training_set.features, trained.training_set.categories
    assert store.load_servable("affinity", features, categories).loaded is None
    trained.save(store, "v1")
    assert store.load_servable("affinity", features, categories).loaded is None
    assert store.champion_version("affinity") is None


def test_versions_are_immutable_and_the_log_only_grows(store: ModelStore, trained: Trained) -> None:
    with pytest.raises(ModelStoreError, match="versions are immutable"):
        trained.save(store, "v1")
    before = (store.root / "affinity" / "promotions.jsonl").read_text()
    trained.save(store, "v2")
    store.record("affinity", "v2", Decision(is_promoted=True, reason="better"), NOW)
    after = (store.root / "affinity" / "promotions.jsonl").read_text()
    assert after.startswith(before)
    assert json.loads(after.splitlines()[-1]) == {
        "version": "v2",
        "decision": "promoted",
        "reason": "better",
        "at": "2026-05-01T09:00:00+00:00",
        "by": "training",
        "previous": "v1",
    }
    assert store.champion_version("affinity") == "v2"


def test_a_damaged_or_unknown_version_is_not_promoted(store: ModelStore, trained: Trained) -> None:
    trained.save(store, "v2")
    model_file(store, "v2").write_bytes(b"gone")
    for version in ("v2", "v9"):
        with pytest.raises(ModelRefused):
            store.promote("affinity", version, "better", NOW)
    with pytest.raises(ModelStoreError, match="is no name"):
        store.promote("affinity", "../v1", "better", NOW)
    assert store.champion_version("affinity") == "v1"
    assert len(store.promotions("affinity")) == 1


def test_a_save_that_died_leaves_no_version(store: ModelStore, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: Path, target: Path) -> Path:
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", die)
        with pytest.raises(OSError, match="power cut"):
            trained.save(store, "v2")
    assert store.versions("affinity") == ["v1"]
    trained.save(store, "v2")
    assert store.versions("affinity") == ["v1", "v2"]


def test_times_without_a_zone_are_refused(store: ModelStore) -> None:
    with pytest.raises(ModelStoreError, match="no time zone"):
        store.promote("affinity", "v1", "again", NOW.replace(tzinfo=None))
    assert version_name(datetime(2026, 5, 1, 9, tzinfo=UTC), "abcdef0123") == "20260501T090000Z-abcdef01"


def test_the_versions_table_is_typed_even_when_empty(tmp_path: Path) -> None:
    frame = model_versions(ModelStore(tmp_path), "affinity")
    assert frame.empty
    assert {column: str(kind) for column, kind in frame.dtypes.items()} == TABLES["model_versions"].frame_types


def test_the_versions_table_says_what_was_decided(store: ModelStore, trained: Trained) -> None:
    for version in ("v2", "v3", "v4"):
        trained.save(store, version)
    store.record("affinity", "v2", Decision(is_promoted=False, reason="worse"), NOW)
    model_file(store, "v4").with_name("manifest.json").write_text("{")
    frame = model_versions(store, "affinity").set_index("model_version")
    assert frame["status"].to_dict() == {"v1": "promoted", "v2": "rejected", "v3": "undecided", "v4": "unreadable"}
    assert frame["is_champion"].to_dict() == {"v1": True, "v2": False, "v3": False, "v4": False}
    assert frame.loc["v1", "log_loss"] == pytest.approx(trained.evaluation.log_loss("model"))
    assert frame.loc["v1", "created_at"] == datetime(2026, 5, 1, 9)  # noqa: DTZ001 (published timestamps are plain UTC)


def test_when_models_were_judged_is_known_by_their_own_horizons_only(store: ModelStore, trained: Trained) -> None:
    """A version that does not state its horizon is left out: that of shop.yaml may have changed since."""
    trained.save(store, "v2")
    manifest = store.root / "affinity" / "v2" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "horizon_days": None}))
    cutoff, own_horizon, waits = trained.training_set.validation_cutoff, 7, 2
    assert list(judged_until(store, "affinity")) == [cutoff + timedelta(days=own_horizon + waits)]


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut off": lambda path: path.write_text("{"),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe"),
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "without metrics": lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "metrics": {}})),
    "a version of another name": lambda path: path.parent.rename(path.parent.with_name("v2 (copy)")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_manifest_stops_neither_the_list_nor_the_drift_report(
    store: ModelStore, trained: Trained, damage: str
) -> None:
    trained.save(store, "v2")
    DAMAGES[damage](store.root / "affinity" / "v2" / "manifest.json")
    assert len(list(judged_until(store, "affinity"))) == 1
    statuses = model_versions(store, "affinity").set_index("model_version")["status"].to_dict()
    assert statuses == {"v1": "promoted"} | ({} if damage == "a version of another name" else {"v2": "unreadable"})


def test_manifests_are_read_only_as_far_as_they_are_asked_for(store: ModelStore, trained: Trained) -> None:
    """The newest readable version usually has a reference: hundreds of older ones are not opened."""
    trained.save(store, "v2")
    read: list[str] = []
    manifest = store.manifest
    store.manifest = lambda name, version: (read.append(version), manifest(name, version))[1]  # type: ignore[method-assign]
    next(judged_until(store, "affinity"))
    assert read == ["v2"]
