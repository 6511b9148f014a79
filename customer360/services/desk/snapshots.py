"""One published snapshot per request, on a connection that is kept for each published version and process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

import duckdb

from customer360.lake.publishing.version import (
    DOCUMENT,
    Publication,
    PublishedVersion,
    connect_version,
    current_version,
    in_use,
    read_publication,
    redacted,
)
from customer360.settings import Settings
from customer360.snapshot import Snapshot


class NothingPublishedError(FileNotFoundError):
    """No slice is published yet."""


@dataclass
class _Kept:
    """A version's connection, its settings (a run may have added categories), and how many requests use it."""

    settings: Settings
    publication: Publication
    connection: duckdb.DuckDBPyConnection
    users: int = 0


class Snapshots:
    """Snapshots of a shop's place, safe for threads.

    The connection of a version is opened by the first request that finds it published, and closed when a newer one is and no
    request uses it. Each request has a cursor of its own: what it registers or creates is seen by no other. The version's
    files are held ``in_use`` as long as a request reads them, so that retention removes a version that only waits here.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._kept: dict[Path, _Kept] = {}

    @contextmanager
    def opened(self) -> Iterator[Snapshot]:
        """The version that is published at this moment. Raises ``NothingPublishedError`` before the first slice's."""
        with ExitStack() as stack:
            try:
                folder = current_version(self.settings.place)
                stack.enter_context(in_use(folder))
            except FileNotFoundError as error:
                raise NothingPublishedError(str(error)) from error
            kept = self._taken(folder)
            stack.callback(self._give_back, kept)
            as_of = kept.publication.as_of
            if as_of is None:
                raise NothingPublishedError(f"no slice is published below {self.settings.place.published} yet")
            cursor = stack.enter_context(kept.connection.cursor())
            cursor.execute("set TimeZone = 'UTC'")  # a cursor does not take over what was set on its connection
            stack.enter_context(redacted())
            yield Snapshot(kept.settings, PublishedVersion(folder, kept.publication, cursor), as_of.replace(tzinfo=UTC))

    def _taken(self, folder: Path) -> _Kept:
        with self._lock:
            if folder not in self._kept:
                self._kept[folder] = self._open(folder)
            kept = self._kept[folder]
            kept.users += 1
            self._close_unused(folder)
        return kept

    def _open(self, folder: Path) -> _Kept:
        place, publication = self.settings.place, read_publication(folder / DOCUMENT)
        settings = Settings.load(self.settings.shop_folder, place.root)
        return _Kept(settings, publication, connect_version(place, folder, publication))

    def _give_back(self, kept: _Kept) -> None:
        with self._lock:
            kept.users -= 1
            self._close_unused(max(self._kept))

    def _close_unused(self, newest: Path) -> None:
        for folder in [folder for folder, kept in self._kept.items() if folder != newest and not kept.users]:
            self._kept.pop(folder).connection.close()
