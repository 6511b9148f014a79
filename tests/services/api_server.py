"""The real server of the API in processes of its own, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml

from customer360.settings import REPOSITORY, Settings
from tests.support.ports import free_port


def write_shop(settings: Settings) -> None:
    """Write the shop.yaml of settings that a test made."""
    values = settings.shop.model_dump(mode="json", by_alias=True, exclude_none=True)
    (settings.shop_folder / "shop.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


@contextmanager
def api_server(settings: Settings, log: Path, **own: object) -> Iterator[httpx.Client]:
    """A client of ``customer360 api serve`` with these settings of its own; what the server writes goes to ``log``."""
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"},
        "SHOP": str(settings.shop_folder),
        "DATA_DIR": str(settings.place.root),
        "CUSTOMER360_API_PORT": str(port),
        **{f"CUSTOMER360_API_{name.upper()}": str(value) for name, value in own.items()},
    }
    command = [sys.executable, "-m", "orchestration.cli", "api", "serve"]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=output, stderr=output) as process,
    ):
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                _await_server(client, process, log)
                yield client
        finally:
            process.terminate()


def _await_server(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            client.get("/healthz")
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(log.read_text(encoding="utf-8"))
