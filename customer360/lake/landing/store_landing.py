"""Landing in an object store: listings by requests that are bounded, and objects fetched into a scratch folder to be read.

A producer's PUT is atomic, so no rename is needed; names that begin with ``.`` or ``_`` or end in ``.tmp`` are ignored as in a
folder. Fingerprints come from the store's own names, sizes and ETags, never from the scratch copies.

A tick of the sensor lists the last day and later slices. It lists older slices in rounds, 2 pages of 1,000 objects a tick, to
find late objects: a round over 400,000 objects (400 days) takes 200 ticks of 15 seconds, which is 50 minutes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from customer360.lake.atomic import TEMPORARY_PREFIX
from customer360.lake.disk import DiskFullError
from customer360.lake.landing.listing import (
    ALWAYS_LISTED,
    NO_FILES,
    LandedFile,
    Listing,
    click_obstacle,
    is_complete,
    listing_of,
    remove_slices,
)
from customer360.lake.object_store import ObjectGoneError, ObjectStore, Page, StoredObject
from customer360.lake.slices import FOLDER_FORMAT, folder_start, slice_start
from customer360.settings import Settings
from customer360.text import printable

CLICKS = "clicks/"
NEW_PAGES = 20
OLD_PAGES = 2
TRIES = 3
ROOM_LEFT = 200_000_000


@dataclass(frozen=True)
class Look:
    """Result of a tick: the listed slices, the last slice that is complete, and the folder where the next round begins."""

    listed: dict[datetime, Listing]
    until: datetime | None
    scanned: str

    def folders(self, now: datetime) -> list[tuple[datetime, int]]:
        """Every listed slice as if it had changed now: each is compared by its fingerprint."""
        now_ns = int(now.timestamp()) * 1_000_000_000
        return [(start, now_ns) for start in sorted(self.listed)]

    def fingerprint(self, start: datetime) -> str:
        """The fingerprint of a slice up to ``until``; a slice without objects is not in ``listed`` and has ``NO_FILES``."""
        return self.listed[start].fingerprint if start in self.listed else NO_FILES


@dataclass
class _Span:
    """Objects by slice, in the order of keys, as pages bring them; the last slice may continue on the next page."""

    found: dict[datetime, list[StoredObject]] = field(default_factory=dict)
    has_last_page: bool = False

    def add(self, page: Page) -> None:
        for entry in page.objects:
            start = _slice_of(entry.key)
            if start is not None:
                self.found.setdefault(start, []).append(entry)
        self.has_last_page = page.is_last

    @property
    def last(self) -> datetime | None:
        """The last slice with an object so far."""
        return next(reversed(self.found), None)


class StoreLanding:
    """The landing of a shop whose producers put objects into a store."""

    def __init__(self, settings: Settings, store: ObjectStore) -> None:
        self.store = store
        self.width = settings.shop.slice_width
        self.slices_start = settings.shop.slices_start
        self.root, self.folder = settings.place.root, settings.place.landing

    @property
    def title(self) -> str:
        """URL of landing, for messages."""
        return self.store.url

    @property
    def short_title(self) -> str:
        """The same URL; it is not shortened."""
        return self.title

    def newest(self) -> datetime | None:
        """Start of the newest slice that has complete objects: a request a level, from the newest folder down."""
        return self._newest(CLICKS, 4)

    def _newest(self, below: str, levels: int) -> datetime | None:
        if not levels:
            start = folder_start(below.removeprefix(CLICKS).rstrip("/"))
            return start if start is not None and self.slice(start).files else None
        names = (name for name in reversed(self.store.folders(below)) if name.isdigit())
        found = (self._newest(f"{below}{name}/", levels - 1) for name in names)
        return next((start for start in found if start is not None), None)

    def slice(self, start: datetime) -> Listing:
        """Complete objects of a slice; what lies deeper is listed as a folder, and quarantined."""
        return self._listing(self.store.objects(_folder(start)), _folder(start))

    def slices(self) -> Iterator[tuple[datetime, Listing]]:
        """Every slice that has objects, in time order; lists all of them, 1,000 a request."""
        for start, objects in groupby(self.store.objects(CLICKS), key=lambda entry: _slice_of(entry.key)):
            if start is not None:
                yield start, self._listing(objects, _folder(start))

    def look(self, newest: str | None, scanned: str, last_closed: datetime | None) -> Look:
        """List the slices that a tick compares, up to ``last_closed``, or fewer after an outage: ``NEW_PAGES`` pages at most.

        ``newest``: key of the newest slice that earlier ticks compared; ``scanned``: the ``Look.scanned`` of the last tick.
        """
        if last_closed is None:
            return Look({}, None, scanned)
        fresh = slice_start(newest) + self.width if newest else self.slices_start
        recent = max(self.slices_start, last_closed - ALWAYS_LISTED)
        begin = min(fresh, recent)
        listed, until = self._list(begin, last_closed)
        end = begin
        if until < min(fresh, last_closed):  # a day of so many objects that the new ones were not reached
            newer, until = self._list(fresh, last_closed)
            listed, end = listed | newer, fresh
        older, scanned = self._round(scanned, end)
        return Look(older | listed, until, scanned)

    def _list(self, begin: datetime, last: datetime) -> tuple[dict[datetime, Listing], datetime]:
        """Slices from ``begin`` to ``last``, and the last one that is complete: one at least, however many pages it has."""
        span = _Span()
        for number, page in enumerate(self.store.pages(CLICKS, after=_folder(begin)), 1):
            span.add(page)
            if span.last is not None and span.last > last:
                break
            if number >= NEW_PAGES and not span.has_last_page and len(span.found) > 1:
                last = min(last, span.last - self.width) if span.last is not None else last
                break
        return self._listings(span.found, begin, last), last

    def _round(self, scanned: str, end: datetime) -> tuple[dict[datetime, Listing], str]:
        """``OLD_PAGES`` pages of the slices before ``end``, from the folder ``scanned`` on; after the last, from the first."""
        begin = max(folder_start(scanned) or self.slices_start, self.slices_start)
        if begin >= end:
            begin = self.slices_start
        if begin >= end:
            return {}, ""
        span = _Span()
        for number, page in enumerate(self.store.pages(CLICKS, after=_folder(begin)), 1):
            span.add(page)
            if span.has_last_page or (span.last is not None and span.last >= end):
                return self._listings(span.found, begin, end - self.width), ""
            if number >= OLD_PAGES and len(span.found) > 1 and span.last is not None:
                listed = self._listings(span.found, begin, span.last - timedelta(microseconds=1))
                return listed, f"{span.last:{FOLDER_FORMAT}}"
        return {}, ""

    def _listings(self, found: dict[datetime, list[StoredObject]], first: datetime, last: datetime) -> dict[datetime, Listing]:
        return {start: self._listing(found[start], _folder(start)) for start in found if first <= start <= last}

    @contextmanager
    def open_slice(self, start: datetime) -> Iterator[Listing]:
        """The objects of a slice as files that can be read, with the store's names, sizes and versions; removed afterwards."""
        with self._opened(_folder(start), deep=False) as listing:
            yield listing

    @contextmanager
    def open_folder(self, relative: str) -> Iterator[Listing]:
        """All complete objects below ``history`` or ``reference/<table>`` as files that can be read; removed afterwards."""
        with self._opened(f"{relative}/", deep=True) as listing:
            yield listing

    def add(self, relative: str, content: bytes) -> bool:
        """Put an object unless it is there; returns whether it was not."""
        if self.store.exists(relative):
            return False
        self.store.put(relative, content)
        return True

    def follow(self, written: Sequence[Path], removed: Sequence[Path]) -> str:
        """Put the files written in the local landing folder into the store, and remove those removed; returns the store's URL.

        The local files stay: an adapter compares them when it converts a file again.
        """
        for path in written:
            self.store.put(path.relative_to(self.folder).as_posix(), path)
        for path in removed:
            self.store.remove(path.relative_to(self.folder).as_posix())
        return self.title if written or removed else ""

    def remove_before(self, oldest: datetime) -> int:
        """Remove what lies in slices before ``oldest``; returns how many slices.

        Decisions about offers land in the local folder. Clicks stay where shop.yaml leaves them to the bucket.
        """
        local = remove_slices(self.folder, ["offer_decisions"], oldest)
        if not self.store.storage.delete_old_landing:
            return local
        removed = set()
        for entry in self.store.objects(CLICKS):
            start = _slice_of(entry.key)
            if start is None:
                continue
            if start >= oldest:
                break
            self.store.remove(entry.key)
            removed.add(start)
        return local + len(removed)

    @contextmanager
    def _opened(self, below: str, deep: bool) -> Iterator[Listing]:
        """Fetch all listed objects, or none. When an object changes meanwhile, repeat, at most ``TRIES`` times."""
        scratch = self.root / ".tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=scratch) as folder:
            for attempt in range(1, TRIES + 1):
                objects = list(self.store.objects(below))
                try:
                    listing = self._fetch(objects, below, Path(folder), deep)
                    break
                except ObjectGoneError:
                    if attempt == TRIES:
                        raise
            yield listing

    def _fetch(self, objects: list[StoredObject], below: str, folder: Path, deep: bool) -> Listing:
        listing = self._listing(objects, below, deep)
        by_url = {self.store.url_of(entry.key): entry for entry in objects}
        wanted = [file for file in listing.files if file.is_regular and (deep or click_obstacle(file) is None)]
        _require_room(folder, sum(file.size for file in wanted), self.store.url_of(below))
        copies = {file.url: folder / f"{number:06}{_suffix(file.name)}" for number, file in enumerate(wanted)}
        self.store.fetch_all((by_url[file.url], copies[file.url]) for file in wanted)
        return Listing(tuple(replace(file, path=copies.get(file.url, file.path)) for file in listing.files))

    def _listing(self, objects: Iterable[StoredObject], below: str, deep: bool = False) -> Listing:
        """Objects below a prefix as files. Not ``deep``: an object in a subfolder stands for it, as in a local slice."""
        files: dict[str, LandedFile] = {}
        for entry in objects:
            parts = entry.key.removeprefix(below).split("/")
            if not all(parts) or not all(is_complete(part) for part in parts):  # an empty part: the mark of a folder
                continue
            name = "/".join(parts) if deep else parts[0]
            url = self.store.url_of(f"{below}{name}")
            modified_ns = int(entry.modified_at.timestamp()) * 1_000_000_000
            file = LandedFile(Path(name), printable(name), entry.size, modified_ns, url=url, version=entry.etag)
            is_folder = len(parts) > 1 and not deep
            files[name] = replace(file, size=0, modified_ns=0, is_regular=False, version="") if is_folder else file
        return listing_of(list(files.values()))


def _folder(start: datetime) -> str:
    return f"{CLICKS}{start:{FOLDER_FORMAT}}/"


def _slice_of(key: str) -> datetime | None:
    """The slice that an object lies in, or None; the empty object that marks a folder is in no slice."""
    parts = key.removeprefix(CLICKS).split("/")
    return folder_start("/".join(parts[:4])) if len(parts) > 4 and parts[4] else None


def _suffix(name: str) -> str:
    """The known ending of a name, by which DuckDB and the readers choose the format. A key is never used as a local path."""
    endings = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")
    return max((ending for ending in endings if name.endswith(ending)), key=len, default="")


def _require_room(folder: Path, size: int, url: str) -> None:
    free = shutil.disk_usage(folder).free
    if size + ROOM_LEFT > free:
        raise DiskFullError(
            f"no room to read {url}: its objects have {size / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free at {folder}. "
            "Nothing is lost, and it is tried again. Make room, or land in smaller pieces"
        )
