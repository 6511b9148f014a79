"""What kind of files a folder holds and by which rules they are judged: a landing folder, a part of one, or plain click files.

Files that lie where the pipeline does not look are reported here; ``check`` judges their content.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from customer360.lake.landing.click_rules import ClickBounds
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.landing.listing import LandedFile, is_complete, list_folder
from customer360.lake.raw.history import EARLIEST, history_bounds, slice_of_event
from customer360.lake.slices import floor_to_slice, folder_start, naive, slice_folder
from customer360.settings import Shop
from customer360.text import nearest

LANDING_FOLDERS = ("clicks", "history", "reference", "offer_decisions")
SLICE_DEPTH = 4
END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ClickFiles:
    """Click files that are read together: accepted event times, the SQL of a row's slice, what copies have in common."""

    kind: str
    files: tuple[LandedFile, ...]
    bounds: ClickBounds
    slice_expression: str
    copies_within: str = "event_key"


@dataclass(frozen=True)
class TableFiles:
    """All files of one reference table."""

    table: str
    files: tuple[LandedFile, ...]


@dataclass(frozen=True)
class Misplaced:
    """A file or folder that the pipeline does not read, and the remedy."""

    path: Path
    reason: str
    remedy: str


@dataclass
class Layout:
    """What a folder holds; ``all_tables`` where it is a landing or reference folder, whose tables are judged together."""

    clicks: list[ClickFiles] = field(default_factory=list)
    tables: list[TableFiles] = field(default_factory=list)
    misplaced: list[Misplaced] = field(default_factory=list)
    unfinished: int = 0
    all_tables: bool = False


def read_layout(shop: Shop, path: Path, now: datetime) -> Layout:
    """Find the files below ``path`` (a folder or one file) and their kinds. ``now`` is the wall clock, UTC."""
    layout = Layout()
    path = path.resolve()
    part, base = _part_of_landing(shop, path)
    layout.all_tables = part == "landing" or (part == "reference" and path == base)
    if part == "landing":
        _read_landing(layout, shop, base)
    elif part == "clicks":
        _read_clicks(layout, shop, base, path)
    elif part == "history":
        _add_history(layout, shop, _files(path))
    elif part == "reference":
        _read_reference(layout, shop, base, path)
    else:
        _add_plain(layout, shop, _files(path), now)
    layout.unfinished = sum(not is_complete(name) for _, _, names in os.walk(path) for name in names)
    return layout


def closest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean ...?)``, or nothing where no known word is near."""
    near = nearest(word.lower(), known)
    return f" (did you mean {near}?)" if near else ""


def _part_of_landing(shop: Shop, path: Path) -> tuple[str, Path]:
    """Which part of a landing folder this is, by its own name and those above it; ``plain`` where it is none."""
    for landing in (path / "landing", path):
        if any((landing / name).is_dir() for name in LANDING_FOLDERS):
            return "landing", landing
    for base in (path, *path.parents):
        inside = path.relative_to(base).parts
        if base.name == "clicks" and _is_slice_path(inside, path, base):
            return "clicks", base
        if base.name == "reference" and (not inside or inside[0] in reference_tables(shop)):
            return "reference", base
        if base.name == "history" and (not inside or base.parent.name == "landing"):
            return "history", base
    folder = path.parent if path.is_file() else path
    return ("reference", folder.parent) if folder.name in reference_tables(shop) else ("plain", path)


def _is_slice_path(inside: tuple[str, ...], path: Path, base: Path) -> bool:
    if inside:
        return all(part.isdigit() for part in inside[:SLICE_DEPTH])
    return base.parent.name == "landing" or any(entry.is_dir() and entry.name.isdigit() for entry in path.iterdir())


def _files(path: Path) -> tuple[LandedFile, ...]:
    """All complete files below a folder, or the one file."""
    if path.is_file():
        return (LandedFile.of(path, path.parent),)
    return list_folder(path, recursive=True).files


def _read_landing(layout: Layout, shop: Shop, landing: Path) -> None:
    for entry in sorted(landing.iterdir()):
        if not is_complete(entry.name):
            continue
        if entry.is_dir() and entry.name == "clicks":
            _read_clicks(layout, shop, entry, entry)
        elif entry.is_dir() and entry.name == "history":
            _add_history(layout, shop, _files(entry))
        elif entry.is_dir() and entry.name == "reference":
            _read_reference(layout, shop, entry, entry)
        elif entry.is_dir() and entry.name == "offer_decisions":
            continue  # the service writes it
        else:
            layout.misplaced.append(
                Misplaced(
                    entry,
                    f"is no part of a landing folder{closest(entry.name, LANDING_FOLDERS)}",
                    f"Nothing reads it. A landing folder holds {', '.join(LANDING_FOLDERS)}.",
                )
            )


def _add_history(layout: Layout, shop: Shop, files: tuple[LandedFile, ...]) -> None:
    layout.clicks.append(ClickFiles("history", files, history_bounds(shop), slice_of_event(shop), "slice, event_key"))


def _add_plain(layout: Layout, shop: Shop, files: tuple[LandedFile, ...], now: datetime) -> None:
    """Click files outside any slice: of event times only those in the future can be refused."""
    latest = now + timedelta(hours=1) if shop.live else shop.slices_end or END_OF_TIME
    late = "lies in the future" if shop.live else "lies after slices_end"
    bounds = ClickBounds(EARLIEST, latest, "lies before 1970", late)
    layout.clicks.append(ClickFiles("clicks", files, bounds, "cast(null as timestamp)"))


def _read_clicks(layout: Layout, shop: Shop, clicks: Path, path: Path) -> None:
    """Every folder below ``path`` that holds files; ``clicks`` is the folder that slice folders are relative to."""
    if path.is_file():
        _add_folder(layout, shop, clicks, path.parent, _files(path))
        return
    for root, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if is_complete(name))
        folder = Path(root)
        depth = len(folder.relative_to(clicks).parts)
        if any(is_complete(name) for name in names) or depth == SLICE_DEPTH:
            _add_folder(layout, shop, clicks, folder, list_folder(folder).files)


def _add_folder(layout: Layout, shop: Shop, clicks: Path, folder: Path, files: tuple[LandedFile, ...]) -> None:
    start = folder_start(folder.relative_to(clicks).as_posix())
    problem = _folder_problem(shop, clicks, folder, start)
    if problem is not None:
        layout.misplaced.append(problem)
    if start is None or problem is not None:
        _add_plain(layout, shop, files, END_OF_TIME - timedelta(hours=1))
        return
    bounds = ClickBounds.of_slice(start, start + shop.slice_width)
    layout.clicks.append(ClickFiles("clicks", files, bounds, f"timestamp '{naive(start)}'"))


def _folder_problem(shop: Shop, clicks: Path, folder: Path, start: datetime | None) -> Misplaced | None:
    """The problem of a folder with click files, or None."""
    example = slice_folder(Path(), shop.slices_start)
    if start is None or slice_folder(clicks, start) != folder:
        return Misplaced(
            folder,
            "is no slice folder, so nothing reads its files",
            f"Put files into clicks/YYYY/MM/DD/HHMM in UTC, such as clicks/{example}.",
        )
    floor = floor_to_slice(start, shop.slice_width)
    if floor != start:
        return Misplaced(
            folder,
            f"is not the start of a {shop.slice_minutes}-minute slice",
            f"Move its files to clicks/{slice_folder(Path(), floor)}, which covers this minute.",
        )
    if start < shop.slices_start:
        return Misplaced(
            folder,
            f"lies before slices_start ({shop.slices_start:%Y-%m-%d %H:%M} UTC), so it is never run",
            "Move its files to history, or set slices_start in shop.yaml to an earlier slice.",
        )
    if shop.slices_end is not None and start >= shop.slices_end:
        return Misplaced(
            folder,
            f"lies after slices_end ({shop.slices_end:%Y-%m-%d %H:%M} UTC), so it is never run",
            "Set slices_end in shop.yaml to a later moment.",
        )
    return None


def _read_reference(layout: Layout, shop: Shop, reference: Path, path: Path) -> None:
    """Every table folder below ``reference``; only that of ``path`` where it lies inside one."""
    known = reference_tables(shop)
    inside = path.relative_to(reference).parts
    if inside:
        layout.tables.append(TableFiles(inside[0], _files(path)))
        return
    for entry in sorted(reference.iterdir()):
        if not is_complete(entry.name):
            continue
        if entry.is_dir() and entry.name in known:
            layout.tables.append(TableFiles(entry.name, _files(entry)))
        else:
            problem = "is no reference table" if entry.is_dir() else "lies beside the folders of the reference tables"
            layout.misplaced.append(
                Misplaced(
                    entry,
                    problem + closest(entry.name.split(".")[0], known),
                    f"Nothing reads it. Put it into reference/<table>/, one of {', '.join(known)}.",
                )
            )
