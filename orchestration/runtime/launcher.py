"""Runs as forks of a warm template process: named in dagster.yaml, used by the daemon.

Dagster's own launcher starts a new interpreter a run, which imports Dagster, dbt and CatBoost again: 6 CPU seconds.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.errors import DagsterLaunchFailedError
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.dagster_run import DagsterRun
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import serialize_value
from dagster._serdes.config_class import ConfigurableClassData

from customer360.lake.disk import lack_of_room
from customer360.settings import REPOSITORY
from orchestration.runtime.code_files import code_fingerprint
from orchestration.runtime.template import PID_TAG, START_TAG, process_start

DEFINITIONS = "orchestration.definitions"
TEMPLATE = "orchestration.runtime.template"
START_SECONDS, END_SECONDS = 120.0, 10.0


class Template:
    """A running template process, and the channel to it. What it and its children print goes where this process prints.

    Whatever is wrong with it is a ``DagsterLaunchFailedError``, and it is closed by then.
    """

    def __init__(self) -> None:
        self.code = code_fingerprint()
        self.channel, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603  our own module
                [sys.executable, "-m", TEMPLATE, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
            )
        self.channel.settimeout(START_SECONDS)
        self._messages = self.channel.makefile("r", encoding="utf-8")
        self._await(None, "pid")

    def start(self, identifier: str, **request: Any) -> int:
        """Fork a child: its pid."""
        try:
            self.channel.sendall(json.dumps({"id": identifier, **request}).encode() + b"\n")
        except OSError as error:
            raise self._failed("takes no requests") from error
        pid: int = self._await(identifier, "pid")["pid"]
        return pid

    def ended(self, identifier: str, seconds: float) -> dict[str, Any]:
        """Wait for the end of a child: exit, cpu_seconds, peak_mib."""
        self.channel.settimeout(seconds)
        return self._await(identifier, "exit")

    def is_usable(self) -> bool:
        """True while it runs and its code is that of the files."""
        return self.process.poll() is None and self.code == code_fingerprint()

    def close(self) -> None:
        """Close the channel, so that the template ends; its runs go on."""
        self._messages.close()
        self.channel.close()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _await(self, identifier: str | None, kind: str) -> dict[str, Any]:
        try:
            for line in self._messages:
                message: dict[str, Any] = json.loads(line)
                if message["id"] == identifier and kind in message:
                    return message
        except OSError as error:
            raise self._failed(f"did not answer within {self.channel.gettimeout():.0f} s") from error
        raise self._failed("ended")

    def _failed(self, what: str) -> DagsterLaunchFailedError:
        self.close()
        return DagsterLaunchFailedError(  # type: ignore[no-untyped-call]
            f"The process that forks runs ({TEMPLATE}) {what}; its exit code is {self.process.returncode}. Its output "
            "is in the daemon's log. The next run is launched with a new one."
        )


class WarmRunLauncher(DefaultRunLauncher):
    """Forks each run of the product from a template; any other run, and any system but Linux, is left to Dagster's launcher."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._template: Template | None = None
        self._lock = threading.Lock()

    def launch_run(self, context: LaunchRunContext) -> None:
        """Fork the run, which notes its process in its tags. Raises ``DagsterLaunchFailedError`` where it cannot be forked."""
        run = context.dagster_run
        if not is_forkable(run):
            super().launch_run(context)
            return
        origin = run.job_code_origin
        assert origin is not None  # noqa: S101  is_forkable has seen it
        arguments = serialize_value(ExecuteRunArgs(origin, run.run_id, self._instance.get_ref(), True))
        with self._lock:
            self._ready().start(run.run_id, arguments=arguments)

    def _ready(self) -> Template:
        if self._template is not None and not self._template.is_usable():
            self._template.close()
            self._template = None
        if self._template is None:
            self._template = Template()
        return self._template

    def terminate(self, run_id: str) -> bool:
        """Interrupt the run: the statement at hand is given up, and the run is then marked as cancelled."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or PID_TAG not in run.tags:
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        if run.is_finished or not is_alive(run):
            return False
        self._instance.report_run_canceling(run)
        os.kill(int(run.tags[PID_TAG]), signal.SIGINT)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring asks for each started run whether its process lives."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the run's process lives; one that ended in good order has said so in the run's own status.

        Runs of Dagster's launcher are watched by the code server that started them, so they count as well here.
        """
        if PID_TAG not in run.tags or is_alive(run):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        now = self._instance.get_run_by_id(run.run_id)
        if now is None or now.is_finished:
            return CheckRunHealthResult(WorkerStatus.SUCCESS)
        reason = f"process {run.tags[PID_TAG]} of the run is gone"
        room = lack_of_room(Path(self._instance.root_directory))
        return CheckRunHealthResult(WorkerStatus.FAILED, f"{reason}; {room}" if room else reason)

    def dispose(self) -> None:
        """Let the template end."""
        with self._lock:
            if self._template is not None:
                self._template.close()
                self._template = None


def is_forkable(run: DagsterRun) -> bool:
    """True for runs of this product's definitions in this interpreter's environment, on a system that forks well."""
    origin = run.job_code_origin
    if sys.platform != "linux" or origin is None:
        return False
    pointer = origin.repository_origin.code_pointer
    is_ours = isinstance(pointer, ModuleCodePointer) and pointer.module == DEFINITIONS
    return is_ours and origin.repository_origin.executable_path == sys.executable


def is_alive(run: DagsterRun) -> bool:
    """True while the run's own process lives, and not another one with its number."""
    return process_start(int(run.tags[PID_TAG])) == run.tags[START_TAG]
