"""Landed files of decisions to raw slices: read, judged by the record's declaration, without copies.

Files are JSON lines (``log.encode``) in ``landing/offer_decisions/<arrival slice>/``, plain or ``.gz``. A raw slice is a pure
function of its files; In = good + quarantined + duplicates, always. A shop without such files pays one look at a folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from customer360.lake.atomic import replacing
from customer360.lake.disk import explaining_full_disk
from customer360.lake.landing.contracts import MAX_AGE_DAYS, MAX_FUTURE_HOURS
from customer360.lake.landing.listing import LandedFile, list_folder, slice_folders
from customer360.lake.landing.reading import LineStream
from customer360.lake.raw.raw_clicks import PART, SliceCounts
from customer360.lake.slices import EPOCH, naive, slice_folder, slice_key
from customer360.offers.log import LoggedDecision, decode
from customer360.settings import Settings

SOURCE = "offer_decisions"
LATE = timedelta(days=3)  # folders of so many days are looked at with every slice, all of them once a night
SUFFIXES = (".jsonl", ".jsonl.gz")
DECLARED = "customer360.offers.log declares the record; correct the writer, and land the line again"
MISSING = re.compile("Object missing required field `(.*)`")  # msgspec's message
_TEXT, _TEXTS, _NUMBERS = pa.string(), pa.list_(pa.string()), pa.list_(pa.float64())
_KINDS: dict[str, pa.DataType] = {
    **dict.fromkeys(("decided_at", "slice"), pa.timestamp("us")),
    **{"propensity": pa.float64(), "propensities": _NUMBERS, "store_version": pa.int64(), "source_line": pa.int64()},
    **dict.fromkeys(("candidates", "top_products", "session_products"), _TEXTS),
}
_LINEAGE = ("slice", "source_file", "source_line")
SCHEMA = pa.schema([(name, _KINDS.get(name, _TEXT)) for name in (*LoggedDecision.__struct_fields__, *_LINEAGE)])
QUARANTINE = pa.schema(
    [(name, _KINDS.get(name, _TEXT)) for name in ("source_file", "source_line", "column_name", "reason", "raw_text")]
)
NOTHING = SliceCounts(0, 0, 0, 0, 0)


@dataclass
class _Slice:
    """The lines of one arrival slice, sorted into good, quarantined and copies."""

    start: datetime
    end: datetime
    good: list[LoggedDecision] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)  # file and line of each good one
    quarantined: list[tuple[str, int, str, str, str | None]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    duplicates: int = 0

    def take(self, file: str, line: int, text: str) -> None:
        """Sort a line in; of equal ids the lowest file and line stays."""
        try:
            record = decode(text)
        except msgspec.DecodeError as error:  # also of a record that is none
            column, reason = _fault(error)
        else:
            column, reason = "decided_at", self._time_fault(record.decided_at)
            if not reason:
                if record.decision_id in self.seen:
                    self.duplicates += 1
                else:
                    self.seen.add(record.decision_id)
                    self.good.append(record)
                    self.places.append((file, line))
                return
        self.quarantined.append((file, line, column, reason, text))

    def _time_fault(self, at: datetime) -> str:
        if at > self.end + timedelta(hours=MAX_FUTURE_HOURS):
            return f"{at.isoformat()} is more than {MAX_FUTURE_HOURS} hour after the end of its slice; set the writer's clock"
        if at < self.start - timedelta(days=MAX_AGE_DAYS):
            return f"{at.isoformat()} is over {MAX_AGE_DAYS} days before its slice; nothing reads so old a decision: remove it"
        return ""

    def table(self) -> pa.Table:
        """The good ones as a raw slice holds them."""
        rows = [msgspec.structs.asdict(record) for record in self.good]
        for row, (file, line) in zip(rows, self.places, strict=True):
            row |= {"decided_at": naive(row["decided_at"]), "slice": naive(self.start)}
            row |= {"source_file": file, "source_line": line}
        return pa.Table.from_pylist(rows, schema=SCHEMA)


def raw_folder(raw: Path, start: datetime) -> Path:
    """Folder of a raw slice of decisions."""
    return raw / SOURCE / f"slice_key={slice_key(start)}"


def take_landed(settings: Settings, until: datetime, everything: bool = False) -> tuple[SliceCounts, list[datetime]]:
    """Make the raw slices whose folder changed since they were made; returns their counts, and their starts (UTC).

    ``until``: the start of the last slice that counts. Folders of the last ``LATE`` are looked at, or with ``everything`` all.
    """
    place, counts, changed = settings.place, NOTHING, []
    since = EPOCH if everything else until - LATE
    with explaining_full_disk(place.root):
        for start, modified_ns in slice_folders(place.landing, SOURCE, since):
            part = raw_folder(place.raw, start) / PART
            if start > until or (part.exists() and part.stat().st_mtime_ns == modified_ns):
                continue
            counts += _write_slice(settings, start, modified_ns)
            changed.append(start)
    return counts, changed


def _write_slice(settings: Settings, start: datetime, modified_ns: int) -> SliceCounts:
    """Make one raw slice. Its file has the time of the folder that it was made of (``modified_ns``)."""
    place = settings.place
    found = _Slice(start, start + settings.shop.slice_width)
    files = list_folder(slice_folder(place.landing / SOURCE, start)).files
    lines = 0
    for name, line, text, problem in _lines(files):
        lines += 1
        if problem:
            found.quarantined.append((name, line, "", problem, text or None))
        else:
            found.take(name, line, text)
    quarantine = place.quarantine / SOURCE / f"slice_key={slice_key(start)}" / PART
    if found.quarantined:
        rows = [dict(zip(QUARANTINE.names, row, strict=True)) for row in sorted(found.quarantined, key=lambda row: row[:2])]
        _write(quarantine, pa.Table.from_pylist(rows, schema=QUARANTINE))
    else:
        quarantine.unlink(missing_ok=True)
    part = raw_folder(place.raw, start) / PART
    _write(part, found.table(), modified_ns)
    return SliceCounts(len(files), lines, len(found.good), len(found.quarantined), found.duplicates)


def _lines(files: Sequence[LandedFile]) -> Iterator[tuple[str, int, str, str]]:
    """File, line, text and problem of every line that is not blank; a file that cannot be read is a line 0."""
    for file in files:
        obstacle = file.obstacle or ("" if file.name.endswith(SUFFIXES) else f"is of no known type: {' or '.join(SUFFIXES)}")
        if obstacle:
            yield file.name, 0, "", f"file {obstacle}"
            continue
        stream = LineStream([file], [0])
        for batch in stream.reader():
            _, numbers, texts, problems = (column.to_pylist() for column in batch.columns)
            for number, text, problem in zip(numbers, texts, problems, strict=True):
                if text is not None and number is not None and (problem or text.strip()):
                    yield file.name, number, text.rstrip("\r\n"), problem or ""
        if stream.broken:
            yield file.name, 0, "", f"file {stream.broken[0]}"


def _fault(error: msgspec.DecodeError) -> tuple[str, str]:
    """Column and reason of a line that is no record, by msgspec's message."""
    if not isinstance(error, msgspec.ValidationError):
        return "", "not valid JSON"
    message, _, path = str(error).partition(" - at ")
    name = path.strip("`").removeprefix("$").lstrip(".").split("[")[0]
    if missing := MISSING.fullmatch(message):
        return missing[1], f"is missing; {DECLARED}"
    first, _, remaining = message.partition(" ")
    if not name and first in LoggedDecision.__struct_fields__:  # a rule of more than one field: it names its column first
        return first, remaining
    return name, f"is not right: {message[:1].lower()}{message[1:]}; {DECLARED}"


def _write(target: Path, table: pa.Table, modified_ns: int | None = None) -> None:
    with replacing(target) as temporary:
        pq.write_table(table, temporary, compression="zstd")
        if modified_ns is not None:
            os.utime(temporary, ns=(modified_ns, modified_ns))


def read_paths(raw: Path, since: datetime) -> list[Path]:
    """The raw files of arrival slices from ``since`` (UTC) on, in the order of time."""
    first: Any = f"slice_key={slice_key(since)}"
    return sorted(path for path in (raw / SOURCE).glob(f"slice_key=*/{PART}") if path.parent.name >= first)
