"""A disk of a few megabytes that a test can fill to the last byte."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class SmallDisk:
    """A mounted tmpfs; the product's data lie in ``root``."""

    mount: Path

    @property
    def root(self) -> Path:
        return self.mount / "data"

    @property
    def _filler(self) -> Path:
        return self.mount / "filler"

    def fill(self, leaving: int) -> None:
        """Take all room but ``leaving`` bytes."""
        room = os.statvfs(self.mount)
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - leaving)

    def free(self) -> None:
        """Give the room back."""
        self._filler.unlink()


@contextmanager
def small_disk(mount: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount a tmpfs of this size; skips the test where that is not allowed."""
    mount.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "customer360-test"]
    try:
        mounted = subprocess.run(["mount", *options, str(mount)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if mounted.returncode != 0:
        pytest.skip(f"a small disk needs root and the right to mount: {mounted.stderr.strip()}")
    try:
        (mount / "data").mkdir()
        yield SmallDisk(mount)
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)
