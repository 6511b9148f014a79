"""The product's run template, whose children execute a job in process: with a part of its assets, and with a log each.

Requests have ``id``, ``log``, and ``job``, ``run_id``, ``partition_key``, ``tags``, ``assets``, ``run_config`` of a run or
``command``, the arguments of ``customer360``.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

import dagster as dg

from customer360.settings import Settings
from orchestration.cli import main as main_command
from orchestration.definitions import defs
from orchestration.runtime.dbt_run import parsed_manifest
from orchestration.runtime.template import serve


def execute(request: dict[str, Any]) -> int:
    """In the child: execute a job in this process, 1 when it failed, or a command, with its exit code."""
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
    if "command" in request:
        return main_command(request["command"])
    assets = request["assets"]
    with dg.DagsterInstance.get() as instance:
        result = defs.resolve_job_def(request["job"]).execute_in_process(
            instance=instance,
            run_id=request["run_id"],
            partition_key=request["partition_key"],
            tags=request["tags"],
            run_config=request["run_config"],
            asset_selection=[dg.AssetKey(path) for path in assets] if assets else None,
            raise_on_error=False,
        )
    return 0 if result.success else 1


def main() -> None:
    defs.resolve_all_job_defs()
    parsed_manifest(Settings.from_environment())
    serve(socket.socket(fileno=int(sys.argv[1])), execute)


if __name__ == "__main__":
    main()
