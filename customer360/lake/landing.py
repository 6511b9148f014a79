"""What producers have written: files of a slice folder, their fingerprint, and folders that changed.

Producers write under a name that starts with ``.`` or ``_`` or ends in ``.tmp`` and rename when done; such names are not seen.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from customer360.lake.slices import folder_start, slice_folder

SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".parquet")
NO_FILES = "empty"


@dataclass(frozen=True)
class LandedFile:
    """One complete file of a producer."""

    path: Path
    name: str
    size: int
    modified_ns: int


@dataclass(frozen=True)
class Listing:
    """The files of one folder in the order of their names, and a fingerprint of names, sizes and times."""

    files: tuple[LandedFile, ...]

    @property
    def fingerprint(self) -> str:
        """Changes whenever a file appears, disappears or is replaced; ``empty`` without files."""
        if not self.files:
            return NO_FILES
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.name}\0{file.size}\0{file.modified_ns}\n".encode())
        return digest.hexdigest()[:16]


def is_complete(name: str) -> bool:
    """True for names that a producer has finished with."""
    return not name.startswith((".", "_")) and not name.endswith(".tmp")


def is_readable(name: str) -> bool:
    """True for the file types of the click contract."""
    return name.endswith(SUFFIXES)


def list_folder(folder: Path, recursive: bool = False) -> Listing:
    """All complete files of ``folder``; a folder that does not exist has none.

    Files of unknown types are listed too: they are quarantined, not overlooked.
    """
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if recursive and is_complete(name)]
        for name in names:
            path = Path(root) / name
            if is_complete(name):
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                relative = str(path.relative_to(folder))
                found.append(LandedFile(path, relative, status.st_size, status.st_mtime_ns))
    return Listing(tuple(sorted(found, key=lambda file: file.name)))


def list_slice(landing: Path, start: datetime) -> Listing:
    """Complete files of the slice that starts at ``start``."""
    return list_folder(slice_folder(landing / "clicks", start))


def slice_folders(landing: Path) -> Iterator[tuple[datetime, int]]:
    """Every slice folder that exists, in time order, with its modification time in ns (changes when a file appears)."""
    clicks = landing / "clicks"
    for year in _subfolders(clicks):
        for month in _subfolders(year.path):
            for day in _subfolders(month.path):
                for entry in _subfolders(day.path):
                    start = folder_start(f"{year.name}/{month.name}/{day.name}/{entry.name}")
                    if start is not None:
                        yield start, entry.stat().st_mtime_ns


def _subfolders(path: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted((entry for entry in entries if entry.is_dir()), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
