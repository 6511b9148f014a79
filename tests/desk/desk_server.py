"""The desk's real server on a small shop, and its commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from customer360.settings import REPOSITORY, Settings
from tests.support.ports import free_port


@dataclass
class Commands:
    """``customer360 desk ...`` on a place."""

    settings: Settings
    own: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        place = {"SHOP": str(self.settings.shop_folder), "DATA_DIR": str(self.settings.place.root)}
        return {**os.environ, **place, **{f"CUSTOMER360_DESK_{name.upper()}": value for name, value in self.own.items()}}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "orchestration.cli", "desk", *arguments]
        return subprocess.run(command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, check=False)

    def add(self, name: str, role: str) -> str:
        """The password of a new account."""
        done = self.run("users", "add", name, "--role", role)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-1]

    def accounts(self) -> dict[str, str]:
        """Roles by account."""
        listed = json.loads(self.run("users", "list", "--json").stdout)["accounts"]
        return {account["name"]: account["role"] for account in listed}


@contextmanager
def desk_server(settings: Settings, log: Path, **own: str) -> Iterator[tuple[str, Commands]]:
    """The address of ``customer360 desk serve`` with these settings of its own; what it writes goes to ``log``."""
    port = free_port()
    commands = Commands(settings, {**own, "port": str(port)})
    command = [sys.executable, "-m", "orchestration.cli", "desk", "serve"]
    address = f"http://127.0.0.1:{port}"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=REPOSITORY, env=commands.environment, stdout=output, stderr=output) as process,
    ):
        try:
            _await(f"{address}/health/", process, log)
            yield address, commands
        finally:
            process.terminate()


def _await(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            urllib.request.urlopen(address, timeout=60).close()
        except (URLError, OSError):
            time.sleep(0.2)
        else:
            return
    raise AssertionError(log.read_text(encoding="utf-8"))
