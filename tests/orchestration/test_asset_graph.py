"""One snapshot pins the asset graph.

When a change of it is meant, write it anew and read the difference before committing it:

    UPDATE_ASSET_GRAPH=1 .venv/bin/python -m pytest tests/orchestration/test_asset_graph.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from customer360.settings import REPOSITORY
from tests.orchestration.place import TinyShop

SNAPSHOT = Path(__file__).with_name("asset_graph.json")
FLOW = {"raw", "transform", "marts", "predictions", "campaigns", "publishing", "monitoring"}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    shop = TinyShop(tmp_path_factory.mktemp("graph"))
    target = shop.root / "asset_graph.json"
    subprocess.run(
        [sys.executable, "-m", "tests.orchestration.asset_graph", target], cwd=REPOSITORY, env=shop.environment, check=True
    )
    if os.environ.get("UPDATE_ASSET_GRAPH"):
        shutil.copy(target, SNAPSHOT)
    loaded: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return loaded


def test_the_asset_graph_is_the_one_agreed_on(graph: dict[str, Any]) -> None:
    assert graph == json.loads(SNAPSHOT.read_text(encoding="utf-8")), "see the head of this file"


def test_every_asset_is_in_a_stage_of_the_flow_and_in_a_job(graph: dict[str, Any]) -> None:
    assert {asset["group"].partition("_")[2] for asset in graph["assets"].values()} <= FLOW
    in_jobs = {key for keys in graph["jobs"].values() for key in keys}
    assert sorted(graph["assets"].keys() - in_jobs) == []


def test_nothing_depends_on_what_does_not_exist(graph: dict[str, Any]) -> None:
    wanted = {dep for asset in graph["assets"].values() for dep in asset["deps"]}
    assert sorted(wanted - graph["assets"].keys()) == []


@pytest.mark.exhaustive  # make lint runs the same
def test_imports_keep_to_their_layers() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
