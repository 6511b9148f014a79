"""Launches a run with Dagster's own launcher, as its daemon would: ``stock_run <module> <job> <partition> <file>``.

It writes to the file what came of the run.
``defs`` here are the product's with ``slice_job`` on the multiprocess executor, under the name ``slice_job_in_processes``.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import dagster as dg
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget

from orchestration.definitions import build_defs
from orchestration.jobs import slice_job

# Each step in a process of its own that need not import the product again.
FORK_SERVER = {"start_method": {"forkserver": {"preload_modules": [__name__]}}}

defs = dg.Definitions.merge(
    build_defs(),
    dg.Definitions(
        jobs=[
            dg.define_asset_job(
                "slice_job_in_processes",
                selection=slice_job.selection,
                executor_def=dg.multiprocess_executor.configured(FORK_SERVER),
                tags=slice_job.tags,
            )
        ]
    ),
)


def main(module: str, job_name: str, partition: str, file: str) -> None:
    target = ModuleTarget(module, attribute="defs", working_directory=None, location_name=module)
    with dg.DagsterInstance.get() as instance, WorkspaceProcessContext(instance, target) as process:
        workspace = process.create_request_context()
        (repository,) = workspace.get_code_location(module).get_repositories().values()
        job = repository.get_full_job(job_name)
        run = instance.create_run_for_job(
            defs.resolve_job_def(job_name),
            tags={**job.tags, "dagster/partition": partition},
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
        )
        instance.launch_run(run.run_id, workspace)
        while not (found := instance.get_run_by_id(run.run_id)) or not found.is_finished:
            time.sleep(0.2)
        steps = [step.step_key for step in instance.get_run_step_stats(run.run_id)]
        processes = {
            entry.dagster_event.pid for entry in instance.all_logs(run.run_id) if entry.dagster_event and entry.step_key
        }
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # after the code server has ended, which starts the runs
    outcome = {
        "launcher": type(instance.run_launcher).__name__,
        "status": found.status.value,
        "steps": len(steps),
        "processes": len(processes),
        "cpu_seconds": used.ru_utime + used.ru_stime,
    }
    Path(file).write_text(json.dumps(outcome), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
