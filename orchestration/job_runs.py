"""The product's jobs in this process, with their progress shown: what ``customer360 start`` and the demo run."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import signal
import socket
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from customer360.progress import watched
from customer360.settings import Settings
from orchestration.progress_display import Display
from orchestration.runtime.home import prepare_home

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
STAGE_TAG, INPUTS_TAG = "customer360/start_stage", "customer360/start_inputs"
ROWS = "dagster/row_count"
ROWS_SHOWN = {"raw", "publishing"}  # layers whose rows are shown as they are written


@dataclass(frozen=True)
class Stage:
    """A stage of a start, and the version of its inputs."""

    name: str
    inputs: str

    @property
    def tags(self) -> dict[str, str]:
        """As a run carries them."""
        return {STAGE_TAG: self.name, INPUTS_TAG: hashlib.sha256(self.inputs.encode()).hexdigest()[:32]}


@dataclass(frozen=True)
class JobRun:
    """The end of a run: what failed, by step, in words for people."""

    failures: Mapping[str, str]

    @property
    def has_succeeded(self) -> bool:
        """True where no step failed."""
        return not self.failures


class JobRunner:
    """Runs jobs one after the other. Debug output goes to ``log``.

    A run carries its stage as tags: that it succeeded is how a later start knows what is done. DAGSTER_HOME is set; what needs
    Dagster is imported here, with SHOP and DATA_DIR as they are.
    """

    def __init__(self, settings: Settings, log: Path, display: Display) -> None:
        self.settings, self.log, self.display = settings, log, display
        prepare_home(Path(os.environ["DAGSTER_HOME"]))
        logging.getLogger("alembic").setLevel(logging.WARNING)
        with self._quietly():
            import dagster as dg  # noqa: PLC0415

            from orchestration.definitions import defs  # noqa: PLC0415

            self.dg, self.defs = dg, defs
            self.instance = dg.DagsterInstance.get()

    def is_done(self, stage: Stage) -> bool:
        """Whether a run of the stage has succeeded with these inputs."""
        succeeded = self.dg.RunsFilter(tags=stage.tags, statuses=[self.dg.DagsterRunStatus.SUCCESS])
        return bool(self.instance.get_runs(succeeded, limit=1))

    def end_dead_runs(self) -> int:
        """Mark the runs of an earlier start that was killed as failed; returns how many. The caller is alone with the home."""
        open_states = [self.dg.DagsterRunStatus.STARTED, self.dg.DagsterRunStatus.STARTING, self.dg.DagsterRunStatus.CANCELING]
        runs = [run for run in self.instance.get_runs(self.dg.RunsFilter(statuses=open_states)) if STAGE_TAG in run.tags]
        for run in runs:
            self.instance.report_run_failed(
                run, "customer360 start ended before this run did; the next start goes on from here"
            )
        return len(runs)

    def run(
        self,
        job: str,
        stage: Stage,
        *,
        partition: str | None = None,
        tags: Mapping[str, str] | None = None,
        assets: Collection[Any] | None = None,
    ) -> JobRun:
        """Run a job, or some of its assets, to its end. An interrupt ends the run and is raised as ``KeyboardInterrupt``."""
        run_id = str(uuid.uuid4())
        following = self.display.following
        with _interrupts() as interrupts, watched() as watch, self._quietly(), following(watch, _Steps(self, run_id).look):
            result = self.defs.resolve_job_def(job).execute_in_process(
                instance=self.instance,
                partition_key=partition,
                run_id=run_id,
                tags={**(tags or {}), **stage.tags},
                run_config=QUIET,
                raise_on_error=False,
                asset_selection=None if assets is None else list(assets),
            )
            is_interrupted = signal.SIGINT in interrupts()
        if is_interrupted:
            raise KeyboardInterrupt
        failures = {event.step_key or job: failure_text(event) for event in result.all_events if event.is_step_failure}
        if not result.success and not failures:
            failures = {job: " ".join(str(event.message) for event in result.all_events if event.is_run_failure)}
        return JobRun(failures)

    def latest_metadata(self, key: Collection[str]) -> dict[str, Any]:
        """Metadata of an asset's last materialization; empty where there is none."""
        event = self.instance.get_latest_materialization_event(self.dg.AssetKey(list(key)))
        found = event.asset_materialization if event else None
        return {name: value.value for name, value in found.metadata.items()} if found else {}

    @contextlib.contextmanager
    def _quietly(self) -> Iterator[None]:
        """Redirect stdout and stderr to the log."""
        with self.log.open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield


@contextlib.contextmanager
def _interrupts() -> Iterator[Callable[[], bytes]]:
    """Numbers of the signals that came, whoever handles them: Dagster and dbt have handlers of their own while they work."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

        def received() -> bytes:
            try:
                return ours.recv(1024)
            except BlockingIOError:
                return b""

        try:
            yield received
        finally:
            signal.set_wakeup_fd(before)


class _Steps:
    """Follows a run by its events: writes each step of rows or results that has ended."""

    def __init__(self, runner: JobRunner, run_id: str) -> None:
        self.runner, self.run_id = runner, run_id
        kinds = runner.dg.DagsterEventType
        self.kinds = {kinds.STEP_START, kinds.STEP_SUCCESS, kinds.STEP_FAILURE, kinds.ASSET_MATERIALIZATION}
        self.cursor: str | None = None
        self.step = ""

    def look(self) -> str:
        """The step at hand; empty between two steps."""
        page = self.runner.instance.get_records_for_run(self.run_id, cursor=self.cursor, of_type=self.kinds)
        self.cursor = page.cursor
        for record in page.records:
            event = record.event_log_entry.dagster_event
            if event is None:
                continue
            if event.event_type_value == "STEP_START":
                self.step = (event.step_key or "").replace("__", "/")
            elif event.event_type_value == "ASSET_MATERIALIZATION":
                self._say_rows(event.step_materialization_data.materialization)
            else:
                self.step = ""
        return self.step

    def _say_rows(self, materialization: Any) -> None:
        key, rows = materialization.asset_key, materialization.metadata.get(ROWS)
        if key.path[0] in ROWS_SHOWN and rows is not None and rows.value:
            self.runner.display.say(f"   {key.path[-1]:<20} {rows.value:>12,} rows")


def failure_text(event: Any) -> str:
    """Why a step failed: the text of the error, without the classes and the stack of Python, which are in the log."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    message = (error.message if error is not None else str(event.message)).strip()
    return re.sub(r"^[\w.]+(Error|Exception|Failure|Interrupt): ", "", message)
