"""What producers have written: files of a slice folder, their fingerprint, and folders that changed.

Producers write under a name that starts with ``.`` or ``_`` or ends in ``.tmp`` and rename when done; such names are not seen.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from customer360.lake.slices import EPOCH, folder_start, slice_folder
from customer360.text import printable

SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".parquet")
NO_FILES = "empty"
ALWAYS_LISTED = timedelta(days=1)  # slices of this last period are compared in every tick of the sensor


@dataclass(frozen=True)
class LandedFile:
    """One complete file of a producer; ``name`` is for people, see ``printable``.

    Of an object of a store, ``url`` says where it is, ``version`` is its ETag, and ``path`` is a copy of it.
    """

    path: Path
    name: str
    size: int
    modified_ns: int
    is_regular: bool = True
    url: str = ""
    version: str = ""

    @classmethod
    def of(cls, path: Path, folder: Path) -> LandedFile:
        """The file at ``path``, named from ``folder``. Raises ``FileNotFoundError`` when it is gone."""
        try:
            status = path.stat()
        except OSError:  # a link to nothing, or to itself
            status = path.lstat()
        return cls(
            path, printable(str(path.relative_to(folder))), status.st_size, status.st_mtime_ns, stat.S_ISREG(status.st_mode)
        )

    @property
    def where(self) -> str:
        """Path or URL of the file, for the person who has to mend it."""
        return self.url or str(self.path)

    @property
    def obstacle(self) -> str | None:
        """Why the file must not be opened, whatever its content; None for ordinary files. Opening a pipe would block."""
        if not self.is_regular:
            return "is no regular file: a folder, a pipe or a link to nothing; land its content as files of the slice's folder"
        try:
            os.fsencode(self.path).decode("utf-8")
        except UnicodeDecodeError:
            return "has a name that is not valid UTF-8; land it again under another name"
        return None


@dataclass(frozen=True)
class Listing:
    """The files of one folder in the order of their names, and a fingerprint of names, sizes and times.

    An object counts by its ETag in place of its time: two PUTs within a second have the same time.
    """

    files: tuple[LandedFile, ...]

    @property
    def fingerprint(self) -> str:
        """Changes whenever a file appears, disappears or is replaced; ``empty`` without files."""
        if not self.files:
            return NO_FILES
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.name}\0{file.size}\0{file.version or file.modified_ns}\n".encode())
        return digest.hexdigest()[:16]


def is_complete(name: str) -> bool:
    """True for names that a producer has finished with."""
    return not name.startswith((".", "_")) and not name.endswith(".tmp")


def click_obstacle(file: LandedFile) -> str | None:
    """Why this cannot be a click file, whatever its content; None where it can."""
    if not file.name.endswith(SUFFIXES):
        return f"is of no known type: {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
    return file.obstacle


def list_folder(folder: Path, recursive: bool = False) -> Listing:
    """All complete files of ``folder``; a folder that does not exist has none.

    Files of unknown types are listed too: they are quarantined.
    """
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if recursive and is_complete(name)]
        for name in names:
            if is_complete(name):
                with suppress(FileNotFoundError):  # gone since the folder was read
                    found.append(LandedFile.of(Path(root) / name, folder))
    return listing_of(found)


def list_slice(landing: Path, start: datetime) -> Listing:
    """Complete files of the slice that starts at ``start``.

    Folders in it are listed too: they are quarantined.
    """
    folder = slice_folder(landing / "clicks", start)
    inside = [Path(entry.path) for entry in _subfolders(folder) if is_complete(entry.name)]
    return listing_of([*list_folder(folder).files, *(LandedFile.of(path, folder) for path in inside)])


def listing_of(files: list[LandedFile]) -> Listing:
    """These files as a folder would list them."""
    return Listing(tuple(sorted(files, key=lambda file: file.name)))


def slice_folders(landing: Path, source: str = "clicks", since: datetime = EPOCH) -> Iterator[tuple[datetime, int]]:
    """Every slice folder of a source, in time order, with its modification time in ns (changes when a file appears).

    Days before that of ``since`` are not looked at.
    """
    first = f"{since:%Y/%m/%d}"
    for year in _subfolders(landing / source):
        for month in _subfolders(year.path):
            for day in _subfolders(month.path):
                name = f"{year.name}/{month.name}/{day.name}"
                for entry in _subfolders(day.path) if name >= first else ():
                    start = folder_start(f"{name}/{entry.name}")
                    if start is not None:
                        yield start, entry.stat().st_mtime_ns


def remove_slices(landing: Path, sources: Iterable[str], oldest: datetime) -> int:
    """Remove the sources' folders of slices before ``oldest``; returns how many."""
    old = [(source, start) for source in sources for start, _ in slice_folders(landing, source) if start < oldest]
    for source, start in old:
        shutil.rmtree(slice_folder(landing / source, start), ignore_errors=True)
    return len(old)


def _subfolders(path: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted((entry for entry in entries if _is_folder(entry)), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
