"""The check of the future in training_job: it passes on the shop as it is, and no model is trained where it fails."""

from __future__ import annotations

import json
import subprocess
import sys

import dagster as dg
import pytest

from assets.predictions.look_ahead_check import features_do_not_see_the_future
from assets.predictions.training import TRAINING_STEPS, training_features
from assets.transform.warehouse import warehouse_models
from customer360.settings import REPOSITORY
from ml.versions.model_store import ModelStore
from orchestration.partitions import WAREHOUSE_POOL
from tests.orchestration.place import TinyShop

CHECK = dg.AssetCheckKey(dg.AssetKey(["marts", "training_features"]), "features_do_not_see_the_future")


def test_a_training_is_checked_for_the_future(shop: TinyShop) -> None:
    shop.restore("ready")
    with shop.instance() as instance:
        (record, *_) = instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=1)
    assert record.event is not None
    assert record.event.dagster_event is not None
    found = record.event.dagster_event.asset_check_evaluation_data
    assert (found.passed, found.blocking, found.severity) == (True, True, dg.AssetCheckSeverity.ERROR)
    ((known,),) = shop.published("select count(distinct customer_id) from training_features")
    assert found.metadata["customers"].value >= known  # all of them: the shop is smaller than a sample
    assert found.metadata["cutoffs"].value == 2
    assert found.metadata["labels_changed"].value > 0
    assert not list((shop.data / ".tmp").glob("look-ahead-*"))


@pytest.mark.exhaustive  # a training; tests/warehouse/test_look_ahead.py finds every kind of leak
def test_a_training_set_that_sees_the_future_trains_no_model(shop: TinyShop) -> None:
    shop.restore("ready")
    versions = ModelStore(shop.settings.place.models).versions("affinity")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.orchestration.leaking_training"],
            cwd=REPOSITORY,
            env=shop.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        result = json.loads(done.stdout.splitlines()[-1])
        assert (result["success"], result["passed"], result["severity"], result["blocking"]) == (False, False, "ERROR", True)
        assert "views_3d" in result["features"]
        assert "use data that became known after a cut-off" in result["description"]
        # The models of contacts and of products read no features of customers at cut-offs.
        of_others = {f"predictions/{name}_model" for name in ("response", "organic_response", "product")}
        assert set(result["materialized"]) - of_others == {"marts/training_features"}
        assert ModelStore(shop.settings.place.models).versions("affinity") == versions
    finally:
        shop.restore("ready")


def test_a_training_holds_no_place_in_the_pool_that_slices_wait_for() -> None:
    """A run holds a pool's slot to its end: a single step of the training in it, and slices wait for the models too."""
    steps = [*training_features.node_def.iterate_op_defs(), *features_do_not_see_the_future.node_def.iterate_op_defs()]
    for step in TRAINING_STEPS:
        steps += step.node_def.iterate_op_defs()
    assert {step.name: step.pool for step in steps} == dict.fromkeys((step.name for step in steps), None)
    assert [step.pool for step in warehouse_models.node_def.iterate_op_defs()] == [WAREHOUSE_POOL]
