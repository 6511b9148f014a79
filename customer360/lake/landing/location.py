"""A shop's landing: a local folder or an object store, with one interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from customer360.lake.atomic import replacing
from customer360.lake.landing.listing import Listing, list_folder, list_slice, remove_slices, slice_folders
from customer360.lake.landing.store_landing import StoreLanding
from customer360.lake.object_store import ObjectStore
from customer360.settings import Settings


@dataclass(frozen=True)
class FolderLook:
    """What a tick of the sensor sees of a folder: all slices up to the last closed one."""

    folder: Path
    until: datetime | None
    scanned: str = ""

    def folders(self, _now: datetime) -> Iterator[tuple[datetime, int]]:
        """Every slice folder with the time of its last change, in ns."""
        return slice_folders(self.folder)

    def fingerprint(self, start: datetime) -> str:
        """The fingerprint of a slice as it is now."""
        return list_slice(self.folder, start).fingerprint


class FolderLanding:
    """Landing as a folder: files are read where they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def title(self) -> str:
        """Path of landing, for messages."""
        return str(self.folder)

    @property
    def short_title(self) -> str:
        """The folder's name, for messages to people who know the data folder."""
        return self.folder.name

    def newest(self) -> datetime | None:
        """Start of the newest slice that has complete files."""
        starts = [start for start, _ in slice_folders(self.folder)]
        return next((start for start in reversed(starts) if list_slice(self.folder, start).files), None)

    def slice(self, start: datetime) -> Listing:
        """Complete files of a slice."""
        return list_slice(self.folder, start)

    def slices(self) -> Iterator[tuple[datetime, Listing]]:
        """Every slice folder with its files, in time order."""
        for start, _ in slice_folders(self.folder):
            yield start, list_slice(self.folder, start)

    def look(self, _newest: str | None, _scanned: str, last_closed: datetime | None) -> FolderLook:
        """The slices that a tick of the sensor compares."""
        return FolderLook(self.folder, last_closed)

    @contextmanager
    def open_slice(self, start: datetime) -> Iterator[Listing]:
        """The files of a slice, to be read."""
        yield list_slice(self.folder, start)

    @contextmanager
    def open_folder(self, relative: str) -> Iterator[Listing]:
        """All complete files below ``history`` or ``reference/<table>``, to be read."""
        yield list_folder(self.folder / relative, recursive=True)

    def add(self, relative: str, content: bytes) -> bool:
        """Write a file, by rename, unless it is there; returns whether it was not."""
        path = self.folder / relative
        if path.exists():
            return False
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        return True

    def follow(self, _written: Sequence[Path], _removed: Sequence[Path]) -> str:
        """Files below the folder of landing were written or removed: nothing is left to do. Returns where they went."""
        return ""

    def remove_before(self, oldest: datetime) -> int:
        """Remove the folders of slices before ``oldest``; returns how many."""
        return remove_slices(self.folder, ("clicks", "offer_decisions"), oldest)


def find_landing(settings: Settings) -> FolderLanding | StoreLanding:
    """Landing as shop.yaml says. Raises ``StoreError`` where a variable with the store's credentials is not set."""
    storage, url = settings.shop.object_storage, settings.shop.landing_url
    if storage is None or url is None:
        return FolderLanding(settings.place.landing)
    return StoreLanding(settings, ObjectStore(storage, url))
