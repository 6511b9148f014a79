"""A process that has imported the product once and forks a child for every run: a run starts in .1 s, not in 6 CPU seconds.

It speaks JSON lines over the socket whose descriptor is its argument. Asked ``{"id": ..., ...}`` it answers ``{"id", "pid"}``
when the child has started and ``{"id", "exit", "cpu_seconds", "peak_mib"}`` when it has ended. It opens no database and starts
no thread, so that its children start clean, and it ends when the other side is gone; its children go on.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from multiprocessing.util import _exit_function  # type: ignore[attr-defined]  # what multiprocessing calls in its own children
from pathlib import Path
from typing import Any

from customer360.lake.disk import lack_of_room

Execute = Callable[[dict[str, Any]], int]

POLL_SECONDS = 0.05
CRASHED = 70
# Hidden in the UI by their prefix: a run is known by its number there.
PID_TAG, START_TAG = ".dagster/customer360_pid", ".dagster/customer360_start"


def process_start(pid: int) -> str:
    """The boot id of the machine and the clock tick at which a living process started; "" when none has this number.

    With the number it identifies a process on any machine.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return "" if fields[0] in "ZX" else f"{boot} {fields[19]}"


def serve(channel: socket.socket, execute: Execute) -> None:
    """Fork a child for every request until the other side closes the channel. Says its own pid first."""
    gc.collect()
    gc.freeze()  # excludes the imported objects from garbage collection: children do not scan them or copy their pages
    try:
        _answer(channel, execute)
    except (BrokenPipeError, ConnectionResetError):
        return  # the other side closed the channel and needs no exit codes


def _answer(channel: socket.socket, execute: Execute) -> None:
    children: dict[int, Any] = {}
    pending = b""
    _send(channel, id=None, pid=os.getpid())
    while True:
        if select.select([channel], [], [], POLL_SECONDS if children else None)[0]:
            chunk = channel.recv(65536)
            if not chunk:
                return
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                request = json.loads(line)
                pid = _fork(channel, execute, request)
                children[pid] = request["id"]
                _send(channel, id=request["id"], pid=pid)
        while children:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if not pid:
                break
            if pid in children:  # others are helpers of libraries, such as the tracker of dbt's locks
                _send(
                    channel,
                    id=children.pop(pid),
                    exit=os.waitstatus_to_exitcode(status),
                    cpu_seconds=used.ru_utime + used.ru_stime,
                    peak_mib=used.ru_maxrss / 1024,
                )


def _fork(channel: socket.socket, execute: Execute, request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = CRASHED
    try:
        channel.close()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = execute(request)
    except BaseException:  # noqa: BLE001  a forked child must never return into the template's loop
        traceback.print_exc()
        home = Path(os.environ.get("DAGSTER_HOME", "."))
        # On a full disk Dagster cannot record why the run failed, and raises.
        if home.is_dir() and (is_full := lack_of_room(home)):
            sys.stderr.write(f"{is_full}\n")
    try:
        _exit_function()  # unlinks the locks that dbt made in this child; the template's own it leaves alone
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _send(channel: socket.socket, **message: Any) -> None:
    channel.sendall(json.dumps(message).encode() + b"\n")


def execute_run(request: dict[str, Any]) -> int:
    """In the child: what ``dagster api execute_run`` does with the request's ``arguments``; 1 when the run failed.

    The child itself notes its process in the run's tags: written by another process, they and the run's status, which are
    parts of one row, could overwrite each other.
    """
    from dagster._cli.api import _execute_run_command_body  # noqa: PLC0415  loaded before the fork
    from dagster._cli.utils import get_instance_for_cli  # noqa: PLC0415
    from dagster._grpc.types import ExecuteRunArgs  # noqa: PLC0415
    from dagster._serdes import deserialize_value  # noqa: PLC0415
    from dagster._utils.interrupts import capture_interrupts  # noqa: PLC0415

    arguments = deserialize_value(request["arguments"], ExecuteRunArgs)
    with capture_interrupts(), get_instance_for_cli(instance_ref=arguments.instance_ref) as instance:
        instance.add_run_tags(arguments.run_id, {PID_TAG: str(os.getpid()), START_TAG: process_start(os.getpid())})
        return _execute_run_command_body(arguments.run_id, instance, lambda _: None, set_exit_code_on_failure=True)


def import_dagster() -> None:
    """What a run of any job imports of Dagster only when it needs it."""
    import dagster._cli.api  # noqa: PLC0415
    import dagster._core.storage.event_log.sqlite.sqlite_event_log  # noqa: PLC0415
    import dagster._core.storage.sqlite_storage  # noqa: F401, PLC0415
    from dagster._core.storage.compute_log_manager import ComputeLogManager  # noqa: F401, PLC0415


def main() -> None:
    """Import what runs need, then serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the runs; this process ends with its channel
    channel = socket.socket(fileno=int(sys.argv[1]))
    import_dagster()
    from customer360.settings import Settings  # noqa: PLC0415
    from orchestration.definitions import defs  # noqa: PLC0415
    from orchestration.runtime.dbt_run import parsed_manifest  # noqa: PLC0415

    defs.resolve_all_job_defs()
    parsed_manifest(Settings.from_environment())
    serve(channel, execute_run)


if __name__ == "__main__":
    main()
