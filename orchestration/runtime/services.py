"""The processes that serve a place: code server, daemon, web server if a port is named. Whoever dies is started again.

All share one code server at a socket that only this user can open. Below ``dagster dev`` a dead code server stays dead;
``dagster-daemon run`` on the module itself starts a new one every minute, which costs 3 CPU seconds each.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from customer360.errors import OperatorError
from customer360.settings import REPOSITORY
from orchestration.runtime.code_files import code_fingerprint

DEFINITIONS = "orchestration.definitions"
LOOK_SECONDS = 0.25
FILES_SECONDS = 3.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
LIVED_SECONDS = 10.0  # who lived that long had started well: the next pause is short again
END_SECONDS = 30.0
PR_SET_PDEATHSIG = 1


class ServedAlreadyError(OperatorError, RuntimeError):
    """Somebody else serves this Dagster home. The message names the process."""


@dataclass
class Service:
    """One process. It ends with ours, also when ours is killed."""

    name: str
    command: Sequence[str]
    makes: Path | None = None  # a socket; one that a killed process left would be in its successor's way
    after: Path | None = None  # a socket that has to be there first
    process: subprocess.Popen[bytes] | None = None
    begun: float = 0.0
    pause: float = FIRST_PAUSE
    due: float = 0.0

    def start(self) -> None:
        """Start it now."""
        if self.makes is not None:
            self.makes.unlink(missing_ok=True)
        self.process = subprocess.Popen(  # noqa: S603  Dagster's own programs
            list(self.command),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  this process has no threads
        )
        self.begun = time.monotonic()

    def look(self) -> str | None:
        """Start it again when it has ended and its pause is over; words on what happened."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.due and (self.after is None or self.after.exists()):
                self.start()
            return None
        code = self.process.poll()
        if code is None:
            return None
        self.pause = FIRST_PAUSE if now - self.begun > LIVED_SECONDS else min(2 * self.pause, LONGEST_PAUSE)
        self.process, self.due = None, now + self.pause
        return f"the {self.name} ended with {code}; it is started again in {self.pause:g} s"

    def stop(self) -> None:
        """Ask it to end, without waiting."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def wait(self, until: float) -> None:
        """Wait for its end until a monotonic time, then kill it."""
        if self.process is not None:
            try:
                self.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@dataclass
class Services:
    """All of them. ``say`` tells people what died."""

    code_server: Service
    others: list[Service]
    say: Callable[[str], None]
    is_ending: bool = False
    _code: str = field(default_factory=code_fingerprint)

    def run(self) -> None:
        """Keep them alive until ``end`` is called, then end them in good order; runs that are at work go on."""
        everyone = [self.code_server, *self.others]
        looked = time.monotonic()
        try:
            while not self.is_ending:
                for service in everyone:
                    if words := service.look():
                        self.say(words)
                if time.monotonic() - looked > FILES_SECONDS:
                    looked = time.monotonic()
                    self._follow_files()
                time.sleep(LOOK_SECONDS)
        finally:
            until = time.monotonic() + END_SECONDS
            for service in reversed(everyone):
                service.stop()
            for service in reversed(everyone):
                service.wait(until)

    def _follow_files(self) -> None:
        code = code_fingerprint()
        if code != self._code:
            self._code = code
            self.code_server.pause, self.code_server.due = FIRST_PAUSE, 0.0
            self.code_server.stop()
            self.say("files that definitions come from have changed: the code server is replaced")

    def end(self) -> None:
        """Have ``run`` return."""
        self.is_ending = True


@contextmanager
def services(home: Path, port: int | None, say: Callable[[str], None]) -> Iterator[Services]:
    """The services of a Dagster home, not started yet. Raises ``ServedAlreadyError``."""
    with _alone(home), tempfile.TemporaryDirectory(prefix="customer360-serve-") as folder:
        socket, workspace = Path(folder) / "code", Path(folder) / "workspace.yaml"
        server = {"socket": str(socket), "location_name": DEFINITIONS}
        workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}), encoding="utf-8")
        code_server = ["dagster", "api", "grpc", "--lazy-load-user-code", "--log-level", "warning", "--socket", str(socket)]
        code_server += ["--module-name", DEFINITIONS, "--working-directory", str(REPOSITORY), "--location-name", DEFINITIONS]
        others = [
            Service("daemon", _python("orchestration.runtime.daemon", "run", "--workspace", str(workspace)), after=socket)
        ]
        if port is not None:
            web = _python(
                "orchestration.runtime.webserver", "--workspace", str(workspace), "--port", str(port), "--log-level", "warning"
            )
            others.append(Service("web server", web, after=socket))
        yield Services(Service("code server", _python(*code_server), makes=socket), others, say)


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Two daemons on one home would ask for everything twice. The kernel frees the lock when we die."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "serve.lock").open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            raise ServedAlreadyError(f"{home} is served already, by process {handle.read().strip()}; end it first") from None
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
