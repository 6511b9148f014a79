"""The asset of a model, with inputs made here: read once a run, and metadata of a model that is trained or has to wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from assets.predictions.training import CUSTOMERS, CustomerInputs, Recipe, model_asset
from customer360.settings import REPOSITORY, Settings
from customer360.snapshot import Snapshot
from ml.datasets.training_sets import TrainingSetError
from ml.fitting.boosting_settings import BoostingSettings
from ml.versions.model_store import ModelStore
from orchestration.resources import Platform
from tests.ml.published_frames import training_frame

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
        return CustomerInputs(self.frame, pd.Timestamp("2026-01-01").to_pydatetime())

    def recipe(self) -> Recipe[CustomerInputs]:
        return Recipe(
            [], "the last cut-off", BoostingSettings(iterations=20), self.read, CUSTOMERS.training_set, CUSTOMERS.outlook
        )


def run(name: str, inputs: Inputs, data: Path) -> tuple[dict[str, Any], dict[str, bool]]:
    """Metadata and checks of the asset."""
    platform = EmptyPlatform(shop_folder=str(SHOP), data_dir=str(data))
    result = dg.materialize([model_asset(name, "A model.", inputs.recipe())], resources={"platform": platform})
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
    assert "auc" not in metadata  # of models of two classes alone
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


def test_a_model_without_which_nothing_is_served_fails_instead(tmp_path: Path) -> None:
    with pytest.raises(TrainingSetError, match="needs two cut-offs that are 7 days"):
        run("affinity", Inputs(cutoffs=1), tmp_path)
