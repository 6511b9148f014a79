"""Replay of quarantined lines: back to landing, once they keep the contract.

Landing is only added to: a replay is a new file whose name is a hash of its lines, so sending the same lines again changes
nothing. The run that it causes reads the old file too, and what is good in both is a duplicate by its ``event_id``. A line goes
back only when it keeps the contract now; every other one stays where it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from customer360.errors import OperatorError
from customer360.lake.atomic import write_text
from customer360.lake.engine import connect
from customer360.lake.landing.checked_lines import checked_lines
from customer360.lake.landing.click_rules import ClickBounds
from customer360.lake.landing.contracts import DUPLICATE_DAYS
from customer360.lake.landing.listing import LandedFile
from customer360.lake.landing.location import find_landing
from customer360.lake.landing.source_columns import Source
from customer360.lake.operations.clock import shop_now
from customer360.lake.raw.history import history_bounds
from customer360.lake.raw.quarantine import HISTORY, Entry, Selection, note_replay, quarantined_lines
from customer360.lake.slices import EPOCH, floor_to_slice, slice_folder, slice_key, slice_start
from customer360.settings import Place, Settings, Shop
from customer360.text import printable

REPLACED_CHARACTER = "\N{REPLACEMENT CHARACTER}"
ABOUT = re.compile(r"^# (?P<slice>history|\d{4}-\d\d-\d\d-\d\d:\d\d) (?P<file>.+) line (?P<line>\d+)(?:, \w+)?: ")
TOO_FAR = timedelta(days=DUPLICATE_DAYS)


class ReplayError(OperatorError, ValueError):
    """Lines cannot be sent back. The message has the reason and the remedy."""


@dataclass
class Replay:
    """Result of a replay: files (paths in landing) with their numbers of lines, and lines that stayed, with their faults."""

    written: list[tuple[Path, int]] = field(default_factory=list)
    unchanged: list[Path] = field(default_factory=list)
    still_bad: list[tuple[str, str]] = field(default_factory=list)
    to_mend: list[Entry] = field(default_factory=list)
    broken_files: list[Entry] = field(default_factory=list)


@dataclass(frozen=True)
class Line:
    """A line to be sent: its text, the slice it was quarantined in, its name in messages, and its entry, if any."""

    text: str
    slice: str
    name: str
    origin: Entry | None = None


def replay(settings: Settings, selection: Selection, now: datetime, into: datetime | None = None) -> Replay:
    """Send quarantined lines that keep the contract now back to landing: into their own slice, or the slice ``into``.

    Lines that are damaged themselves, and files that were set aside whole, are reported. ``now`` is the wall clock.
    Raises ``ReplayError`` where ``into`` is no slice that has come.
    """
    result = Replay()
    lines: list[Line] = []
    for entry in quarantined_lines(settings.place, selection):
        if entry.is_mended_at_its_source:
            continue  # the next load reads it from where it came
        if entry.is_of_broken_file:
            result.broken_files += [] if entry.line else [entry]
        elif entry.text is None or entry.is_damaged or REPLACED_CHARACTER in entry.text:
            result.to_mend.append(entry)
        else:
            lines.append(Line(_one_line(entry.text), entry.slice, entry.name, entry))
    good = _good_lines(settings, lines, into, now, result)
    _write_all(settings, good, now, result)
    return result


def export_for_editing(place: Place, selection: Selection, target: Path) -> int:
    """Write the selected lines to a file to be mended, each below a comment with its origin and fault.

    Returns how many there are. Raises ``ReplayError`` where ``target`` exists.
    """
    if target.exists():
        raise ReplayError(f"{target} exists; choose another name, so that nothing that was mended is lost")
    parts = []
    for entry in quarantined_lines(place, selection):
        if entry.text is not None and not entry.is_mended_at_its_source:
            column = f", {entry.column}" if entry.column else ""
            parts.append(f"# {entry.name}{column}: {printable(entry.reason)}\n{_one_line(entry.text)}\n")
    write_text(target, "".join(parts))
    return len(parts)


def replay_mended(
    settings: Settings, source: Path, now: datetime, default_slice: str | None = None, into: datetime | None = None
) -> Replay:
    """Send the mended lines of an exported file to landing. Where one of them is still bad, nothing is written.

    Lines without the comment of an export belong to ``default_slice``. Raises ``ReplayError`` where a line has no slice.
    """
    entries = quarantined_lines(settings.place, Selection(replayed_too=True))
    known = {(entry.slice, entry.file, entry.line): entry for entry in entries}
    result = Replay()
    lines: list[Line] = []
    for line in _mended(source, known, default_slice or (slice_key(into) if into else None)):
        if REPLACED_CHARACTER in line.text:
            result.still_bad.append((line.name, "still holds the character that stands for unreadable bytes"))
        else:
            lines.append(line)
    good = _good_lines(settings, lines, into, now, result)
    if not result.still_bad:
        _write_all(settings, good, now, result)
    return result


def _one_line(text: str) -> str:
    """Without the newline that the quarantine keeps; inside a line of CSV it may have others."""
    return text.rstrip("\r\n").replace("\r", " ").replace("\n", " ")


def _mended(source: Path, known: dict[tuple[str, str, int], Entry], default_slice: str | None) -> Iterator[Line]:
    origin: Entry | None = None
    slice_of_line = default_slice
    for number, text in enumerate(source.read_text(encoding="utf-8").split("\n"), 1):
        found = ABOUT.match(text)
        if found:
            slice_of_line = found["slice"]
            origin = known.get((found["slice"], found["file"], int(found["line"])))
        elif text.strip() and not text.startswith("#"):
            if slice_of_line is None:
                raise ReplayError(f"{source} line {number} has no comment that names its slice; say which with --slice KEY")
            yield Line(_one_line(text), slice_of_line, f"{source.name} line {number}", origin)


def _good_lines(
    settings: Settings, lines: list[Line], into: datetime | None, now: datetime, result: Replay
) -> dict[str, list[Line]]:
    """The lines that keep the contract in their target slice, by slice key; the faults of the others go into ``result``."""
    if into is not None:
        _require_slice(settings, into, now)
    targets: dict[str, list[Line]] = {}
    for line in lines:
        targets.setdefault(slice_key(into) if into else line.slice, []).append(line)
    good: dict[str, list[Line]] = {}
    for target, group in sorted(targets.items()):
        for line, wrong, event_at in _judged(settings, group, target):
            reason = wrong or _unreachable(settings.shop, line, target, event_at)
            if reason:
                result.still_bad.append((line.name, reason))
            else:
                good.setdefault(target, []).append(line)
    return good


def _require_slice(settings: Settings, start: datetime, now: datetime) -> None:
    shop = settings.shop
    if floor_to_slice(start, shop.slice_width) != start:
        raise ReplayError(f"{slice_key(start)} is not the start of a {shop.slice_minutes}-minute slice")
    newest = floor_to_slice(shop_now(settings, now), shop.slice_width)
    if start > newest:
        raise ReplayError(f"slice {slice_key(start)} lies in the future; the newest slice is {slice_key(newest)}")


def _judged(settings: Settings, lines: list[Line], target: str) -> Iterator[tuple[Line, str | None, datetime]]:
    """Each line with its fault by the pipeline's rules (None for a good line), and its event time (UTC)."""
    shop, source = settings.shop, Source.of(settings.shop, "clicks")
    start = None if target == HISTORY else slice_start(target)
    bounds = history_bounds(shop) if start is None else ClickBounds.of_slice(start, start + shop.slice_width)
    with TemporaryDirectory(prefix="customer360-replay-") as scratch:
        path = Path(scratch) / "lines.jsonl"
        path.write_text("".join(f"{line.text}\n" for line in lines), encoding="utf-8")
        file = LandedFile(path, path.name, path.stat().st_size, 0)
        with connect(Path(scratch)) as connection, checked_lines(connection, [file], bounds, source):
            found = connection.execute(
                "select line, nullif(concat_ws(': ', nullif(column_name, ''), reason), ''), event_at from checked"
            )
            judged = {line: (reason, event_at) for line, reason, event_at in found.fetchall()}
    for number, line in enumerate(lines, 1):
        reason, event_at = judged.get(number, ("is empty", None))
        yield line, reason, (event_at or EPOCH).replace(tzinfo=EPOCH.tzinfo)


def _unreachable(shop: Shop, line: Line, target: str, event_at: datetime) -> str | None:
    """Why a good line cannot go to ``target``: it is never run, or so far away that a copy would not be noticed.

    A line may turn good in its old place, or has a good copy there; copies are found over some days only.
    """
    if target == HISTORY:
        return None
    start = slice_start(target)
    if start < shop.slices_start or (shop.slices_end is not None and start >= shop.slices_end):
        return f"slice {target} is never run: it lies outside slices_start and slices_end of shop.yaml"
    origin = event_at if line.slice == HISTORY else slice_start(line.slice)
    if abs(start - origin) > TOO_FAR:
        return f"slice {target} is over {DUPLICATE_DAYS} days away, where a copy would not be noticed; choose a nearer one"
    return None


def _write_all(settings: Settings, good: dict[str, list[Line]], now: datetime, result: Replay) -> None:
    """Write one file a slice, atomically, unless it exists; then record its lines. A crash in between is harmless."""
    landing = find_landing(settings)
    for target, lines in good.items():
        texts = list(dict.fromkeys(line.text for line in lines))
        content = "".join(f"{text}\n" for text in texts).encode()
        folder = Path("history") if target == HISTORY else slice_folder(Path("clicks"), slice_start(target))
        path = folder / f"replay-{hashlib.sha256(content).hexdigest()[:16]}.jsonl"
        if landing.add(str(path), content):
            result.written.append((path, len(texts)))
        else:
            result.unchanged.append(path)
        note_replay(settings.place, [line.origin for line in lines if line.origin], target, path.name, now)
