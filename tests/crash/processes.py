"""The daemon as a service manager keeps it: started again whenever it is gone. And the processes that belong to it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.orchestration.place import TinyShop, wait_until

RESTART_SECONDS = 1.0
CODE_SERVER = b"dagster\0api\0grpc\0"


def belongs_to(pid: int, shop: TinyShop) -> bool:
    """Whether a living process works on the shop's Dagster home."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return f"DAGSTER_HOME={shop.home}".encode() in variables


def processes_of(shop: TinyShop) -> list[int]:
    """The living processes of the shop."""
    numbers = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [pid for pid in numbers if belongs_to(pid, shop)]


def command_of(pid: int) -> bytes:
    """A process's arguments, each ended by a zero; nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def kill_all(shop: TinyShop) -> None:
    """SIGKILL to every process of the shop, until none is left."""

    def is_empty() -> bool:
        for pid in (left := processes_of(shop)):
            kill(pid)
        return not left

    wait_until(is_empty, 30, "no process of the shop is left")


def kill(pid: int) -> bool:
    """SIGKILL; False when the process is gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@dataclass
class Daemon:
    """``dagster-daemon run`` on the shop. What it, its code server and its runs print goes to ``log``."""

    shop: TinyShop
    log: Path
    ended_by_itself: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self._process = self.shop.start(self.log, "dagster-daemon", "run", "-w", "workspace.yaml")

    def restart(self) -> None:
        """What a service manager does when the process has ended."""
        assert self._process is not None
        self._process.wait(timeout=30)
        time.sleep(RESTART_SECONDS)
        self.start()

    def watch(self) -> None:
        """Start it again if it ended though nobody killed it."""
        if self._process is not None and self._process.poll() is not None:
            self.ended_by_itself += 1
            self.restart()

    def code_servers(self) -> list[int]:
        """The processes that evaluate sensors: one, and for some seconds of every minute its successor as well."""
        return [pid for pid in processes_of(self.shop) if CODE_SERVER in command_of(pid)]

    def stop(self) -> None:
        """In good order; whoever is left after 30 seconds is killed."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        kill_all(self.shop)
