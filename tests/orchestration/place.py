"""The tiny shop on disk with its Dagster instance, and runs of its jobs in forked children."""

from __future__ import annotations

import atexit
import functools
import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import duckdb
from dagster._core.utils import make_new_run_id

from customer360.lake.atomic import exclusive
from customer360.lake.publishing.version import current_folder, open_version
from customer360.lake.slices import slice_key
from customer360.settings import REPOSITORY, Settings
from customer360.simulation import Faults, Simulation, simulate_history, simulate_slice
from ml.versions.model_store import ModelStore

TINY = REPOSITORY / "tests" / "shops" / "tiny"
SIMULATION = Simulation(customers=220, days=20, seed=36, touches_per_customer=10)  # contacts enough to learn from
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
# Clock times of the runs themselves, and which slice happened to be scored first on a day.
OF_THE_RUN = {
    "slice_log": "raw_fingerprint, planned_at, transformed_at, repaired_at",
    "model_versions": None,
    "customer_scores_daily": None,
}
WAIT_SECONDS = 300.0

Tables = dict[str, list[tuple[Any, ...]]]


@dataclass
class Run:
    """A run in a child of the fork server."""

    run_id: str
    pid: int
    log: Path
    ended: queue.Queue[int]

    def wait(self, seconds: float = WAIT_SECONDS) -> int:
        """The child's exit code: 0 after success, 1 after a failed run, negative after a signal."""
        return self.ended.get(timeout=seconds)

    def succeed(self) -> Run:
        """Wait, and fail the test with the run's log unless it succeeded."""
        code = self.wait()
        assert code == 0, f"exit code {code}\n{self.log.read_text(encoding='utf-8')[-8000:]}"
        return self


@dataclass
class ForkServer:
    """The client's side of ``fork_server``."""

    environment: Mapping[str, str]
    logs: Path
    started: dict[str, queue.Queue[int]] = field(default_factory=dict)
    ended: dict[str, queue.Queue[int]] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.channel, theirs = socket.socketpair()
        self.started[""] = queue.Queue()
        with theirs, (self.logs / "server.log").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.orchestration.fork_server", str(theirs.fileno())],
                cwd=REPOSITORY,
                env=dict(self.environment),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
        threading.Thread(target=self._listen, daemon=True).start()
        assert self.started[""].get(timeout=WAIT_SECONDS) > 0, self._said()

    def _said(self) -> str:
        return (self.logs / "server.log").read_text(encoding="utf-8")

    def _listen(self) -> None:
        with self.channel.makefile("r", encoding="utf-8") as messages:
            for line in messages:
                message = json.loads(line)
                identifier = message["id"] or ""
                if "pid" in message:
                    self.started[identifier].put(message["pid"])
                else:
                    self.cpu_seconds[identifier] = message["cpu_seconds"]
                    self.ended[identifier].put(message["exit"])
        for waiting in self.started.values():
            waiting.put(-1)

    def start(self, **request: Any) -> Run:
        """Start a run or a command; see ``fork_server``."""
        run_id = make_new_run_id()
        log = self.logs / f"{len(self.started):04}.log"
        self.started[run_id], self.ended[run_id] = queue.Queue(), queue.Queue()
        self.channel.sendall(json.dumps({"id": run_id, "run_id": run_id, "log": str(log), **request}).encode() + b"\n")
        pid = self.started[run_id].get(timeout=WAIT_SECONDS)
        assert pid > 0, self._said()
        return Run(run_id, pid, log, self.ended[run_id])

    def close(self) -> None:
        """End the server."""
        self.channel.shutdown(socket.SHUT_RDWR)
        self.process.wait(timeout=60)
        self.channel.close()


@dataclass
class TinyShop:
    """A place with the tiny shop's data, or those of another shop in ``folder``, and its Dagster home."""

    root: Path
    folder: Path = TINY
    server: ForkServer | None = None

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def home(self) -> Path:
        return self.data / "dagster"

    @property
    def settings(self) -> Settings:
        return Settings.load(self.folder, self.data)

    @property
    def environment(self) -> dict[str, str]:
        """Of every process that works on this place; dbt's own variables of other tests are left out."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "CUSTOMER360_", "DAGSTER_"))}
        return {**kept, "SHOP": str(self.folder), "DATA_DIR": str(self.data), "DAGSTER_HOME": str(self.home)}

    def instance(self) -> dg.DagsterInstance:
        """Its Dagster instance, seen from this process."""
        with mock.patch.dict(os.environ, DAGSTER_HOME=str(self.home)):
            return dg.DagsterInstance.get()

    def start(self, log: Path, program: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start an installed program on this place, in a session of its own; what it prints is added to ``log``."""
        with log.open("ab") as output:
            return subprocess.Popen(
                [str(Path(sys.executable).with_name(program)), *arguments],
                cwd=REPOSITORY,
                env={**self.environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def slice(self, number: int) -> datetime:
        """Start of the slice with this number; the first has 0."""
        shop = self.settings.shop
        return shop.slices_start + number * shop.slice_width

    def key(self, number: int) -> str:
        return slice_key(self.slice(number))

    def land(self, number: int, faults: Faults | None = None) -> dict[str, Any]:
        """Write the files of a slice, as its producers would."""
        settings = self.settings
        return simulate_slice(SIMULATION, settings.shop, settings.place, self.slice(number), faults)

    def run(
        self,
        job: str,
        partition_key: str | None = None,
        tags: Mapping[str, str] | None = None,
        assets: Sequence[Sequence[str]] = (),
        run_config: Mapping[str, Any] | None = None,
    ) -> Run:
        """Start a run of a job, or of some of its assets; see ``Run.succeed`` and ``Run.wait``."""
        parts = {"job": job, "partition_key": partition_key, "tags": {**(tags or {})}, "run_config": {**(run_config or {})}}
        return self._server().start(**parts, assets=[list(path) for path in assets])

    def command(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of ``customer360`` in a process of its own, which need not import the product again."""
        run = self._server().start(command=arguments)
        return run.wait(), run.log.read_text(encoding="utf-8")

    def _server(self) -> ForkServer:
        if self.server is None:
            logs = self.root / "logs"
            logs.mkdir(exist_ok=True)
            self.server = ForkServer(self.environment, logs)
            atexit.register(self.server.close)
        return self.server

    def close(self) -> None:
        """End the fork server; the next run starts another one."""
        if self.server is not None:
            atexit.unregister(self.server.close)
            self.server.close()
            self.server = None

    def run_range(self, first: int, last: int) -> Run:
        """Start a run of a range of slices."""
        return self.run("slice_job", tags={RANGE_START: self.key(first), RANGE_END: self.key(last)})

    def published(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query on the published version."""
        with open_version(self.settings.place) as version:
            return version.connection.execute(sql).fetchall()

    def tables(self) -> Tables:
        """Every published table with its rows in a fixed order, without what the clock of the run says."""
        with open_version(self.settings.place) as version:
            return {
                name: version.connection.execute(f"select * {_without(name)} from {name} order by all").fetchall()
                for name in sorted(version.publication.rows)
                if OF_THE_RUN.get(name, "") is not None
            }

    def save(self, name: str) -> None:
        """Keep the data as they are now under ``name``."""
        shutil.rmtree(self.root / name, ignore_errors=True)
        shutil.copytree(self.data, self.root / name, symlinks=True)

    def restore(self, name: str) -> None:
        """Put the data back, at the same paths: a manifest belongs to its paths."""
        shutil.rmtree(self.data)
        shutil.copytree(self.root / name, self.data, symlinks=True)


def _without(table: str) -> str:
    columns = OF_THE_RUN.get(table)
    return f"exclude ({columns})" if columns else ""


@functools.cache
def tiny_shop() -> TinyShop:
    """The one place of this test process, made at the first call; see ``prepare``. Of parallel processes the first makes it."""
    root = Path(tempfile.mkdtemp(prefix="customer360-tiny-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if session is None:
        return prepare(root)
    shared = root.with_name(f"customer360-shared-{session}")
    with exclusive(shared / "lock"):
        if not (shared / "first").exists():
            place = prepare(root)
            (shared / "first").symlink_to(root)
            atexit.register(shutil.rmtree, shared, ignore_errors=True)
            return place
    return copied(shared / "first", root)


def copied(other: Path, root: Path) -> TinyShop:
    """A place below ``root`` with the data that ``prepare`` saved below ``other``."""
    for name in ("ready", "data"):
        shutil.copytree(other / "ready", root / name, symlinks=True)
    return TinyShop(root)


def prepare(root: Path) -> TinyShop:
    """A place below ``root`` with reference tables, history and a champion; saved as "ready"."""
    place = TinyShop(root)
    place.home.mkdir(parents=True)
    shutil.copy(REPOSITORY / "orchestration" / "dagster.yaml", place.home)
    settings = place.settings
    simulate_history(SIMULATION, settings.shop, settings.place)
    place.run("history_job", slice_key(settings.shop.slices_start - settings.shop.slice_width)).succeed()
    place.run("training_job").succeed()
    store = ModelStore(settings.place.models)
    store.promote("affinity", store.versions("affinity")[-1], "the only one", datetime.now(UTC))
    place.save("ready")
    return place


def wait_until(condition: Any, seconds: float, what: str, every: float = 0.02) -> Any:
    """The condition's value once it is true; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s: {what}")


@contextmanager
def changing_published(shop: TinyShop, table: str, *others: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with copies of published tables, of which ``table`` takes the place of the published one afterwards."""
    folder = current_folder(shop.settings.place).resolve() / "parquet"
    with duckdb.connect() as connection:
        for name in (table, *others):
            source = f"read_parquet('{folder}/{name}/*.parquet', hive_partitioning = false)"
            connection.execute(f"create table {name} as from {source}")
        yield connection
        for file in (folder / table).glob("*.parquet"):  # a version before may link to the same file: it stays as it is
            file.unlink()
        connection.execute(f"copy {table} to '{folder}/{table}/part.parquet' (format parquet)")
