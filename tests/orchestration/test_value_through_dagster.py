"""Models of spend and churn trained by their assets, serving slice by slice, and each refused by itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from customer360.lake.publishing.version import current_folder, open_version, parquet_files
from customer360.lake.warehouse.frames import write_parquet
from ml.versions.model_store import ModelStore
from tests.orchestration.place import TinyShop
from tests.orchestration.slices import SERVED

CHECKS = ("champion_is_served", "spend_champion_is_served", "churn_champion_is_served", "value_is_consistent")
MODELS = ("affinity", "spend", "churn")


@dataclass
class Till:
    """The tiny shop with a champion of each model, trained by the assets on outcomes that were drawn here."""

    shop: TinyShop

    @property
    def store(self) -> ModelStore:
        return ModelStore(self.shop.settings.place.models)

    def champion(self, name: str) -> str:
        version = self.store.champion_version(name)
        assert version is not None
        return version

    def score(self) -> dict[str, Any]:
        """Score and publish as the first slice does: by check whether it passed, and what was refused."""
        self.shop.land(0)
        run = self.shop.run("slice_job", self.shop.key(0), assets=SERVED).succeed()
        with self.shop.instance() as instance:
            logs = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        found = [entry.dagster_event.asset_check_evaluation_data for entry in logs if entry.dagster_event]
        checks = {check.check_name: check for check in found if check.check_name in CHECKS}
        assert set(checks) == set(CHECKS)
        self.refused = {
            name: str(check.metadata.get("refused") and check.metadata["refused"].value) for name, check in checks.items()
        }
        return {name: check.passed for name, check in checks.items()}

    def value(self) -> pd.DataFrame:
        with open_version(self.shop.settings.place) as version:
            return version.connection.execute("from customer_value order by customer_id").df()


def draw_outcomes(shop: TinyShop) -> None:
    """Everyone buys after every cut-off, and whether someone churns follows age, so that there is something to learn."""
    (file,) = parquet_files(current_folder(shop.settings.place).resolve(), "training_features")
    frame = pq.read_table(file, partitioning=None).to_pandas()
    chance = np.random.default_rng(7)
    age = frame["age"].fillna(40).to_numpy(float)
    write_parquet(
        file,
        frame.assign(
            spend=np.round(age * chance.gamma(8, 1 / 8, len(frame)), 2), is_churned=age / 80 > chance.random(len(frame))
        ),
    )


@pytest.fixture(scope="module")
def ready(shop: TinyShop) -> Iterator[TinyShop]:
    shop.restore("ready")
    draw_outcomes(shop)
    shop.run("training_job", assets=[["predictions", f"{name}_model"] for name in ("spend", "churn")]).succeed()
    store = ModelStore(shop.settings.place.models)
    for name in ("spend", "churn"):
        (version,) = store.versions(name)
        store.promote(name, version, "the only one", datetime.now(UTC))
    shop.save("valued")
    yield shop
    shop.restore("ready")


@pytest.fixture
def till(ready: TinyShop) -> Till:
    ready.restore("valued")
    return Till(ready)


def test_the_assets_train_each_model_with_card_plots_and_a_published_version(till: Till) -> None:
    listed = till.shop.published(
        "select model_name, model_version, rows_train, is_champion from model_versions order by model_name"
    )
    assert [name for name, *_ in listed] == ["affinity", "churn", "response", "spend"]
    for name in ("spend", "churn"):
        manifest = till.store.manifest(name, till.champion(name))
        folder = till.shop.settings.place.reports / "models" / name / manifest.version
        assert (folder / "card.md").read_text(encoding="utf-8").startswith(f"# {name} {manifest.version}")
        assert len(list(folder.glob("*.png"))) == 4
        assert (manifest.rows_train, manifest.rows_validation) == (220, 220)
        assert (manifest.bands is not None) is (name == "spend")
    with till.shop.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["predictions", "spend_model"]))
        assert event is not None
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["model_version"].value == till.champion("spend")


def test_every_champion_serves_in_the_slice_and_its_version_is_named(till: Till) -> None:
    assert till.score() == dict.fromkeys(CHECKS, True)
    value = till.value()
    named = value[["model_version", "spend_model_version", "churn_model_version"]].drop_duplicates().to_numpy().tolist()
    assert named == [[till.champion(name) for name in MODELS]]
    assert value[["purchase_probability", "churn_probability"]].apply(lambda column: column.between(0, 1)).all(axis=None)
    means = till.store.manifest("spend", till.champion("spend")).bands.means
    given = value["expected_spend"] / value["purchase_probability"]
    assert given.between(min(means), max(means)).all()
    assert given.nunique() > 100
    profile = "select customer_id, purchase_probability, expected_spend, churn_probability from {} order by customer_id"
    assert till.shop.published(profile.format("customer_profiles")) == till.shop.published(profile.format("customer_value"))
    with till.shop.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["predictions", "customer_value"]))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = {name: entry.value for name, entry in event.asset_materialization.metadata.items()}
    assert metadata["dagster/row_count"] == len(value)
    assert metadata["total_expected_spend"] == pytest.approx(value["expected_spend"].sum(), abs=0.006)  # to the cent
    assert metadata["mean_purchase_probability"] == pytest.approx(value["purchase_probability"].mean(), abs=0.00006)
    assert metadata["churn_model_version"] == till.champion("churn")


# The other models with make test-all: tests/ml/test_customer_value.py has each of them missing.
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.exhaustive] * (name != "affinity")) for name in MODELS])
def test_a_refused_champion_of_one_model_stops_neither_the_others_nor_the_slice(till: Till, name: str) -> None:
    """Its folder holds the files of another target; there is no older champion to serve instead."""
    folder = till.store.root / name / till.champion(name)
    foreign = "churn" if name != "churn" else "spend"
    for file in ("model.cbm", "manifest.json"):
        shutil.copy(till.store.root / foreign / till.champion(foreign) / file, folder / file)
    own_check = "champion_is_served" if name == "affinity" else f"{name}_champion_is_served"
    assert till.score() == {check: check != own_check for check in CHECKS}
    assert f"lies beside the manifest of {foreign}" in till.refused[own_check]
    value, lost = (
        till.value(),
        {"affinity": ["purchase_probability", "expected_spend"], "spend": ["expected_spend"], "churn": ["churn_probability"]},
    )
    assert value[lost[name]].isna().all(axis=None)
    kept = [column for column in ("purchase_probability", "expected_spend", "churn_probability") if column not in lost[name]]
    assert value[kept].notna().all(axis=None)
    assert len(value) == till.shop.published("select count(*) from customer_features")[0][0]


def test_a_decision_by_a_job_is_about_the_model_that_it_names(till: Till) -> None:
    version = till.champion("churn")
    config = {"model": "churn", "version": version, "reason": "try"}
    refused = till.shop.run("reject_model", run_config={"ops": {"reject_version": {"config": config}}})
    assert refused.wait() == 1
    assert f"churn {version} is the champion, so it cannot be rejected" in refused.log.read_text(encoding="utf-8")
