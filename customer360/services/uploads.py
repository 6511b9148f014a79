"""Files of a spool that wait for an object store, in a folder by slice.

The rename into the folder decides the slice of a file, and its name the key: however often it is put, also once more after a
process was killed between the put and the removal of the file, it is one object of one slice.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from customer360.lake.landing.location import find_landing
from customer360.lake.landing.store_landing import StoreLanding
from customer360.lake.object_store import StoreError
from customer360.settings import Settings

LOG = logging.getLogger(__name__)
RETRY_SECONDS = 5.0


def spooled_files(folder: Path) -> list[Path]:
    """The files of a spool, by name; a folder that another process removes meanwhile has none (``Path.rglob`` would fail)."""
    return sorted(Path(found, name) for found, _, names in os.walk(folder) for name in names if name.endswith(".jsonl"))


class Uploads:
    """Puts the files of ``folder`` below the key ``source`` of landing, by a thread that lives while there are files."""

    def __init__(self, settings: Settings, source: str, folder: Path) -> None:
        self._settings, self._source, self._folder = settings, source, folder
        self._state_lock, self._pass_lock = threading.Lock(), threading.Lock()
        self._is_running = False

    def start(self) -> None:
        """Put what waits, and try again until the store has taken it, without waiting for it."""
        with self._state_lock:
            if not self._is_running and self._waiting():
                self._is_running = True
                threading.Thread(target=self._work, name=f"upload-{self._source}", daemon=True).start()

    def once(self) -> None:
        """Put what waits, in the order of its slices, up to the first failure, which is logged: the files stay."""
        with self._pass_lock:
            try:
                landing = find_landing(self._settings)
                assert isinstance(landing, StoreLanding)  # noqa: S101 (Spool makes uploads for a store alone)
                for path in self._waiting():
                    with suppress(FileNotFoundError):  # another process has put it
                        landing.store.put(f"{self._source}/{path.relative_to(self._folder).as_posix()}", path)
                        path.unlink()
                    self._remove_empty(path.parent)
            except (StoreError, OSError) as error:
                LOG.error("%s: files wait for the store, and are tried again: %s", self._folder, error)  # noqa: TRY400 (the message says it)

    def _work(self) -> None:
        try:
            while True:
                self.once()
                with self._state_lock:
                    if not self._waiting():
                        self._is_running = False
                        return
                time.sleep(RETRY_SECONDS)
        except BaseException:  # the next start has to begin anew
            self._is_running = False
            raise

    def _waiting(self) -> list[Path]:
        return spooled_files(self._folder)

    def _remove_empty(self, folder: Path) -> None:
        with suppress(OSError):  # a folder with another file, or one that another process has just removed
            while folder != self._folder:
                folder.rmdir()
                folder = folder.parent
