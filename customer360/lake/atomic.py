"""Atomic files: written under a temporary name, flushed to disk, renamed."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"


def fsync_path(path: Path) -> None:
    """Flush a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary path beside ``target``; rename it over ``target`` when the block ends well, else remove it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}{target.suffix}"
    try:
        yield temporary
        fsync_path(temporary)
        temporary.replace(target)
        fsync_path(target.parent)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def write_text(target: Path, text: str, mode: int = 0o666) -> None:
    """Replace ``target`` by a file with this text, with these permissions less those of the umask."""
    with replacing(target) as temporary:
        temporary.touch(mode)
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold the lock file ``lock``; others wait. The kernel frees it when the process dies."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
