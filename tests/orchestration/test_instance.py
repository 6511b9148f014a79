"""The settings of the Dagster instance are read by the pinned version as they are meant."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.instance.config import PoolGranularity

from customer360.settings import REPOSITORY
from orchestration.runtime import CHECKED_AGAINST
from orchestration.runtime.event_log import OpenEventLog
from orchestration.runtime.home import prepare_home
from orchestration.runtime.launcher import WarmRunLauncher

HERE = REPOSITORY / "orchestration"


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    shutil.copy(HERE / "dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        yield instance


def test_every_setting_is_in_force(instance: dg.DagsterInstance) -> None:
    pools = instance.get_concurrency_config().pool_config
    assert (pools.default_pool_limit, pools.pool_granularity) == (1, PoolGranularity.RUN)
    assert instance.run_coordinator.dequeue_interval_seconds == 1
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_start_timeout_seconds == 180
    assert instance.run_monitoring_max_runtime_seconds == 7200
    assert instance.run_monitoring_poll_interval_seconds == 2
    assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 2)
    assert not instance.telemetry_enabled
    assert instance.root_directory == os.environ["DAGSTER_HOME"]


def test_the_machinery_is_checked_against_what_is_installed() -> None:
    assert {name: version(name) for name in CHECKED_AGAINST} == CHECKED_AGAINST, "see orchestration/runtime/__init__.py"


def test_a_home_of_an_older_release_opens_and_keeps_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dagster.yaml").write_text(
        "# as 0.1.0 wrote it, with a setting of its owner\n"
        "event_log_storage:\n  module: orchestration.event_log\n  class: OpenEventLog\n"
        "run_launcher:\n  module: orchestration.run_launcher\n  class: WarmRunLauncher\n"
        "run_queue:\n  dequeue_interval_seconds: 7\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    prepare_home(tmp_path)
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, OpenEventLog)
        assert isinstance(instance.run_launcher, WarmRunLauncher)
        assert instance.run_coordinator.dequeue_interval_seconds == 7
    mended = (tmp_path / "dagster.yaml").read_text(encoding="utf-8")
    prepare_home(tmp_path)
    assert (tmp_path / "dagster.yaml").read_text(encoding="utf-8") == mended
    prepare_home(tmp_path / "new")
    assert load_file(tmp_path / "new" / "dagster.yaml") == load("dagster.yaml")


def test_a_team_has_the_same_settings_and_its_storage_from_the_environment() -> None:
    laptop, team = ({**load(name)} for name in ("dagster.yaml", "dagster-postgres.yaml"))
    storage = team.pop("storage")["postgres"]["postgres_db"]
    assert laptop.pop("event_log_storage")["class"] == "OpenEventLog"
    assert team == laptop
    assert {name: value for name, value in storage.items() if name not in ("port", "scheme")} == {
        "hostname": {"env": "DAGSTER_PG_HOST"},
        "username": {"env": "DAGSTER_PG_USERNAME"},
        "password": {"env": "DAGSTER_PG_PASSWORD"},
        "db_name": {"env": "DAGSTER_PG_DB"},
    }


def load(name: str) -> dict[str, Any]:
    return load_file(HERE / name)


def load_file(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded
