"""A disk that fills while dbt works: the run ends with the reason, lets the warehouse go, and the next one succeeds."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from customer360.lake.warehouse.warehouse import is_locked
from tests.orchestration.place import TinyShop, wait_until


@pytest.fixture
def small_shop(shop: TinyShop) -> Iterator[TinyShop]:
    """The shop on a tmpfs of 400 MB, mounted over its folder because a manifest belongs to its paths."""
    shop.restore("ready")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400m", "customer360-test", str(shop.data)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk needs root and the right to mount: {mounted.stderr.decode().strip()}")
    try:
        shutil.copytree(shop.root / "ready", shop.data, symlinks=True, dirs_exist_ok=True)
        yield shop
    finally:
        subprocess.run(["umount", "--lazy", str(shop.data)], check=True)
        shop.restore("ready")


@contextmanager
def no_room(folder: Path) -> Iterator[None]:
    """Take all room of a disk, and whatever becomes free, until the block ends."""
    ended = threading.Event()
    filler = folder / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            while not ended.wait(0.005):
                room = os.statvfs(folder)
                try:
                    file.write(bytes(room.f_bavail * room.f_frsize))
                except OSError:
                    continue  # another process took the room first

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        filler.unlink()


@pytest.mark.exhaustive  # two thirds of a minute; tests/safety/test_full_disk.py fills disks under every other writer
def test_a_disk_that_fills_while_dbt_works_ends_the_run_with_the_reason_and_the_next_run_succeeds(
    small_shop: TinyShop,
) -> None:
    small_shop.land(0)
    run = small_shop.run("slice_job", small_shop.key(0))
    log = small_shop.data / "dbt" / f"warehouse_models-{run.run_id}" / "dbt.log"
    wait_until(lambda: log.exists() and log.stat().st_size > 2_000, 60, "dbt works")
    with no_room(small_shop.data):
        assert run.wait(60) != 0
        assert not is_locked(small_shop.settings.place)
    assert "is full: 0.0 MB free of 419.4 MB; docs/runbook.md, 'Disk full'" in run.log.read_text(encoding="utf-8")
    small_shop.run("slice_job", small_shop.key(0)).succeed()
    assert small_shop.published("select is_transformed from slice_log where source = 'clicks'") == [(True,)]
