"""The response model as Dagster trains it: champion, rerun, other features, and a shop without contacts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from customer360.snapshot import open_snapshot
from ml.datasets.targets import RESPONSE
from ml.responses.contact_rows import CampaignFacts, response_inputs
from ml.responses.scoring import response_predictions, rows_at
from ml.versions.model_store import ModelStore
from ml.versions.shop_models import servable_for_shop
from orchestration.cli import main
from tests.ml.contacts import truth
from tests.orchestration.place import Run, TinyShop, changing_published

MODEL = dg.AssetKey(["predictions", "response_model"])
CHECKS = {"beats_baselines", "no_target_leakage"}


@dataclass
class Trainer:
    """The tiny shop with answers that were drawn here, and the response model that training_job made of them."""

    shop: TinyShop

    @property
    def store(self) -> ModelStore:
        return ModelStore(self.shop.settings.place.models)

    def train(self) -> Run:
        return self.shop.run("training_job", assets=[MODEL.path]).succeed()

    def results(self) -> tuple[dict[str, Any], dict[str, bool]]:
        """Metadata of the last materialization, and its checks."""
        with self.shop.instance() as instance:
            event = instance.get_latest_materialization_event(MODEL)
            assert event is not None
            assert event.asset_materialization is not None
            logs = instance.all_logs(event.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        found = [entry.dagster_event.asset_check_evaluation_data for entry in logs if entry.dagster_event]
        checks = {check.check_name: check.passed for check in found if check.asset_key == MODEL}
        return {name: value.value for name, value in event.asset_materialization.metadata.items()}, checks


def draw_answers(shop: TinyShop) -> None:
    """Publish contacts that the customers' age and the channel decide, so that some hundred are enough to learn from."""
    with changing_published(shop, "campaign_touch_history", "customer_features") as connection:
        frame = connection.execute("from campaign_touch_history order by touch_id").df()
        ages = connection.execute("select customer_id, age from customer_features").df().set_index("customer_id")["age"]
        is_contact = ~frame["is_control"].to_numpy(dtype=bool)
        age = frame["customer_id"].map(ages).fillna(40).to_numpy(dtype=float)
        chance = truth(age, frame["channel"].to_numpy(dtype=object), frame["day_of_week"].to_numpy())
        frame["is_converted"] = is_contact & (np.random.default_rng(5).random(len(frame)) < chance)
        frame["converted_at"] = (frame["touched_at"] + pd.Timedelta(hours=1)).where(frame["is_converted"])
        connection.register("drawn", frame)
        connection.execute("delete from campaign_touch_history; insert into campaign_touch_history by name from drawn")


@pytest.fixture(scope="module")
def answered(shop: TinyShop) -> TinyShop:
    shop.restore("ready")
    draw_answers(shop)
    shutil.rmtree(ModelStore(shop.settings.place.models).root / RESPONSE, ignore_errors=True)
    shop.run("training_job", assets=[MODEL.path]).succeed()
    shop.save("answered")
    return shop


@pytest.fixture
def trainer(answered: TinyShop) -> Iterator[Trainer]:
    answered.restore("answered")
    yield Trainer(answered)
    answered.restore("ready")


def test_training_job_trains_it_and_promotes_it_where_it_beats_the_baselines(trainer: Trainer) -> None:
    metadata, checks = trainer.results()
    (version,) = trainer.store.versions(RESPONSE)
    manifest = trainer.store.manifest(RESPONSE, version)
    assert metadata["model_version"] == version
    assert metadata["dagster/row_count"] == manifest.rows_train >= 200
    assert set(checks) == CHECKS
    assert checks == dict.fromkeys(CHECKS, True)
    baselines = {name: scores["log_loss"] for name, scores in manifest.metrics.items() if name != "model"}
    assert set(baselines) == {"prior", "channel", "channel, day and daypart"}
    assert manifest.metrics["model"]["log_loss"] < min(baselines.values())
    assert metadata["decision"] == "promoted"
    assert trainer.store.champion_version(RESPONSE) == version
    assert metadata["auc"] == pytest.approx(manifest.metrics["model"]["auc"])
    assert metadata["auc_interval"].endswith("(95%)")
    card = trainer.shop.settings.place.reports / "models" / RESPONSE / version / "card.md"
    assert metadata["reason"] in card.read_text(encoding="utf-8")
    assert trainer.shop.published("select model_version from model_versions where model_name = 'response'") == [(version,)]


def test_its_training_set_has_the_contacts_with_orders_before_them_and_no_control(trainer: Trainer) -> None:
    trainer.shop.restore("ready")  # what the pipeline itself published
    with open_snapshot(trainer.shop.settings) as snapshot:
        inputs, known_at = response_inputs(snapshot), snapshot.outcomes_known_at
    ((as_of,),) = trainer.shop.published("select max(as_of) from customer_features")
    assert known_at == as_of
    assert inputs.orders is not None
    assert len(inputs.orders) > 0
    ((contacts,),) = trainer.shop.published("select count(*) from campaign_touch_history where not is_control")
    manifest = trainer.store.manifest(RESPONSE, trainer.store.versions(RESPONSE)[0])
    assert 0.8 * contacts < manifest.rows_train + manifest.rows_validation < contacts
    assert {"orders_365d", "contacts_email", "age", "campaign_kind"} <= {feature.name for feature in manifest.features}


def test_a_rerun_on_the_same_contacts_keeps_the_champion(trainer: Trainer) -> None:
    (first,) = trainer.store.versions(RESPONSE)
    assert trainer.store.champion_version(RESPONSE) == first
    trainer.train()
    metadata, _ = trainer.results()
    assert metadata["decision"] == "rejected"
    assert metadata["model_version"] != first
    assert trainer.store.champion_version(RESPONSE) == first
    versions = [trainer.store.manifest(RESPONSE, version) for version in trainer.store.versions(RESPONSE)]
    assert versions[0].data_fingerprint == versions[1].data_fingerprint
    assert versions[0].metrics["model"] == versions[1].metrics["model"]


def test_the_champion_scores_every_combination_of_the_shop(trainer: Trainer) -> None:
    settings = trainer.shop.settings
    loaded = servable_for_shop(settings, RESPONSE).loaded
    assert loaded is not None
    with open_snapshot(settings) as snapshot:
        inputs, known_at = response_inputs(snapshot), snapshot.outcomes_known_at
    ids = inputs.attributes.loc[inputs.attributes["valid_to"].isna(), "customer_id"]
    found = response_predictions(
        loaded.model, CampaignFacts("seasonal", None), rows_at(ids, known_at, inputs, settings.shop), settings.shop
    )
    assert found.shape == (len(ids), 3, 7, 3)
    assert ((found > 0) & (found < 1)).all()
    assert np.ptp(found.mean(axis=(0, 2, 3))) > 0


def test_a_version_with_other_features_is_refused_and_the_command_says_so(
    trainer: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    (version,) = trainer.store.versions(RESPONSE)
    path = trainer.store.root / RESPONSE / version / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["features"] = [feature for feature in manifest["features"] if feature["name"] != "previous_channel"]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    common = ["--shop", str(trainer.shop.settings.shop_folder), "--data-dir", str(trainer.shop.data), "models"]
    assert main([*common, "show", version, "--model", RESPONSE]) == 1
    assert "features in the model file are not those of its manifest: it lacks [] and has ['previous_channel']" in " ".join(
        capsys.readouterr().out.split()
    )
    found = servable_for_shop(trainer.shop.settings, RESPONSE)
    assert found.loaded is None
    assert [refusal.version for refusal in found.refusals] == [version]
    trainer.train()  # nothing serves, so what is trained now has no champion to beat
    metadata, _ = trainer.results()
    assert trainer.store.champion_version(RESPONSE) == metadata["model_version"] != version
    assert servable_for_shop(trainer.shop.settings, RESPONSE).loaded is not None


def test_a_shop_without_contacts_waits_for_them_and_fails_no_run(trainer: Trainer) -> None:
    with changing_published(trainer.shop, "campaign_touch_history") as connection:
        connection.execute("delete from campaign_touch_history")
    before = trainer.store.versions(RESPONSE)
    trainer.train()
    metadata, checks = trainer.results()
    assert metadata["decision"] == "not trained"
    assert "campaign_touch_history has 0 contacts" in metadata["missing"]
    assert checks == dict.fromkeys(CHECKS, False)
    assert trainer.store.versions(RESPONSE) == before
