"""Copies of the published version elsewhere, for readers who do not read the folder: which version each has."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from customer360.lake.atomic import write_text
from customer360.settings import Place

READERS_WAIT = timedelta(hours=1)


@dataclass(frozen=True)
class Copied:
    """The last version that this place brought to a copy, and the copy's address without a secret."""

    version: int
    published_at: datetime
    url: str


def remember(place: Place, copy: str, copied: Copied) -> None:
    """Record what a copy, ``store`` or ``postgres``, has now."""
    write_text(place.published / f"{copy}.json", json.dumps(asdict(copied), default=datetime.isoformat) + "\n")


def last_copied(place: Place, copy: str) -> Copied | None:
    """The record of what a copy has, without asking it; None before the first version."""
    note = place.published / f"{copy}.json"
    if not note.exists():
        return None
    values = json.loads(note.read_text(encoding="utf-8"))
    return Copied(values["version"], datetime.fromisoformat(values["published_at"]), values["url"])


def readers_wait_long(place: Place, copy: str, now: datetime) -> bool:
    """True where readers of a copy have no version, or one that was published over an hour ago."""
    copied = last_copied(place, copy)
    return copied is None or now - copied.published_at > READERS_WAIT
