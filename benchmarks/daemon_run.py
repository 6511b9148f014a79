"""A run of a job as the daemon runs it, without the wait for a queue: submitted, then forked from the warm template."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.launcher.base import LaunchRunContext

from benchmarks.measuring import Measured
from customer360.settings import REPOSITORY, Settings
from orchestration.job_runs import failure_text
from orchestration.runtime.launcher import DEFINITIONS, Template, WarmRunLauncher

POINTER = ModuleCodePointer(DEFINITIONS, "defs", str(REPOSITORY))
LONGEST_SECONDS = 3600.0
STEP_FAILURE, RUN_FAILURE = dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE


class DaemonRuns:
    """Runs jobs on the place that the environment names. ``import_cpu_seconds`` is what the template's start cost, once."""

    def __init__(self) -> None:
        home = Settings.from_environment().place.root / "dagster"
        home.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / "orchestration" / "dagster.yaml", home)
        from orchestration.definitions import defs  # noqa: PLC0415  of the shop that the environment names by now

        self.definitions = defs
        self.template = Template()
        self.import_cpu_seconds = _cpu_seconds_of(self.template.process.pid)

    def run(self, job_name: str, partition_key: str | None = None, tags: Mapping[str, str] | None = None) -> Measured:
        """Submit and run a job: wall and CPU seconds of both, peak memory of the run. Raises ``RuntimeError`` when it fails."""
        job = self.definitions.resolve_job_def(job_name)
        recon = ReconstructableRepository(POINTER).get_reconstructable_job(job_name)
        all_tags = {**(tags or {}), **({"dagster/partition": partition_key} if partition_key else {})}
        with dg.DagsterInstance.get() as instance:
            started, own_cpu = time.monotonic(), time.process_time()
            run = instance.create_run_for_job(job, job_code_origin=recon.get_python_origin(), tags=all_tags)
            launcher = WarmRunLauncher()
            launcher.register_instance(instance)
            launcher._template = self.template
            launcher.launch_run(LaunchRunContext(run, None))
            own_cpu = time.process_time() - own_cpu
            end = self.template.ended(run.run_id, LONGEST_SECONDS)
            wall = time.monotonic() - started
            done = instance.get_run_by_id(run.run_id)
            failures = instance.get_records_for_run(run.run_id, of_type={STEP_FAILURE, RUN_FAILURE}).records
        if end["exit"] or done is None or not done.is_success:
            events = [event for record in failures if (event := record.event_log_entry.dagster_event)]
            reasons = [failure_text(event) if event.is_step_failure else str(event.message) for event in events]
            raise RuntimeError("\n".join([f"{job_name} {partition_key or ''} failed with exit code {end['exit']}", *reasons]))
        return Measured(wall, own_cpu + end["cpu_seconds"], end["peak_mib"])

    def close(self) -> None:
        """End the template."""
        self.template.close()


def _cpu_seconds_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def daemon_runs() -> closing[DaemonRuns]:
    """``DaemonRuns`` that end their template at the end of the block."""
    return closing(DaemonRuns())
