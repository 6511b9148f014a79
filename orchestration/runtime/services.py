"""The processes that serve a place: code server, daemon, web server if a port is named. A process that dies is started again.

What they and the runs print goes to a file. All share one code server at a socket that only this user can open. Below
``dagster dev`` a dead code server stays dead; ``dagster-daemon run`` on the module itself starts a new one every minute, which
costs 3 CPU seconds each.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from customer360.errors import OperatorError
from customer360.lake.operations.clock import last_closed_slice
from customer360.lake.slices import floor_to_slice
from customer360.logs import is_json
from customer360.services.processes import die_with_parent
from customer360.settings import REPOSITORY, Settings
from orchestration.runtime.code_files import END_VARIABLE, code_fingerprint

DEFINITIONS = "orchestration.definitions"
LOOK_SECONDS = 0.25
FILES_SECONDS = 3.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
LIVED_SECONDS = 10.0  # after this time a process counts as started, and the next pause is short again
MOST_LOG_BYTES = 50_000_000  # of the log and of the one before it
END_SECONDS = 30.0


class ServedAlreadyError(OperatorError, RuntimeError):
    """Another process serves this Dagster home. The message names it."""


@dataclass
class Service:
    """One process. It ends with ours, also when ours is killed. It prints to ``log``, or where ours prints."""

    name: str
    command: Sequence[str]
    makes: Path | None = None  # a socket; one that a killed process left would be in the way of the next
    after: Path | None = None  # a socket that has to be there first
    log: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    begun: float = 0.0
    pause: float = FIRST_PAUSE
    due: float = 0.0

    def start(self) -> None:
        """Start it now."""
        if self.makes is not None:
            self.makes.unlink(missing_ok=True)
        # A file, not a pipe: runs at work go on when this process has ended, and print.
        with self.log.open("ab") if self.log else nullcontext() as output:
            self.process = subprocess.Popen(  # noqa: S603  Dagster's own programs
                list(self.command),
                cwd=REPOSITORY,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,  # noqa: PLW1509  this process has no threads
            )
        self.begun = time.monotonic()

    def check(self) -> str | None:
        """Start it again when it has ended and its pause is over; a message when it has just ended."""
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

    def replace(self) -> None:
        """End it, so that the next ``check`` starts it anew."""
        self.stop()
        self.wait(time.monotonic() + END_SECONDS)
        self.process, self.pause, self.due = None, FIRST_PAUSE, 0.0

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
    """The services of a place. ``say`` prints which process ended.

    ``data_end`` is the end of the newest closed slice of a replay, None for other shops: partitions end there. Once the data go
    on, they end with the day of the data (``day_end``), so that the code server is replaced once a day of the shop, and once
    more, to end with the data, when those have stood still for ``still_seconds``.
    """

    code_server: Service
    others: list[Service]
    say: Callable[[str], None]
    data_end: Callable[[], datetime | None] = lambda: None
    day_end: Callable[[datetime], datetime] = lambda moment: moment
    still_seconds: float = 1800.0
    is_ending: bool = False
    _code: str = field(default_factory=code_fingerprint)
    _end: datetime | None = None
    _data: tuple[datetime | None, float] = (None, 0.0)

    def run(self) -> None:
        """Keep them alive until ``end`` is called, then end them in good order; runs that are at work go on."""
        everyone = [self.code_server, *self.others]
        self._set_end(self.data_end())
        checked = time.monotonic()
        try:
            while not self.is_ending:
                for service in everyone:
                    if message := service.check():
                        self.say(message)
                if time.monotonic() - checked > FILES_SECONDS:
                    checked = time.monotonic()
                    self._follow_files()
                    _rotate(self.code_server.log)
                time.sleep(LOOK_SECONDS)
        finally:
            until = time.monotonic() + END_SECONDS
            for service in reversed(everyone):
                service.stop()
            for service in reversed(everyone):
                service.wait(until)

    def _follow_files(self) -> None:
        code, data_end = code_fingerprint(), self.data_end()
        if code != self._code:
            self._code = code
            self.say("files that definitions come from have changed: the code server is replaced")
            self.code_server.replace()
        elif data_end is not None:
            self._follow_data(data_end)

    def _follow_data(self, data_end: datetime) -> None:
        if data_end != self._data[0]:
            self._data = data_end, time.monotonic()
        is_still = time.monotonic() - self._data[1] > self.still_seconds
        if self._end is None or data_end > self._end or (data_end < self._end and is_still):
            self._set_end(data_end if is_still else self.day_end(data_end))
            self.code_server.replace()

    def _set_end(self, end: datetime | None) -> None:
        self._end = end
        if end is not None:
            self.code_server.environment[END_VARIABLE] = end.isoformat()

    def end(self) -> None:
        """Make ``run`` return."""
        self.is_ending = True


def replay_end(settings: Settings, moment: datetime) -> datetime | None:
    """End of the newest closed slice of a replay in a folder, UTC; None for a shop whose partitions end otherwise."""
    shop = settings.shop
    if shop.live or shop.slices_end or shop.landing_url:
        return None
    last = last_closed_slice(settings, moment)
    return shop.slices_start if last is None else last + shop.slice_width


def end_of_day(settings: Settings, moment: datetime) -> datetime:
    """The end of the shop-local day that contains ``moment``, as the end of a slice, UTC; never before ``moment``."""
    shop = settings.shop
    midnight = datetime.combine(moment.astimezone(shop.zone).date() + timedelta(days=1), datetime.min.time(), shop.zone)
    return max(moment, floor_to_slice(midnight, shop.slice_width))


def _rotate(log: Path | None) -> None:
    """Keep the log and the one before it. Processes hold the file open, so it is copied and emptied, not renamed."""
    if log is not None and log.exists() and log.stat().st_size > MOST_LOG_BYTES:
        shutil.copy(log, log.with_suffix(".1.log"))
        os.truncate(log, 0)


@contextmanager
def services(
    home: Path,
    port: int | None,
    say: Callable[[str], None],
    *,
    host: str = "127.0.0.1",
    path_prefix: str = "",
    is_read_only: bool = False,
) -> Iterator[Services]:
    """The services of a Dagster home and the place of this environment, not started yet. Raises ``ServedAlreadyError``.

    ``port``, ``host`` and ``path_prefix``: of the web server, which has no login; no port for none. ``is_read_only``: it
    changes nothing.
    """
    settings = Settings.from_environment()
    log = settings.place.root / "logs" / "serve.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with alone(home, "customer360 serve"), tempfile.TemporaryDirectory(prefix="customer360-serve-") as folder:
        socket, workspace = Path(folder) / "code", Path(folder) / "workspace.yaml"
        location = {"socket": str(socket), "location_name": DEFINITIONS}
        workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": location}]}), encoding="utf-8")
        log_format = ["--log-format", "json"] if is_json() else []
        code_server = ["dagster", "api", "grpc", "--lazy-load-user-code", "--log-level", "warning", "--socket", str(socket)]
        code_server += ["--module-name", DEFINITIONS, "--working-directory", str(REPOSITORY), "--location-name", DEFINITIONS]
        code_server += log_format
        daemon = _python("orchestration.runtime.daemon", "run", "--workspace", str(workspace), *log_format)
        others = [Service("daemon", daemon, after=socket, log=log)]
        if port is not None:
            web = _python("orchestration.runtime.webserver", "--workspace", str(workspace), "--log-level", "warning")
            web += ["--host", host, "--port", str(port), *(["--path-prefix", path_prefix] if path_prefix else [])]
            web += [*(["--read-only"] if is_read_only else []), *log_format]
            others.append(Service("web server", web, after=socket, log=log))
        web_address = (
            f"Dagster  http://{host}:{port}{path_prefix}: assets, runs, checks, schedules\n" if port is not None else ""
        )
        say(
            f"{settings.shop.title}, data in {settings.place.root}\n{web_address}"
            f"log      {log}: what the daemon and the runs print\n"
            "Slices run when their files have landed, plans and reports once a day of the shop. Ctrl-C ends."
        )
        server = Service("code server", _python(*code_server), makes=socket, log=log)
        slices_stand_still = 2 * settings.shop.slice_width.total_seconds()  # a replay at half its speed or more goes on
        yield Services(
            server,
            others,
            say,
            lambda: replay_end(settings, datetime.now(UTC)),
            lambda moment: end_of_day(settings, moment),
            slices_stand_still,
        )


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


@contextmanager
def alone(home: Path, program: str) -> Iterator[None]:
    """Lock the home: two programs would request every run twice. The kernel frees the lock when this process ends.

    Raises ``ServedAlreadyError``, which names the program that has it and its process.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "serve.lock").open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            process, _, holder = handle.read().strip().partition(" ")
            raise ServedAlreadyError(
                f"{home} is in use by {holder or 'customer360 serve'}, process {process}, which runs what is due; end it first"
            ) from None
        handle.truncate(0)
        handle.write(f"{os.getpid()} {program}\n")
        handle.flush()
        yield
