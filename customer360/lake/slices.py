"""Arrival slices: their keys, their folders and their arithmetic. All times are UTC."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

KEY_FORMAT = "%Y-%m-%d-%H:%M"
FOLDER_FORMAT = "%Y/%m/%d/%H%M"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def slice_key(start: datetime) -> str:
    """Partition key of the slice that starts at ``start``."""
    return start.astimezone(UTC).strftime(KEY_FORMAT)


def slice_start(key: str) -> datetime:
    """Start of the slice with this key. Raises ``ValueError`` on anything that is not a key."""
    return datetime.strptime(key, KEY_FORMAT).replace(tzinfo=UTC)


def floor_to_slice(moment: datetime, width: timedelta) -> datetime:
    """Start of the slice that contains ``moment``."""
    return EPOCH + (moment.astimezone(UTC) - EPOCH) // width * width


def slice_folder(clicks: Path, start: datetime) -> Path:
    """``YYYY/MM/DD/HHMM`` below ``landing/clicks``."""
    return clicks / start.astimezone(UTC).strftime(FOLDER_FORMAT)


def folder_start(relative: str) -> datetime | None:
    """Start of the slice whose folder this is, or None where the path is no slice folder."""
    try:
        start = datetime.strptime(relative, FOLDER_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
    return (
        start if start.strftime(FOLDER_FORMAT) == relative else None
    )  # 2026/5/1 is not where the slice's files are looked for


def event_slice_minutes(slice_minutes: int) -> int:
    """Grain of event time in slice-grain tables: every window edge (15 minutes upwards) falls on it."""
    return math.gcd(slice_minutes, 15)


def naive(moment: datetime) -> datetime:
    """The same moment as DuckDB's TIMESTAMP holds it: UTC without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)
