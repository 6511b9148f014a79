"""The event log with open connections writes what Dagster's own class writes, and reads what that one wrote."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from customer360.settings import REPOSITORY
from orchestration.runtime.event_log import OpenEventLog

KEY = dg.AssetKey("counted")
OURS = yaml.safe_load((REPOSITORY / "orchestration" / "dagster.yaml").read_text(encoding="utf-8"))["event_log_storage"]


@dg.asset(key=KEY, check_specs=[dg.AssetCheckSpec("is_known", asset=KEY)])
def counted() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": 3}, check_results=[dg.AssetCheckResult(passed=True)])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    use(home, ours=True)
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, OpenEventLog)
        yield instance


def use(home: Path, *, ours: bool) -> None:
    settings = {"telemetry": {"enabled": False}} | ({"event_log_storage": OURS} if ours else {})
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def materialize_in_a_process(home: str) -> None:
    """What another process of the instance does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", home)
        with dg.DagsterInstance.get() as instance:
            for _ in range(5):
                assert dg.materialize([counted], instance=instance).success


def recorded(instance: dg.DagsterInstance) -> tuple[int, int, list[str]]:
    """Materialisations, runs, and the types of the events of the newest run."""
    materialized = instance.fetch_materializations(KEY, limit=100).records
    newest = instance.get_runs(limit=1)[0]
    events = [entry.dagster_event.event_type_value for entry in instance.all_logs(newest.run_id) if entry.dagster_event]
    return len(materialized), instance.get_runs_count(), events


def test_dagsters_own_class_reads_what_was_written_and_goes_on(instance: dg.DagsterInstance, home: Path) -> None:
    assert dg.materialize([counted], instance=instance).success
    ours = recorded(instance)
    use(home, ours=False)
    with dg.DagsterInstance.get() as other:
        assert type(other.event_log_storage) is SqliteEventLogStorage
        assert recorded(other) == ours
        assert dg.materialize([counted], instance=other).success
        theirs = recorded(other)
    assert theirs == (2, 2, ours[2])
    assert recorded(instance) == theirs


def test_processes_write_at_the_same_time_and_nothing_is_lost(instance: dg.DagsterInstance, home: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    other = spawn.Process(target=materialize_in_a_process, args=(str(home),))
    other.start()
    for _ in range(5):
        assert dg.materialize([counted], instance=instance).success
    other.join(120)
    assert other.exitcode == 0
    materialized, runs, _ = recorded(instance)
    assert (materialized, runs) == (10, 10)


def test_few_files_stay_open_however_many_runs_are_read(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.runtime.event_log.OPEN_AT_MOST", 3)
    for _ in range(5):
        assert dg.materialize([counted], instance=instance).success
    storage = instance.event_log_storage
    assert isinstance(storage, OpenEventLog)
    for run in instance.get_runs():
        assert len(instance.all_logs(run.run_id)) > 0
    assert len(storage._open) == 3
    instance.dispose()
    assert len(storage._open) == 0
