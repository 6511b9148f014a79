"""Retention: removes data older than its limits. Every function can be run at any time, and again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from customer360.lake.atomic import TEMPORARY_PREFIX
from customer360.lake.landing.location import find_landing
from customer360.lake.publishing.publishing import remove_old_versions
from customer360.lake.slices import slice_start
from customer360.lake.warehouse.frames import remove_old_snapshots
from customer360.settings import Settings

KEEP_RAW = timedelta(days=400)
KEEP_LOGS = timedelta(days=30)
KEEP_TARGETS = timedelta(days=1)


def remove_old(settings: Settings, now: datetime, shop_now: datetime) -> dict[str, int]:
    """Apply every retention; returns how many items each removed.

    ``now`` is the wall clock (published versions, logs, temporary files), ``shop_now`` the shop's (landing, raw, quarantine,
    snapshots).
    """
    place = settings.place
    oldest = shop_now - KEEP_RAW
    return {
        "raw_slices": _remove(_old_keys(place.raw / "clicks", oldest)),
        "quarantined_slices": _remove(_old_keys(place.quarantine / "clicks", oldest)),
        "offer_decisions": _remove(
            path for root in (place.raw, place.quarantine) for path in _old_keys(root / "offer_decisions", oldest)
        ),
        "rejected_rows": _remove(_older((place.quarantine / "adapters").glob("*"), now - KEEP_LOGS)),  # with addresses
        "history_days": _remove(_old_days(place.raw / "click_history", oldest)),
        "delivery_days": _remove(_old_days(place.mail / "deliveries", oldest)),
        "score_snapshots": len(remove_old_snapshots(place, shop_now)),
        "published_versions": len(remove_old_versions(place, now)),
        "dbt_targets": _remove(_older(place.dbt_target.glob("*-*-*"), now - KEEP_TARGETS)),
        "run_logs": _remove(_older((place.root / "dagster" / "storage").glob("*-*-*"), now - KEEP_LOGS)),
        "spilled_files": _remove(_older((place.scratch).glob("*"), now - KEEP_TARGETS)),
        "temporary_files": _remove(_older(_temporary(place.root), now - KEEP_TARGETS)),
        "landing_slices": find_landing(settings).remove_before(oldest),  # last: a store may be away
    }


def _old_keys(folder: Path, oldest: datetime) -> list[Path]:
    return [path for path in folder.glob("slice_key=*") if slice_start(path.name.removeprefix("slice_key=")) < oldest]


def _old_days(folder: Path, oldest: datetime) -> list[Path]:
    return [path for path in folder.glob("day_key=*") if path.name < f"day_key={oldest:%Y-%m-%d}"]


def _temporary(root: Path) -> Iterator[Path]:
    """Files, folders and links that a dead process left under a temporary name."""
    for folder, folders, files in os.walk(root):
        yield from (Path(folder) / name for name in (*folders, *files) if name.startswith(TEMPORARY_PREFIX))
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY_PREFIX)]


def _older(paths: Iterable[Path], limit: datetime) -> list[Path]:
    return [path for path in list(paths) if _modified(path) < limit.timestamp()]


def _modified(path: Path) -> float:
    """Modification time in seconds, of a link that of the link; infinity where the path is gone, so that it counts as new."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _remove(paths: Iterable[Path]) -> int:
    removed = 0
    for path in list(paths):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        removed += 1
    return removed
