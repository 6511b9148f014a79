"""The services as a service manager keeps them: started again whenever they are gone. And the processes that belong to them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.orchestration.place import TinyShop, wait_until

RESTART_SECONDS = 1.0
CODE_SERVER, DAEMON = b"dagster\0api\0grpc\0", b"orchestration.runtime.daemon\0run\0"
# What the services say of one that died; those that were killed ended with -9.
ENDED_BY_ITSELF = re.compile(r"^the (?:code server|daemon|web server) ended with (?!-9;).*$", re.MULTILINE)


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

    wait_until(is_empty, 60, "no process of the shop is left")


def kill(pid: int) -> bool:
    """SIGKILL; False when the process is gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@dataclass
class Served:
    """``customer360 serve`` on the shop, kept up by us as by a service manager.

    What it prints is added to its own log, to which the code server, the daemon and the runs print. With a ``port`` there is a
    web server as well.
    """

    shop: TinyShop
    port: int | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _ended: int = field(default=0, init=False)

    @property
    def log(self) -> Path:
        return self.shop.data / "logs" / "serve.log"

    def start(self) -> None:
        """Start it, with its socket in a folder that goes with the shop."""
        self.shop.close()  # from now on all of the shop's processes are ours to kill
        (self.shop.root / "tmp").mkdir(exist_ok=True)
        self.log.parent.mkdir(exist_ok=True)
        arguments = [] if self.port is None else ["--port", str(self.port)]
        self._process = self.shop.start(
            self.log, "customer360", "serve", *arguments, TMPDIR=str(self.shop.root / "tmp"), PYTHONUNBUFFERED="1"
        )

    def restart(self) -> None:
        """What a service manager does when the process has ended."""
        assert self._process is not None
        self._process.wait(timeout=60)
        time.sleep(RESTART_SECONDS)
        self.start()

    def watch(self) -> None:
        """Start it again if it ended though nobody killed it."""
        if self._process is not None and self._process.poll() is not None:
            self._ended += 1
            self.restart()

    def ended_by_themselves(self) -> list[str]:
        """What ended though nobody had killed it."""
        reports = ENDED_BY_ITSELF.findall(self.log.read_text(encoding="utf-8", errors="replace"))
        return [*reports, *["customer360 serve ended"] * self._ended]

    def code_servers(self) -> list[int]:
        """The process that evaluates sensors, unless it is being replaced."""
        return [pid for pid in processes_of(self.shop) if CODE_SERVER in command_of(pid)]

    def daemons(self) -> list[int]:
        """The daemon's process, unless it is being replaced."""
        return [pid for pid in processes_of(self.shop) if DAEMON in command_of(pid)]

    def stop(self) -> bool:
        """In good order; whoever is left after 40 seconds is killed. True when nobody had to be."""
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            kill_all(self.shop)
            self._process.wait()
            return False
        is_clean = not (set(self.code_servers()) | set(self.daemons()))
        kill_all(self.shop)
        return is_clean
