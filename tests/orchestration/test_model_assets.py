"""The asset of a model, with inputs made here: read once a run, and metadata of a model that is trained or has to wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest

from assets.predictions.training import CUSTOMERS, CustomerInputs, Recipe, training_step
from customer360.settings import REPOSITORY, Settings
from customer360.snapshot import Snapshot
from ml.datasets.training_sets import TrainingSetError
from ml.fitting.boosting_settings import BoostingSettings
from ml.frames import feature_matrix
from ml.serving.customer_value import Serving
from ml.serving.serving import serve
from ml.serving.serving_tables import Tables
from ml.versions.model_store import ModelStore
from ml.versions.shop_models import servable_for_shop
from orchestration.cli import main
from orchestration.resources import Platform
from tests.ml.published_frames import customer_frame, training_frame

SHOP = REPOSITORY / "shops" / "synthetic"


class EmptyPlatform(Platform):
    """A platform on which nothing is published: recipes make their inputs."""

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        yield None  # type: ignore[misc]


class Inputs:
    """A recipe of customers at so many cut-offs, which counts how often they are read."""

    def __init__(self, cutoffs: int) -> None:
        self.frame = training_frame(Settings.load(SHOP, Path("unused")).shop, customers=300, cutoffs=cutoffs)
        self.reads = 0

    def read(self, _: Snapshot) -> CustomerInputs:
        self.reads += 1
        at_cutoffs = self.frame.groupby("as_of", as_index=False)["customer_id"].count()
        return CustomerInputs(self.frame, pd.Timestamp("2026-01-01").to_pydatetime(), at_cutoffs)

    def recipe(self, name: str) -> Recipe[CustomerInputs]:
        return replace(CUSTOMERS[0], name=name, deps=[], boosting=BoostingSettings(iterations=20), section=None)


def run(name: str, inputs: Inputs, data: Path) -> tuple[dict[str, Any], dict[str, bool]]:
    """Metadata and checks of the asset."""
    platform = EmptyPlatform(shop_folder=str(SHOP), data_dir=str(data))
    step = training_step("models", inputs.read, inputs.recipe(name))
    result = dg.materialize([step], resources={"platform": platform})
    (event,) = result.get_asset_materialization_events()
    metadata = {key: value.value for key, value in event.materialization.metadata.items()}
    return metadata, {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


def test_a_trained_model_read_its_inputs_once_and_tells_what_was_decided(tmp_path: Path) -> None:
    inputs = Inputs(cutoffs=4)
    metadata, checks = run("affinity", inputs, tmp_path)
    (version,) = ModelStore(tmp_path / "models").versions("affinity")
    assert inputs.reads == 1
    assert metadata["model_version"] == version
    assert metadata["decision"] in {"promoted", "rejected"}
    assert metadata["auc"] > 0.6  # of buying anything
    assert set(checks) == {"beats_baselines", "no_target_leakage"}
    assert checks["no_target_leakage"]


def test_a_model_of_two_classes_shows_its_auc_with_the_interval(tmp_path: Path) -> None:
    metadata, _ = run("churn", Inputs(cutoffs=9), tmp_path)
    low, _, high, *_ = metadata["auc_interval"].split()
    assert float(low) < metadata["auc"] < float(high)


def test_a_model_that_waits_for_history_read_its_inputs_once_and_tells_what_is_missing(tmp_path: Path) -> None:
    inputs = Inputs(cutoffs=2)
    metadata, checks = run("churn", inputs, tmp_path)
    assert inputs.reads == 1
    assert metadata["decision"] == "not trained"
    assert "needs two cut-offs that are 14 days (churn_horizon_days) apart" in metadata["missing"]
    # The last one's 14 days have not passed, the one a week before judges, the one two weeks before that trains.
    assert metadata["cutoffs"] == "2, of which 1 are 14 days and 2 more ago; 4 are needed"
    assert checks == {"beats_baselines": False, "no_target_leakage": False}
    assert ModelStore(tmp_path / "models").versions("churn") == []


def test_affinity_without_history_waits_too_and_fails_only_where_it_was_trained_before(tmp_path: Path) -> None:
    metadata, checks = run("affinity", Inputs(cutoffs=1), tmp_path)
    assert (metadata["decision"], checks["beats_baselines"]) == ("not trained", False)
    assert "needs two cut-offs that are 7 days" in metadata["missing"]
    # 20 days of history, a horizon of 7 days, 2 days for late lines, one week more: 36 days.
    assert metadata["enough_history_from"] == "2026-02-06 00:00 UTC"
    assert metadata["customers"].startswith("300 to learn from at the last known cut-off; 50 at each of 5 cut-offs are enough")
    run("affinity", Inputs(cutoffs=4), tmp_path)
    with pytest.raises(TrainingSetError, match="needs two cut-offs that are 7 days"):
        run("affinity", Inputs(cutoffs=1), tmp_path)


def test_a_baseline_becomes_champion_and_scores_where_no_model_beats_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = Inputs(cutoffs=4)
    shuffled = inputs.frame["label"].sample(frac=1, random_state=3).to_numpy()
    inputs.frame = inputs.frame.assign(label=shuffled)  # no feature says anything of it
    metadata, checks = run("affinity", inputs, tmp_path)
    assert (metadata["decision"], checks["beats_baselines"]) == ("promoted", False)
    assert metadata["serves"].startswith("The baseline '")
    assert "serves until a model beats it" in metadata["reason"]

    settings = Settings.load(SHOP, tmp_path)
    champion = servable_for_shop(settings, "affinity").loaded
    assert champion is not None
    assert champion.model.baseline_weight == 1
    features = customer_frame(settings.shop, 50)
    matrix = feature_matrix(features, champion.model.features, "x")
    with duckdb.connect() as connection:
        connection.execute("create schema own")
        connection.register("given", features)
        connection.execute("create table features as from given")
        tables = Tables("features", "own.scores", "own.kept", "raw.none", "own.value")
        served = serve(connection, Serving(champion), settings.shop, tables)
        buys = connection.execute("select purchase_probability from own.value order by customer_id").df()
        assert connection.execute("select distinct model_version from own.scores").fetchall() == [(champion.version,)]
    assert served.scores == 50 * (len(settings.shop.category_ids) + 1)
    assert buys["purchase_probability"].to_numpy() == pytest.approx(1 - champion.model.probabilities(matrix)[:, -1])

    code = main(["--shop", str(SHOP), "--data-dir", str(tmp_path), "models", "show", "champion"])
    shown = " ".join(capsys.readouterr().out.split())
    assert code == 0
    assert f"serves The baseline '{champion.manifest.serves}' alone, a simple rule; the trees are kept beside it." in shown
    again, _ = run("affinity", inputs, tmp_path)
    assert again["decision"] == "rejected"  # the same rule once more is not better than the champion


def test_models_of_one_step_read_their_inputs_once_and_may_be_trained_alone(tmp_path: Path) -> None:
    inputs = Inputs(cutoffs=4)
    step = training_step("models", inputs.read, inputs.recipe("affinity"), inputs.recipe("spend"))
    platform = EmptyPlatform(shop_folder=str(SHOP), data_dir=str(tmp_path))
    made = dg.materialize([step], resources={"platform": platform}).get_asset_materialization_events()
    assert [event.asset_key.path[-1] for event in made] == ["affinity_model", "spend_model"]
    assert inputs.reads == 1
    inputs.frame = Inputs(cutoffs=5).frame  # a version is named by its second and its training set
    alone = dg.materialize([step], resources={"platform": platform}, selection=["predictions/spend_model"])
    assert [event.asset_key.path[-1] for event in alone.get_asset_materialization_events()] == ["spend_model"]
    assert len(ModelStore(tmp_path / "models").versions("affinity")) == 1
