"""dbt beneath Dagster: one process per run, which dies with it; and nothing is declared twice."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from dagster_dbt import DbtCliResource

from customer360.features import dbt_vars, feature_list
from customer360.lake.warehouse import lock_file
from customer360.settings import REPOSITORY, load_shop
from orchestration.dbt import PROJECT, ShopDbt
from tests.orchestration.place import TINY, dbt_processes, wait_until
from tests.orchestration.place import TinyShop as Place

OVERRIDDEN = ("_cli_version", "_initialize_dbt_core_adapter")
HOLDER = """
import subprocess, sys
from pathlib import Path
from customer360.lake.warehouse import warehouse_lock
from customer360.settings import Place
with warehouse_lock(Place(root=Path(sys.argv[1])), "a test"):
    subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print("started", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def fake_dbt(tmp_path: Path) -> Path:
    """A dbt that only notes how it was called."""
    script = tmp_path / "dbt"
    script.write_text(
        f'#!/bin/sh\necho "$1" >> {tmp_path}/calls\necho "  - installed: {version("dbt-core")}"\n', encoding="utf-8"
    )
    script.chmod(0o755)
    return script


def calls(resource_type: type[DbtCliResource], fake_dbt: Path) -> list[str]:
    resource = resource_type(project_dir=str(PROJECT), profiles_dir=str(PROJECT), dbt_executable=str(fake_dbt))
    resource.cli(["parse"], target_path=fake_dbt.parent / "target").wait()
    return (fake_dbt.parent / "calls").read_text(encoding="utf-8").split()


def test_a_run_starts_one_dbt_process_and_no_second_adapter(fake_dbt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUSTOMER360_WAREHOUSE", str(fake_dbt.parent / "warehouse.duckdb"))
    assert calls(ShopDbt, fake_dbt) == ["parse"]
    assert not (fake_dbt.parent / "warehouse.duckdb").exists()


def test_the_private_parts_that_are_replaced_exist_in_the_pinned_version() -> None:
    assert version("dagster-dbt") == "0.29.27"
    assert all(hasattr(DbtCliResource, name) for name in OVERRIDDEN)
    replaced, original = (getattr(kind, OVERRIDDEN[1]) for kind in (ShopDbt, DbtCliResource))
    assert list(inspect.signature(replaced).parameters) == list(inspect.signature(original).parameters)
    resource = ShopDbt(project_dir=str(PROJECT), profiles_dir=str(PROJECT), dbt_executable=sys.executable)
    assert str(resource._cli_version) == version("dbt-core")


@pytest.mark.parametrize("seconds", [0.0, 4.0], ids=["while it loads", "while it works"])
def test_dbt_dies_with_its_parent(tmp_path: Path, seconds: float) -> None:
    place = Place(tmp_path)
    place.data.mkdir()
    dbt = str(Path(sys.executable).with_name("customer360-dbt"))
    slow = "select count(*) from range(40000000000) as many"
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(place.data), dbt, "show", "--inline", slow],
        cwd=REPOSITORY,
        env={**place.environment, "DAGSTER_DBT_CLI": "true"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        wait_until(lambda: dbt_processes(place), 20, "dbt has started")
        time.sleep(seconds)
        assert dbt_processes(place)
        parent.kill()
    # One that was still loading notices as soon as it has loaded.
    wait_until(lambda: not dbt_processes(place), 2 if seconds else 20, "dbt died with its parent")


def test_dbt_does_nothing_when_its_run_does_not_hold_the_warehouse(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.data.mkdir()
    lock_file(place.settings.place).write_text(json.dumps({"holder": "another", "process": os.getpid() + 1}), encoding="utf-8")
    dbt = Path(sys.executable).with_name("customer360-dbt")
    refused = subprocess.run(
        [dbt, "build"], env={**place.environment, "DAGSTER_DBT_CLI": "true"}, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "the run that started dbt is gone" in refused.stderr


def test_what_dbt_is_told_is_what_shop_yaml_and_the_feature_list_say() -> None:
    for path in (TINY, *sorted((REPOSITORY / "shops").glob("*"))):
        shop = load_shop(path / "shop.yaml", resolved_categories=["one", "two"])
        told = dbt_vars(shop)
        assert [entry["id"] for entry in told["categories"]] == shop.category_ids
        assert [entry["name"] for entry in told["attributes"]] == list(shop.attributes)
        assert [entry["name"] for entry in told["features"]] == [feature.name for feature in feature_list(shop)]
        assert told["windows_days"] == shop.windows_days
        assert told["label_horizon_days"] == shop.label_horizon_days
