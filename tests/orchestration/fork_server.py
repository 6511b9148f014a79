"""A process that imports the definitions once and forks a child for every run: a run starts at once, and can be killed.

Reads JSON lines: ``id``, ``log``, ``job``, ``run_id``, ``partition_key``, ``tags``, ``assets``. Writes ``{id, pid}``
when a child has started, ``{id, exit, cpu_seconds}`` when it has ended. It opens no database, so that its children
start clean.
"""

from __future__ import annotations

import json
import os
import select
import sys
import traceback
from typing import Any

import dagster as dg

from orchestration.definitions import defs


def execute(request: dict[str, Any]) -> bool:
    """In the child: execute a job in this process, and say whether it succeeded."""
    assets = request["assets"]
    with dg.DagsterInstance.get() as instance:
        result = defs.resolve_job_def(request["job"]).execute_in_process(
            instance=instance,
            run_id=request["run_id"],
            partition_key=request["partition_key"],
            tags=request["tags"],
            asset_selection=[dg.AssetKey(path) for path in assets] if assets else None,
            raise_on_error=False,
        )
    return result.success


def fork(request: dict[str, Any]) -> int:
    """Start a child; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(descriptor, target)
        status = 0 if execute(request) else 1
    except BaseException:  # noqa: BLE001  a forked child must never return into the server's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def say(**message: Any) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def main() -> None:
    defs.resolve_all_job_defs()  # once for all children
    say(id=0, pid=os.getpid())
    children: dict[int, int] = {}
    pending = b""
    while True:
        if select.select([0], [], [], 0.02)[0]:
            chunk = os.read(0, 65536)
            if not chunk:
                return
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                request = json.loads(line)
                pid = fork(request)
                children[pid] = request["id"]
                say(id=request["id"], pid=pid)
        while children:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if not pid:
                break
            say(id=children.pop(pid), exit=os.waitstatus_to_exitcode(status), cpu_seconds=used.ru_utime + used.ru_stime)


if __name__ == "__main__":
    main()
