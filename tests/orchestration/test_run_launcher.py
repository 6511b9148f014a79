"""Runs as forks of a warm process: how children end, and what Dagster learns of it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.errors import DagsterInvariantViolationError, DagsterLaunchFailedError
from dagster._core.launcher.base import LaunchRunContext, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._daemon.monitoring.run_monitoring import monitor_started_run

from customer360.lake import disk
from customer360.settings import REPOSITORY
from orchestration.runtime import code_files
from orchestration.runtime import launcher as run_launcher
from orchestration.runtime.daemon import give_up_lost_launches
from orchestration.runtime.launcher import Template, WarmRunLauncher, code_fingerprint, is_alive, is_forkable
from orchestration.runtime.template import CRASHED, PID_TAG, START_TAG, process_start
from tests.orchestration.place import TINY, wait_until
from tests.orchestration.tiny_runs import tiny_job

TINY_RUNS = "tests.orchestration.tiny_runs"


@dataclass
class Echo:
    """A template of children that do as they are told, and what it said of their ends."""

    ends: dict[str, int] = field(default_factory=dict)

    @cached_property
    def template(self) -> Template:
        """Started by the test itself, so that what it prints is the test's output."""
        return Template()

    def start(self, identifier: str, do: str, seconds: float = 0) -> int:
        return self.template.start(identifier, do=do, seconds=seconds)

    def all_ends(self, count: int) -> dict[str, int]:
        """Exit codes by child, once so many have ended."""
        self.template.channel.settimeout(60)
        while len(self.ends) < count:
            message = json.loads(self.template._messages.readline())
            if "exit" in message:
                self.ends[message["id"]] = message["exit"]
        return self.ends

    def helpers(self) -> list[int]:
        """Living processes that the template itself started: the tracker of locks."""
        pid = self.template.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
        return [int(child) for child in children if process_start(int(child))]


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Echo]:
    monkeypatch.setattr(run_launcher, "TEMPLATE", "tests.orchestration.echo_template")
    echo = Echo()
    yield echo
    echo.template.close()


def test_children_work_side_by_side_and_each_end_is_told(capfd: pytest.CaptureFixture[str], echo: Echo) -> None:
    wanted = {"well": "0", "failed": "3", "killed": "be killed", "crashed": "raise"}
    pids = {echo.start(identifier, do, seconds=0.5) for identifier, do in wanted.items()}
    assert len(pids) == 4
    assert all(process_start(pid) for pid in pids)
    assert echo.all_ends(4) == {"well": 0, "failed": 3, "killed": -signal.SIGKILL, "crashed": CRASHED}
    assert "RuntimeError: as it was told" in capfd.readouterr().err


def test_a_template_ends_with_its_channel_and_its_children_go_on(echo: Echo) -> None:
    child = echo.start("child", "0", seconds=1.5)
    echo.template.close()
    assert echo.template.process.returncode == 0
    assert process_start(child)
    wait_until(lambda: not process_start(child), 60, "the child has ended")


def test_neither_threads_nor_locks_nor_complaints_are_left_behind(capfd: pytest.CaptureFixture[str], echo: Echo) -> None:
    pid = echo.template.process.pid
    wait_until(lambda: len(echo.helpers()) == 1, 60, "the helper has ended, the tracker of locks lives")
    trackers = echo.helpers()
    for number in range(8):
        echo.start(str(number), "0", seconds=0.5)
    echo.all_ends(8)
    assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
    assert echo.helpers() == trackers
    unheard = echo.start("unheard", "0")
    wait_until(lambda: not Path(f"/proc/{unheard}").exists(), 60, "the template has seen the end that nobody asked for")
    echo.template.close()
    wait_until(lambda: not process_start(trackers[0]), 60, "the tracker of locks has ended")
    assert capfd.readouterr().err == ""


def test_a_process_is_known_by_its_number_and_its_birth() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with sleeper:
        birth = process_start(sleeper.pid)
        assert birth == process_start(sleeper.pid) != process_start(os.getpid())
        run = dg.DagsterRun(job_name="any", tags={PID_TAG: str(sleeper.pid), START_TAG: birth})
        assert is_alive(run)
        assert not is_alive(run.with_tags({PID_TAG: str(sleeper.pid), START_TAG: process_start(os.getpid())}))
        sleeper.kill()
        wait_until(lambda: not process_start(sleeper.pid), 60, "it is a zombie")
        assert Path(f"/proc/{sleeper.pid}").exists()
        assert not is_alive(run)
    assert process_start(sleeper.pid) == ""


def test_the_fingerprint_follows_the_shop_its_categories_and_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(TINY, tmp_path / "shop")
    code = tmp_path / "code"
    code.mkdir()
    monkeypatch.setattr(code_files, "REPOSITORY", tmp_path)
    monkeypatch.setattr(code_files, "CODE", ("code",))
    monkeypatch.setenv("SHOP", str(tmp_path / "shop"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    seen = [code_fingerprint()]
    assert code_fingerprint() == seen[0]
    categories = tmp_path / "data" / "raw" / "categories.json"
    categories.parent.mkdir(parents=True)
    categories.write_text('{"categories": ["one"]}', encoding="utf-8")
    seen.append(code_fingerprint())
    (code / "new.py").touch()
    seen.append(code_fingerprint())
    os.utime(tmp_path / "shop" / "shop.yaml", ns=(1, 1))
    seen.append(code_fingerprint())
    assert len(set(seen)) == 4


@dataclass
class Launched:
    """An instance with the launcher of dagster.yaml, and runs of the tiny job in it."""

    instance: dg.DagsterInstance
    code: list[str]

    @property
    def launcher(self) -> WarmRunLauncher:
        launcher = self.instance.run_launcher
        assert isinstance(launcher, WarmRunLauncher)
        return launcher

    @property
    def template(self) -> Template:
        template = self.launcher._template
        assert template is not None
        return template

    def create(self, do: str, module: str = TINY_RUNS) -> dg.DagsterRun:
        pointer = ModuleCodePointer(module, "defs", str(REPOSITORY))
        origin = ReconstructableRepository(pointer).get_reconstructable_job("tiny_job").get_python_origin()
        return self.instance.create_run_for_job(tiny_job, job_code_origin=origin, tags={"do": do})

    def launch(self, do: str) -> str:
        """Launch a run; its id."""
        run = self.create(do)
        self.instance.launch_run(run.run_id, None)  # type: ignore[arg-type]  # Dagster's own launcher alone needs a workspace
        return run.run_id

    def run(self, run_id: str) -> dg.DagsterRun:
        found = self.instance.get_run_by_id(run_id)
        assert found is not None
        return found

    def await_status(self, run_id: str, status: DagsterRunStatus) -> dg.DagsterRun:
        wait_until(lambda: self.run(run_id).status == status, 60, f"the run is {status.value}")
        return self.run(run_id)

    def begun(self) -> dg.DagsterRun:
        """A run whose op is at work."""
        run_id = self.launch("go on")
        wait_until(lambda: self.instance.get_run_step_stats(run_id), 60, "the op has begun")
        return self.run(run_id)


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    home = tmp_path_factory.mktemp("home")
    shutil.copy(REPOSITORY / "orchestration" / "dagster.yaml", home)
    code = ["as it was"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        monkeypatch.setattr(run_launcher, "TEMPLATE", TINY_RUNS)
        monkeypatch.setattr(run_launcher, "DEFINITIONS", TINY_RUNS)
        monkeypatch.setattr(run_launcher, "code_fingerprint", lambda: code[0])
        with dg.DagsterInstance.get() as instance:
            yield Launched(instance, code)


@pytest.mark.parametrize(("do", "status"), [("succeed", DagsterRunStatus.SUCCESS), ("fail", DagsterRunStatus.FAILURE)])
def test_a_run_is_a_fork_that_notes_its_process_and_its_end(launched: Launched, do: str, status: DagsterRunStatus) -> None:
    run = launched.await_status(launched.launch(do), status)
    assert int(run.tags[PID_TAG]) != launched.template.process.pid
    wait_until(lambda: not is_alive(run), 60, "its process has ended")
    assert launched.launcher.check_run_worker_health(run).status == WorkerStatus.SUCCESS
    assert launched.launcher.terminate(run.run_id) is False


def test_a_run_that_is_terminated_is_cancelled(launched: Launched) -> None:
    run = launched.begun()
    assert launched.launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    assert launched.launcher.terminate(run.run_id)
    launched.await_status(run.run_id, DagsterRunStatus.CANCELED)


def test_run_monitoring_marks_a_run_whose_process_was_killed_as_failed(launched: Launched) -> None:
    run = launched.begun()
    os.kill(int(run.tags[PID_TAG]), signal.SIGKILL)
    wait_until(lambda: not is_alive(run), 60, "it is dead")
    record = launched.instance.get_run_record_by_id(run.run_id)
    assert record is not None
    gone = f"process {run.tags[PID_TAG]} of the run is gone"
    assert launched.launcher.check_run_worker_health(run).msg == gone
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(disk, "LITTLE_ROOM", 10**18)
        message = str(launched.launcher.check_run_worker_health(run).msg)
    assert message.startswith(f"{gone}; the disk of {launched.instance.root_directory} is full: ")
    monitor_started_run(launched.instance, None, record, logging.getLogger())  # type: ignore[arg-type]  # for resumed runs
    assert launched.run(run.run_id).status == DagsterRunStatus.FAILURE
    assert launched.launcher.terminate(run.run_id) is False


def test_a_template_is_kept_until_the_code_changes_and_its_runs_go_on(launched: Launched) -> None:
    at_work = launched.begun()
    first = launched.template
    launched.await_status(launched.launch("succeed"), DagsterRunStatus.SUCCESS)
    assert launched.template is first
    launched.code[0] = "changed"
    launched.await_status(launched.launch("succeed"), DagsterRunStatus.SUCCESS)
    assert launched.template is not first
    assert first.process.returncode == 0
    assert is_alive(at_work)
    assert launched.launcher.terminate(at_work.run_id)
    launched.await_status(at_work.run_id, DagsterRunStatus.CANCELED)


def test_a_template_that_died_is_replaced(launched: Launched) -> None:
    launched.await_status(launched.launch("succeed"), DagsterRunStatus.SUCCESS)
    dead = launched.template.process
    dead.kill()
    dead.wait()
    launched.await_status(launched.launch("succeed"), DagsterRunStatus.SUCCESS)
    assert launched.template.process.pid != dead.pid


def test_a_template_that_cannot_start_fails_the_run_with_a_clear_error_and_the_next_one_is_tried_anew(
    launched: Launched, capfd: pytest.CaptureFixture[str]
) -> None:
    launched.code[0] = "broken"
    run = launched.create("succeed")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(run_launcher, "TEMPLATE", "tests.orchestration.no_such_template")
        with pytest.raises(DagsterLaunchFailedError, match=r"no_such_template\) ended; its exit code is 1"):
            launched.instance.launch_run(run.run_id, None)  # type: ignore[arg-type]
    assert "No module named tests.orchestration.no_such_template" in capfd.readouterr().err
    assert launched.run(run.run_id).status == DagsterRunStatus.FAILURE
    launched.await_status(launched.launch("succeed"), DagsterRunStatus.SUCCESS)


def starting(launched: Launched, module: str = TINY_RUNS) -> dg.DagsterRun:
    """A run as the daemon leaves it when it dies between its word that it launches the run, and the fork."""
    run = launched.create("succeed", module)
    event = dg.DagsterEvent(dg.DagsterEventType.RUN_STARTING.value, job_name=run.job_name)
    launched.instance.report_dagster_event(event, run.run_id)
    assert launched.run(run.run_id).status == DagsterRunStatus.STARTING
    return launched.run(run.run_id)


def test_a_new_daemon_gives_up_the_runs_that_the_dead_one_was_launching(launched: Launched) -> None:
    lost, died_early, others, at_work = (
        starting(launched),
        starting(launched),
        starting(launched, "another.shop"),
        launched.begun(),
    )
    launched.instance.add_run_tags(died_early.run_id, {PID_TAG: "1", START_TAG: "another boot"})
    coming = starting(launched)
    launched.instance.add_run_tags(coming.run_id, {PID_TAG: str(os.getpid()), START_TAG: process_start(os.getpid())})
    assert set(give_up_lost_launches(launched.instance)) == {lost.run_id, died_early.run_id}
    found = {run.run_id: launched.run(run.run_id).status for run in (lost, died_early, others, coming, at_work)}
    assert found == {
        lost.run_id: DagsterRunStatus.FAILURE,
        died_early.run_id: DagsterRunStatus.FAILURE,
        others.run_id: DagsterRunStatus.STARTING,
        coming.run_id: DagsterRunStatus.STARTING,
        at_work.run_id: DagsterRunStatus.STARTED,
    }
    assert launched.launcher.terminate(at_work.run_id)
    launched.await_status(at_work.run_id, DagsterRunStatus.CANCELED)


def test_a_child_that_comes_up_after_its_run_was_given_up_does_nothing(launched: Launched) -> None:
    run = starting(launched)
    assert give_up_lost_launches(launched.instance) == [run.run_id]
    launched.launcher.launch_run(LaunchRunContext(run, None))  # the child of the last moment

    def ignored() -> bool:
        messages = [entry.message for entry in launched.instance.all_logs(run.run_id)]
        return any("Ignoring a run worker that started after the run had already finished" in message for message in messages)

    wait_until(ignored, 60, "the child lets the run be")
    assert launched.run(run.run_id).status == DagsterRunStatus.FAILURE
    assert launched.instance.get_run_step_stats(run.run_id) == []


def test_other_definitions_and_interpreters_are_left_to_dagsters_launcher(launched: Launched) -> None:
    run = launched.create("succeed")
    assert is_forkable(run)
    origin: Any = run.job_code_origin
    elsewhere = origin.repository_origin._replace(executable_path="/usr/bin/another-python")
    assert not is_forkable(run._replace(job_code_origin=origin._replace(repository_origin=elsewhere)))
    others = launched.create("succeed", module=f"{TINY_RUNS}.others")
    assert not is_forkable(others)
    with pytest.raises(DagsterInvariantViolationError, match="DefaultRunLauncher requires a workspace"):
        launched.instance.launch_run(others.run_id, None)  # type: ignore[arg-type]
    assert launched.launcher.check_run_worker_health(others).status == WorkerStatus.RUNNING
