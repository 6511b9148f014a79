"""The Dagster home of a place: its settings file, with the names of this release."""

from __future__ import annotations

import shutil
from pathlib import Path

from customer360.settings import REPOSITORY

SETTINGS = REPOSITORY / "orchestration" / "dagster.yaml"
MOVED = {  # modules that the settings of a home made by 0.1.0 name
    "orchestration.run_launcher": "orchestration.runtime.launcher",
    "orchestration.event_log": "orchestration.runtime.event_log",
}


def prepare_home(home: Path) -> None:
    """Give a new home the product's ``dagster.yaml``; in that of an older release rename moved modules, and leave all else."""
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        shutil.copy(SETTINGS, settings)
        return
    text = before = settings.read_text(encoding="utf-8")
    for old, new in MOVED.items():
        text = text.replace(f"module: {old}\n", f"module: {new}\n")
    if text != before:
        settings.write_text(text, encoding="utf-8")
