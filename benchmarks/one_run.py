"""One job of the product in its own process: ``python -m benchmarks.one_run <job> <partition>``; no job: the import alone."""

from __future__ import annotations

import sys
from pathlib import Path

import dagster as dg

from customer360.settings import Settings
from orchestration.definitions import defs

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def main() -> None:
    """Execute the job named by the arguments; an error ends the process with exit code 1."""
    job, partition = sys.argv[1:3]
    if not job:
        return
    Settings.from_environment().place.root.joinpath("dagster").mkdir(exist_ok=True)
    with dg.DagsterInstance.get() as instance:
        result = defs.resolve_job_def(job).execute_in_process(
            instance=instance, partition_key=partition or None, run_config=QUIET, raise_on_error=False
        )
    if not result.success:
        sys.exit(f"{job} failed in {Path.cwd()}")


if __name__ == "__main__":
    main()
