"""Foreign event files to landing files, one source file at a time, with an account of every row.

A landing file is named for its format and for the content of its source, compressed or not: converting a file again, for
example with other rules, replaces its landing files. Rows that cannot be read go to ``quarantine/adapters`` with line
and reason; clicks are judged by the contract when their slice runs.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from customer360.adapters.formats import ConversionError, Row, outcomes, reading
from customer360.adapters.rows import Click, RowError, Skip, with_canonical_ids
from customer360.lake.atomic import TEMPORARY_PREFIX, replacing
from customer360.lake.landing.contracts import MAX_FUTURE_HOURS
from customer360.lake.slices import floor_to_slice, slice_folder, slice_key
from customer360.settings import Place, Settings, Shop

HISTORY = Path("history")
REJECTS = Path("rejects")
SPOOLED_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
KEPT_REJECTS = 10
ANONYMOUS = "neither customer nor visitor"  # consent denied, or a tracker in anonymous mode


class Into(StrEnum):
    """Which slice clicks go to: the one in which their file is converted, or the one in which they happened."""

    NOW = "now"
    EVENT_TIME = "event-time"


@dataclass
class Converted:
    """Counts of a converted file: every row was used, skipped or rejected; a used row gives one click or more."""

    source: Path
    rows: int = 0
    used: int = 0
    clicks: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    first_rejects: list[str] = field(default_factory=list)
    rejects_file: Path | None = None
    written: list[Path] = field(default_factory=list)
    unchanged: list[Path] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)


def convert(
    settings: Settings, name: str, source: Path, *, into: Into | datetime, now: datetime, environment: dict[str, str]
) -> Converted:
    """Convert a file of the format ``name`` (see ``formats.FORMATS``), compressed where it ends in ``.gz``, into landing files.

    Clicks go into one slice, given by its start or by ``now`` (the wall clock, UTC), or by event time; then those from before
    ``slices_start`` go to ``history/``. Lines written by ``Into.NOW`` stay in their slice when the file is converted again.
    Raises ``ConversionError`` where the file is damaged or of another format, or where the slice never comes.
    """
    place = settings.place
    target = f"{name}-{_content_hash(source)}.jsonl"
    there = _landed(place, target)
    folder_of = _folders(settings, into, now, there)
    done = Converted(source)
    place.root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=place.root) as scratch:
        spool = _Spool(Path(scratch))
        with closing(outcomes(name, settings, environment, source)) as rows:
            for number, row, outcome in rows:
                done.rows += 1
                try:
                    _add(done, spool, outcome, folder_of)
                except RowError as error:
                    _reject(done, spool, number, row, error)
        if done.rejected and done.rejected == done.rows:
            raise ConversionError(f"{source} has no row in the format {name}; {done.first_rejects[0]}")
        _publish(place, spool.files(), target, done)
    for stale in there:
        if stale not in (*done.written, *done.unchanged):
            stale.unlink()
            done.removed.append(stale)
    return done


@dataclass
class _Spool:
    """Lines by the folder that they are for, on disk where they are many."""

    scratch: Path
    waiting: dict[Path, list[bytes]] = field(default_factory=dict)
    size: int = 0

    def add(self, folder: Path, values: dict[str, object]) -> None:
        line = json.dumps(values, default=_json).encode() + b"\n"
        self.waiting.setdefault(folder, []).append(line)
        self.size += len(line)
        if self.size > SPOOLED_BYTES:
            self._flush()

    def files(self) -> dict[Path, Path]:
        """The file of each folder."""
        self._flush()
        return {path.parent.relative_to(self.scratch): path for path in sorted(self.scratch.rglob("lines"))}

    def _flush(self) -> None:
        for folder, lines in self.waiting.items():
            (self.scratch / folder).mkdir(parents=True, exist_ok=True)
            with (self.scratch / folder / "lines").open("ab") as stream:
                stream.writelines(lines)
        self.waiting, self.size = {}, 0


def _json(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(f"{value!r} has no place in a click")


def _add(done: Converted, spool: _Spool, outcome: list[Click] | Skip | RowError, folder_of: Callable[[Click], Path]) -> None:
    if isinstance(outcome, RowError):
        raise outcome
    if isinstance(outcome, Skip):
        done.skipped[outcome.reason] += 1
        return
    clicks = [with_canonical_ids(click) for click in outcome]
    if all(_is_anonymous(click) for click in clicks):
        done.skipped[ANONYMOUS] += 1
        return
    for folder, click in [(folder_of(click), click) for click in clicks]:
        spool.add(folder, {column: value for column, value in click.items() if value not in (None, "")})
    done.used += 1
    done.clicks += len(outcome)


def _is_anonymous(click: Click) -> bool:
    """Whether it has neither customer nor visitor. Sales are kept: the contract quarantines them, which keeps their amounts."""
    return not click.get("customer_id") and not click.get("visitor_id") and click.get("event_name") != "purchase"


def _reject(done: Converted, spool: _Spool, number: int, row: Row, error: RowError) -> None:
    done.rejected += 1
    if len(done.first_rejects) < KEPT_REJECTS:
        done.first_rejects.append(f"line {number}: {error}"[:300])
    spool.add(REJECTS, {"file": done.source.name, "line": number, "reason": f"{error}", "row": row})


def _publish(place: Place, spooled: dict[Path, Path], target: str, done: Converted) -> None:
    """Write the landing files, by rename. A file with the same content keeps its modification time."""
    rejects = place.quarantine / "adapters" / target
    for folder, lines in spooled.items():
        path = rejects if folder == REJECTS else place.landing / folder / target
        is_same = path.exists() and filecmp.cmp(lines, path, shallow=False)
        if not is_same:
            with replacing(path) as temporary:
                shutil.copyfile(lines, temporary)
        if folder != REJECTS:
            (done.unchanged if is_same else done.written).append(path)
    if REJECTS in spooled:
        done.rejects_file = rejects
    else:
        rejects.unlink(missing_ok=True)


def _content_hash(source: Path) -> str:
    digest = hashlib.sha256()
    with reading(source) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()[:16]


def _landed(place: Place, target: str) -> list[Path]:
    """The landing files of an earlier conversion of the same source."""
    found = [*(place.landing / "clicks").glob(f"*/*/*/*/{target}"), place.landing / HISTORY / target]
    return [path for path in found if path.exists()]


def _folders(settings: Settings, into: Into | datetime, now: datetime, there: list[Path]) -> Callable[[Click], Path]:
    """Which folder of landing a click goes to. Raises ``ConversionError`` for a slice that is never run."""
    shop = settings.shop
    if into == Into.EVENT_TIME:
        return lambda click: _folder_of_event(shop, click["event_at"], now)
    if isinstance(into, datetime):
        start = into
    elif len(there) == 1:
        folder = there[0].parent.relative_to(settings.place.landing)
        return lambda _: folder
    else:
        start = floor_to_slice(now, shop.slice_width)
    _require_slice(shop, start, now)
    return lambda _: slice_folder(Path("clicks"), start)


def _folder_of_event(shop: Shop, event_at: datetime, now: datetime) -> Path:
    if event_at < shop.slices_start:
        return HISTORY
    if shop.slices_end is not None and event_at >= shop.slices_end:
        raise RowError(f"event_at: {event_at} lies after slices_end of shop.yaml")
    if shop.live and event_at > now + timedelta(hours=MAX_FUTURE_HOURS):
        raise RowError(f"event_at: {event_at} lies in the future")
    return slice_folder(Path("clicks"), floor_to_slice(event_at, shop.slice_width))


def _require_slice(shop: Shop, start: datetime, now: datetime) -> None:
    key = slice_key(start)
    if floor_to_slice(start, shop.slice_width) != start:
        raise ConversionError(f"{key} is not the start of a {shop.slice_minutes}-minute slice")
    if start < shop.slices_start or (shop.slices_end is not None and start >= shop.slices_end):
        raise ConversionError(f"slice {key} is never run: it lies outside slices_start and slices_end of shop.yaml")
    if start > now:
        raise ConversionError(f"slice {key} lies in the future")
