"""A real PostgreSQL server for tests: a cluster of its own in a temporary folder, on a free port of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port

PASSWORD = "c4nary/p@ss word'\\"
BINARIES = "/usr/lib/postgresql"


@dataclass(frozen=True)
class PostgresServer:
    """The server: where it listens, its log with every statement and plan, and SQL by way of ``psql``."""

    binaries: Path
    folder: Path
    port: int

    @property
    def dsn(self) -> str:
        """The connection string of its superuser, password included."""
        password = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        return f"host=127.0.0.1 port={self.port} user=shop password='{password}' dbname=postgres"

    def sql(self, statements: str) -> str:
        """Run statements; returns what they give, unaligned."""
        command = [self.binaries / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        place = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "shop", "PGDATABASE": "postgres"}
        environment = {**os.environ, **place, "PGPASSWORD": PASSWORD}
        ran = subprocess.run(command, input=statements, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def log(self) -> str:
        """What it has logged so far."""
        return (self.folder / "log").read_text(encoding="utf-8")

    def start(self) -> None:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "shared_buffers": "16MB",
            "log_statement": "all",
            "session_preload_libraries": "auto_explain",
            "auto_explain.log_min_duration": 0,
            "auto_explain.log_verbose": "on",
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._as_itself("pg_ctl", "start", "--wait", "--log", self.folder / "log", "--options", options)

    def kill(self) -> None:
        """Stop at once, in the middle of whatever it does."""
        self._as_itself("pg_ctl", "stop", "--wait", "--mode", "immediate")

    def make(self) -> None:
        (self.folder / "password").write_text(PASSWORD, encoding="utf-8")
        access = ("--auth=scram-sha-256", "--pwfile", self.folder / "password", "--username", "shop")
        self._as_itself("initdb", *access, "--no-sync", "--encoding=UTF8", "--locale=C")

    def _as_itself(self, program: str, *arguments: str | Path) -> None:
        """PostgreSQL refuses to be run by root."""
        account: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        command = [self.binaries / program, *arguments, "-D", self.folder / "data"]
        output = self.folder / f"{program}.out"  # a pipe would stay open as long as the server lives
        with output.open("w") as out:
            ran = subprocess.run(command, cwd=self.folder, stdout=out, stderr=subprocess.STDOUT, check=False, **account)
        assert ran.returncode == 0, output.read_text(encoding="utf-8")


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server, killed and removed afterwards. Skips where PostgreSQL is not installed."""
    found = sorted(Path(BINARIES).glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip(f"PostgreSQL is not installed ({BINARIES}/*/bin is missing): apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="customer360-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    server = PostgresServer(found[-1].parent, folder, free_port())
    try:
        server.make()
        server.start()
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            server.kill()
        shutil.rmtree(folder)
