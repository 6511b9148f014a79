"""Which form a place's files have: ``place.json`` says it, and a release refuses a place that a newer one has changed."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from customer360.errors import OperatorError
from customer360.lake.atomic import write_text
from customer360.settings import Place

FORMAT = 1  # one higher whenever an upgrade has something to do that an earlier release would not understand


class PlaceError(OperatorError, RuntimeError):
    """The place, or a backup of one, is not of a form that this release can use."""


def place_format(place: Place) -> int:
    """The form of a place's files; 0 for one of a release that did not note it, or a new one. Raises ``PlaceError``."""
    return noted_format(_file(place))


def noted_format(file: Path) -> int:
    """The form that a file names under ``format``; 0 where it is missing. Raises ``PlaceError`` where it is newer than ours."""
    if not file.exists():
        return 0
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        found, release = int(values["format"]), str(values["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise PlaceError(f"{file} is damaged: it has to name a format and a version; restore it from a backup") from error
    if found > FORMAT:
        raise PlaceError(
            f"{file.parent} is of release {release} (format {found}), and this is {version('customer360')} (format {FORMAT}): "
            "install that release again, or restore a backup that was made before its upgrade"
        )
    return found


def note_format(place: Place) -> None:
    """Note that the place has this release's form now."""
    write_text(_file(place), json.dumps(format_values()) + "\n")


def format_values() -> dict[str, object]:
    """What a note says."""
    return {"format": FORMAT, "version": version("customer360")}


def _file(place: Place) -> Path:
    return place.root / "place.json"
