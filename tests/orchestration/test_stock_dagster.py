"""The product runs on Dagster's own launcher, event log and multiprocess executor too: slower, with the same tables."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from customer360.settings import REPOSITORY
from tests.orchestration.place import Tables, TinyShop

pytestmark = pytest.mark.exhaustive  # a minute: the product's own launcher, event log and executor are tried by every other run


@pytest.fixture(scope="module")
def stock_shop(shop: TinyShop) -> Iterator[TinyShop]:
    """The shop with a slice landed, and a Dagster home on Dagster's own launcher and event log."""
    shop.restore("ready")
    shop.land(0)
    path = shop.home / "dagster.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    del settings["event_log_storage"]
    settings["run_launcher"] = {"module": "dagster", "class": "DefaultRunLauncher"}
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    shop.save("stock")
    yield shop
    shutil.rmtree(shop.root / "stock")
    shop.restore("ready")


@pytest.fixture(scope="module")
def expected(stock_shop: TinyShop) -> Tables:
    """What the product's own launcher and executor publish."""
    stock_shop.run("slice_job", stock_shop.key(0)).succeed()
    return stock_shop.tables()


@pytest.mark.parametrize(
    ("module", "job"),
    [
        ("orchestration.definitions", "slice_job"),
        pytest.param("tests.orchestration.stock_run", "slice_job_in_processes", marks=pytest.mark.exhaustive),
    ],
    ids=["stock launcher", "stock launcher and multiprocess executor"],
)
def test_a_slice_runs_on_dagsters_own_machinery_and_publishes_the_same(
    stock_shop: TinyShop, expected: Tables, tmp_path: Path, module: str, job: str
) -> None:
    stock_shop.restore("stock")
    done = subprocess.run(
        [sys.executable, "-m", "tests.orchestration.stock_run", module, job, stock_shop.key(0), str(tmp_path / "outcome.json")],
        cwd=REPOSITORY,
        env=stock_shop.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    outcome: dict[str, Any] = json.loads((tmp_path / "outcome.json").read_text(encoding="utf-8"))
    sys.stdout.write(f"{job}: {outcome['cpu_seconds']:.1f} CPU s\n")
    assert (outcome["launcher"], outcome["status"]) == ("DefaultRunLauncher", "SUCCESS"), done.stderr[-4000:]
    assert outcome["steps"] > 5
    assert (outcome["processes"] < 5) == (job == "slice_job")  # the run's and its launcher's, or one a step and more
    tables = stock_shop.tables()
    assert [name for name in tables if tables[name] != expected[name]] == []
