"""Lines that the services accept, on disk before they are acknowledged, and in landing when their arrival slice ends.

Each process appends to a file of its own in ``DATA_DIR/serving/spool/<source>``, and holds its lock. What has been handed over
while the disk was busy is written and flushed together. A file enters ``landing/<source>/<slice>/`` by one rename, so that a
line is in exactly one slice; clicks for a landing in an object store enter ``upload/<slice>/`` of the spool, and are put from
there. A file whose lock nobody holds is of a process that was killed: whoever starts next, or closes a slice next, moves it
into the slice that is open then, without what follows its last whole line, which was not acknowledged.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import queue
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from customer360.lake.atomic import fsync_path
from customer360.lake.object_store import StoreError
from customer360.lake.operations.clock import shop_now
from customer360.lake.slices import floor_to_slice, slice_folder
from customer360.services.uploads import Uploads, spooled_files
from customer360.settings import Settings, SettingsError

LOG = logging.getLogger(__name__)
QUEUE_BYTES = 16 * 1024 * 1024  # of lines that wait for the disk
GROUP_BYTES = 4 * 1024 * 1024  # of lines that are flushed together
FILE_BYTES = 256 * 1024 * 1024  # a larger file moves before its slice ends
FREE_BYTES = 256 * 1024 * 1024  # that stay free on the disk, for the runs
REPLAY_SECONDS = 5  # a replayed slice has no end by the clock: how long a file of one grows
LOOK_SECONDS = 60.0  # between looks for what killed processes left
ROOM_SECONDS = 0.5  # between looks at the room that is left
RETRY_SECONDS = 5.0  # where a file could not be moved
BLOCK = 64 * 1024
CLICKS = "clicks"  # the source that a landing in an object store takes; the others stay in the local folder


class SpoolFullError(RuntimeError):
    """Lines were not taken: no room on the disk, or too many wait for it. They are safe to send again later."""


class Arrival(NamedTuple):
    """The slice that lines arrive in now: its start, and when its file has to move (UTC, wall clock)."""

    start: datetime
    until: datetime


@dataclass
class _Batch:
    content: bytes
    done: Future[None] = field(default_factory=Future)


@dataclass
class _Open:
    """The file that a process appends to: its descriptor, which holds the lock, its bytes, and whether its name is on disk."""

    path: Path
    descriptor: int
    arrival: Arrival
    size: int = 0
    is_named: bool = False


class Spool:
    """The spool of one source in one process. Its thread starts with the first line.

    ``clock``: the wall clock, UTC. ``free_bytes`` stay free on the disk. Raises ``SettingsError`` where landing is on another
    file system than the spool: a file could not be moved by a rename.
    """

    def __init__(
        self,
        settings: Settings,
        source: str,
        *,
        free_bytes: int = FREE_BYTES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.folder = spool_folder(settings, source)
        is_in_store = settings.shop.landing_url is not None and source == CLICKS
        self._landing = self.folder / "upload" if is_in_store else settings.place.landing / source
        self._uploads = Uploads(settings, source, self._landing) if is_in_store else None
        for folder in (self.folder, self._landing):
            folder.mkdir(parents=True, exist_ok=True)
        if self.folder.stat().st_dev != self._landing.stat().st_dev:
            raise SettingsError(f"{self.folder} and {self._landing} have to be on one file system: files move by a rename")
        self._settings, self._clock, self._free_bytes = settings, clock, free_bytes
        self._queue: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._waiting = 0
        self._queue_lock, self._file_lock = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._open: _Open | None = None
        self._next_look = self._next_room_look = 0.0

    def submit(self, lines: Sequence[bytes]) -> Future[None]:
        """Take lines, each without its end. The future ends once they are on disk.

        Raises ``SpoolFullError`` where too many wait already; the future raises it where the disk has no room.
        """
        batch = _Batch(_text(lines))
        with self._queue_lock:
            if self._waiting + len(batch.content) > QUEUE_BYTES:
                raise SpoolFullError("too many lines wait for the disk")
            self._waiting += len(batch.content)
        self._wake(batch)
        return batch.done

    async def append(self, lines: Sequence[bytes]) -> None:
        """Take lines, and return when they are on disk. Raises ``SpoolFullError``."""
        await asyncio.wrap_future(self.submit(lines))

    def write(self, lines: Sequence[bytes]) -> None:
        """Hand lines to the system, which keeps them when this process is killed, not when the machine is.

        They are flushed with what is appended next, or with the file. Raises ``SpoolFullError``.
        """
        try:
            is_new = self._write(_text(lines))
        except OSError as error:
            raise self._refusal(error) from error
        if is_new:
            self._wake(_Batch(b""))

    def recover(self) -> None:
        """Move the files whose lock nobody holds, cut after their last whole line."""
        slice_seconds = self._settings.shop.slice_width.total_seconds()
        self._next_look = time.monotonic() + min(slice_seconds, LOOK_SECONDS)
        for path in sorted(self.folder.glob("*.jsonl")):
            try:
                descriptor = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue
            try:
                if _locked(descriptor) and path.exists():
                    size = _whole_lines(descriptor)
                    os.ftruncate(descriptor, size)
                    os.fsync(descriptor)
                    self._into_slice(path, size, None)
            except OSError as error:
                self._not_moved(path, error)
            finally:
                os.close(descriptor)
        if self._uploads is not None:
            self._uploads.start()

    def close(self) -> None:
        """Write what waits, and move the file; into an object store it is tried once."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        if self._uploads is not None:
            self._uploads.once()

    def _wake(self, batch: _Batch) -> None:
        self._queue.put(batch)
        with self._queue_lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"spool-{self.folder.name}", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._next_group()
            if group:
                self._write_group(group)
            try:
                if not is_open or self._is_due():
                    self._move()
                if time.monotonic() >= self._next_look:
                    self.recover()
            except Exception:  # without this thread no line would be acknowledged again
                LOG.exception("%s: a look at its files failed, and is repeated", self.folder)
                self._next_look = time.monotonic() + RETRY_SECONDS

    def _next_group(self) -> tuple[list[_Batch], bool]:
        """The batches that wait, up to ``GROUP_BYTES``, or none once the file or a look is due; and whether to go on."""
        wait = self._next_look - time.monotonic()
        if (opened := self._open) is not None:
            wait = min(wait, (opened.arrival.until - self._clock()).total_seconds())
        group: list[_Batch] = []
        size = 0
        try:
            entry = self._queue.get(timeout=max(wait, 0.0))
            while entry is not None:
                group.append(entry)
                size += len(entry.content)
                if size >= GROUP_BYTES:
                    return group, True
                entry = self._queue.get_nowait()
        except queue.Empty:
            return group, True
        return group, False

    def _write_group(self, group: list[_Batch]) -> None:
        """Append the batches, flush them together, and end their futures."""
        content = b"".join(batch.content for batch in group)
        failure: Exception | None = None
        try:
            self._write(content)
            self._flush()
        except OSError as error:
            failure = self._refusal(error)
        with self._queue_lock:
            self._waiting -= len(content)
        for batch in group:
            if batch.done.set_running_or_notify_cancel():
                batch.done.set_exception(failure) if failure else batch.done.set_result(None)

    def _write(self, content: bytes) -> bool:
        """Write whole lines to the file, or nothing of them. True where the file is new."""
        if not content:
            return False
        with self._file_lock:
            self._require_room(len(content))
            is_new = self._open is None
            opened = self._open = self._open or self._create()
            left = content
            try:
                while left := left[os.write(opened.descriptor, left) :]:
                    pass
            except OSError:
                os.ftruncate(opened.descriptor, opened.size)  # half a line must not stand before the next one
                raise
            opened.size += len(content)
            return is_new

    def _require_room(self, size: int) -> None:
        """Raise ``OSError`` without room; as long as there is some it is looked at once in ``ROOM_SECONDS``: it takes 7 us."""
        monotonic = time.monotonic()
        if monotonic >= self._next_room_look:
            room = os.statvfs(self.folder)
            if room.f_bavail * room.f_frsize < self._free_bytes + size:
                raise OSError(errno.ENOSPC, "less room than is to stay free")
            self._next_room_look = monotonic + ROOM_SECONDS

    def _flush(self) -> None:
        opened = self._open
        if opened is None:
            return
        try:
            os.fdatasync(opened.descriptor)
            if not opened.is_named:
                fsync_path(self.folder)
                opened.is_named = True
        except OSError:  # what a later flush of this file says cannot be relied on
            opened.arrival = opened.arrival._replace(until=self._clock())
            raise

    def _refusal(self, error: OSError) -> Exception:
        LOG.error("%s: lines were refused: %s", self.folder, error)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            free = shutil.disk_usage(self.folder).free
            return SpoolFullError(f"the disk has {free / 1e6:,.0f} MB left; docs/runbook.md, 'Disk full'")
        return SpoolFullError(f"they could not be written: {error.strerror}")

    def _create(self) -> _Open:
        """A new file, locked. A process that looks for files of killed ones may have removed it between the two steps."""
        arrival = self._arrival()
        while True:
            path = self.folder / f"api-{self._clock():%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:16]}.jsonl"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
            if _locked(descriptor) and os.fstat(descriptor).st_nlink:
                return _Open(path, descriptor, arrival)
            os.close(descriptor)

    def _arrival(self) -> Arrival:
        now, shop = self._clock(), self._settings.shop
        if shop.live:
            start = max(floor_to_slice(now, shop.slice_width), shop.slices_start)
            return Arrival(start, start + shop.slice_width)
        try:
            return Arrival(shop_now(self._settings, now), now + timedelta(seconds=REPLAY_SECONDS))
        except StoreError as error:  # a replayed shop's newest slice is asked of the store
            raise OSError(errno.EIO, str(error)) from error

    def _is_due(self) -> bool:
        opened = self._open
        return opened is not None and (opened.size > FILE_BYTES or self._clock() >= opened.arrival.until)

    def _move(self) -> None:
        """Move the own file into its slice, or into the open one where that has closed. What fails is left to the next look."""
        with self._file_lock:
            opened, self._open = self._open, None
        if opened is None:
            return
        try:
            os.fdatasync(opened.descriptor)
            self._into_slice(opened.path, opened.size, opened.arrival.start)
        except OSError as error:
            self._not_moved(opened.path, error)
        finally:
            os.close(opened.descriptor)
        if self._uploads is not None:
            self._uploads.start()

    def _not_moved(self, path: Path, error: OSError) -> None:
        LOG.error("%s could not be moved into its slice, and is tried again: %s", path, error)
        self._next_look = time.monotonic() + RETRY_SECONDS

    def _into_slice(self, path: Path, size: int, start: datetime | None) -> None:
        shop, now = self._settings.shop, self._clock()
        if not size:
            path.unlink()
            return
        closes = None if start is None else start + shop.slice_width + shop.grace / 2
        if start is None or not shop.live or (closes is not None and now >= closes):
            start = self._arrival().start
        folder = slice_folder(self._landing, start)
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
        for changed in (*_up_to(folder, self._landing), self.folder):
            fsync_path(changed)


def spool_folder(settings: Settings, source: str) -> Path:
    """Where the lines of a source wait for the end of their slice."""
    return settings.place.serving / "spool" / source


def spooled_bytes(folder: Path) -> int:
    """Bytes in the files of a spool, of all processes, with those that wait for an object store."""
    size = 0
    for path in spooled_files(folder):
        with suppress(FileNotFoundError):  # moved since the folder was read
            size += path.stat().st_size
    return size


def recover_spools(settings: Settings, *, is_last: bool = False) -> None:
    """Move what stopped processes left, of every source, into the open slice. ``is_last``: wait for uploads, tried once."""
    for folder in sorted(spool_folder(settings, "").glob("*/")):
        spool = Spool(settings, folder.name)
        spool.recover()
        if is_last:
            spool.close()


def _text(lines: Sequence[bytes]) -> bytes:
    return b"\n".join((*lines, b""))


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _whole_lines(descriptor: int) -> int:
    """Bytes up to the end of the last whole line."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - BLOCK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _up_to(folder: Path, root: Path) -> Iterable[Path]:
    """The folder and those above it, up to ``root``."""
    yield folder
    while folder != root:
        folder = folder.parent
        yield folder
