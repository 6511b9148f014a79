"""Landing files in a slice, and reading what became of them, without the code under test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from customer360.lake.raw.raw_clicks import PART, SliceCounts, quarantine_folder, raw_slice_folder, write_raw_slice
from customer360.settings import Place, Settings
from tests.support.random_shop import small_shop

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def settings_at(root: Path) -> Settings:
    """A small shop with its data in ``root``."""
    return Settings(shop=small_shop(), place=Place(root=root), shop_folder=root)


def land(settings: Settings, files: Mapping[str, bytes], start: datetime = NOON) -> Path:
    """Write files into the folder of a slice."""
    folder = settings.place.landing / "clicks" / start.strftime("%Y/%m/%d/%H%M")
    folder.mkdir(parents=True, exist_ok=True)
    write_all(folder, files)
    return folder


def write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files with these names, also names that are no UTF-8."""
    for name, data in files.items():
        (folder / name).write_bytes(data)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file, none where there is no file."""
    return pq.read_table(path, partitioning=None).to_pylist() if path.exists() else []


@dataclass
class Outcome:
    """What became of the files of a slice: its counts, the good rows, the quarantined lines."""

    counts: SliceCounts
    good: list[dict[str, Any]]
    bad: list[dict[str, Any]]


def run_slice(settings: Settings, start: datetime = NOON, isolate: bool = False) -> Outcome:
    """Make the raw slice and read it."""
    counts = write_raw_slice(settings, start, isolate)
    return Outcome(
        counts,
        rows_of(raw_slice_folder(settings.place.raw, start) / PART),
        rows_of(quarantine_folder(settings.place.quarantine, start) / PART),
    )
