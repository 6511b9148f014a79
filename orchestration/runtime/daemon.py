"""``python -m orchestration.runtime.daemon run ...``: Dagster's daemon, which first gives up what the one before was launching.

A run whose launch was cut short stays STARTING until the start timeout, three minutes, and other runs wait for it. Where a
home is served once, a daemon that starts knows that nobody launches such a run any more.
"""

from __future__ import annotations

import dagster as dg
from dagster._daemon.cli import main as daemon

from orchestration.runtime.launcher import is_alive, is_forkable
from orchestration.runtime.template import PID_TAG


def give_up_lost_launches(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs as failed that no living process launches or executes; their ids.

    A child that was forked at the last moment finds its run finished, and Dagster then lets it be.
    """
    starting = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING]))
    lost = [run for run in starting if is_forkable(run) and not (PID_TAG in run.tags and is_alive(run))]
    for run in lost:
        instance.report_run_failed(run, "the daemon died while it launched this run")
    return [run.run_id for run in lost]


def main() -> None:
    """Give up what was lost, then be Dagster's daemon."""
    with dg.DagsterInstance.get() as instance:
        give_up_lost_launches(instance)
    daemon()


if __name__ == "__main__":
    main()
