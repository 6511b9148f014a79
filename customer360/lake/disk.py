"""Errors of a full disk, explained: how much is free, where, and what to do."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT}
# Messages of DuckDB for its files, its spilling and its own bound on it, and of SQLite.
LITTLE_ROOM = 16_000_000
FULL_MESSAGES = ("No space left on device", "Disk quota exceeded", "failed to offload data block", "disk is full")


class DiskFullError(RuntimeError):
    """There was no room to write. The message says how much is free, where, and what to do."""


def is_disk_full(error: BaseException) -> bool:
    """True where an error, or what caused it, is that nothing more could be written."""
    if isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno in FULL):
        return True
    if any(message in str(error) for message in FULL_MESSAGES):
        return True
    cause = error.__cause__ or error.__context__
    return cause is not None and is_disk_full(cause)


@contextmanager
def explaining_full_disk(root: Path) -> Iterator[None]:
    """Raise ``DiskFullError`` for an error in this block that a full disk caused; other errors pass unchanged."""
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:  # an error of any type may be caused by a full disk; others pass
        if not is_disk_full(error):
            raise
        room = shutil.disk_usage(root)
        raise DiskFullError(
            f"no room to write below {root}: {_megabytes(room.free)} free of {_megabytes(room.total)}, unfinished files gone. "
            "Nothing that was finished or published is lost, and the work is tried again by itself. Make room: customer360 "
            f"status says what takes it, docs/runbook.md, 'Disk full', what may go. It ended with: {_first_line(error)}"
        ) from error


def lack_of_room(folder: Path) -> str:
    """A sentence on the free space of a folder's disk; "" where there are ``LITTLE_ROOM`` bytes or more."""
    room = shutil.disk_usage(folder)
    if room.free >= LITTLE_ROOM:
        return ""
    return (
        f"the disk of {folder} is full: {_megabytes(room.free)} free of {_megabytes(room.total)}; docs/runbook.md, 'Disk full'"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]
