"""Quarantined lines: their entries, their numbers by reason, and which were sent back to landing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from customer360.lake.atomic import exclusive, replacing, write_text
from customer360.lake.engine import connect, file_list, file_literal, literal
from customer360.lake.raw.raw_clicks import PART
from customer360.lake.slices import naive
from customer360.settings import Place

HISTORY = "history"
REFERENCE, DECISIONS = "reference/", "offer_decisions/"
# Reasons begin with the value at fault; what follows is the same for all lines of a kind.
KIND = r"(?s)^.* (is (not|no|an|more|over|below) .*|lies .*)$"


@dataclass(frozen=True)
class Entry:
    """A quarantined line; ``slice`` is a slice's key, ``history``, ``reference/<table>`` or ``offer_decisions/<slice's key>``.

    Line 0, without text, stands for a whole file; line 0 with text is a row of PostgreSQL.
    """

    slice: str
    file: str
    line: int
    column: str
    reason: str
    text: str | None
    is_replayed: bool = False

    @property
    def is_of_broken_file(self) -> bool:
        """True for a file that was set aside whole, and for each of its readable lines."""
        return not self.column and self.reason.startswith("file ")

    @property
    def is_damaged(self) -> bool:
        """True where the line itself is unusable, so that no change of rules can help."""
        return not self.column and not self.is_of_broken_file

    @property
    def is_mended_at_its_source(self) -> bool:
        """True for a row of a reference table or a logged decision: it comes back once it is landed again, mended."""
        return self.slice.startswith((REFERENCE, DECISIONS))

    @property
    def name(self) -> str:
        """File and line, for messages."""
        return f"{self.slice} {self.file}" + (f" line {self.line}" if self.line else "")


@dataclass(frozen=True)
class Selection:
    """Which lines: of a slice (or ``history``), of a file, with this text in the reason; replayed ones only when asked for."""

    slice: str | None = None
    file: str | None = None
    reason: str | None = None
    replayed_too: bool = False


def quarantined_lines(place: Place, selection: Selection | None = None) -> list[Entry]:
    """The quarantined lines of a selection (default: all that were not replayed), by slice, file and line."""
    chosen = selection or Selection()
    rows = _query(
        place,
        "select slice, source_file, source_line, column_name, reason, raw_text, is_replayed from quarantined "
        "where slice = coalesce($slice, slice) and source_file = coalesce($file, source_file) and ($all or not is_replayed) "
        "and contains(lower(concat_ws(': ', nullif(column_name, ''), reason)), lower($reason)) "
        "order by slice, source_file, source_line",
        {"slice": chosen.slice, "file": chosen.file, "reason": chosen.reason or "", "all": chosen.replayed_too},
    )
    return [Entry(*row) for row in rows]


def quarantine_counts(place: Place) -> list[tuple[str, str, int, int]]:
    """By kind of reason: column, reason, lines and slices, the most frequent first; without those that were replayed."""
    return _query(
        place,
        "select column_name, regexp_replace(reason, $kind, '\\1'), count(*), count(distinct slice) from quarantined "
        "where not is_replayed group by all order by 3 desc, 1, 2",
        {"kind": KIND},
    )


def write_reference_quarantine(connection: duckdb.DuckDBPyConnection, place: Place, table: str, is_full: bool) -> int:
    """Keep the rows of the temporary table ``set_aside`` as the quarantine of a reference table; returns how many there are.

    Where only changed rows were read (not ``is_full``), earlier rows stay, unless they were read again.
    """
    target = place.quarantine / "reference" / table / PART
    connection.execute(
        "create or replace temp table quarantine_rows as select _file as source_file, coalesce(_row, 0) as source_line, "
        "_column as column_name, _reason as reason, _raw as raw_text from set_aside"
    )
    if not is_full and target.exists():
        connection.execute(
            f"insert into quarantine_rows from read_parquet({file_literal(target)}, hive_partitioning = false) as earlier "
            "where raw_text not in (select _raw from set_aside)"
        )
    (rows,) = connection.execute("select count(*) from quarantine_rows").fetchone() or (0,)
    if not rows:
        target.unlink(missing_ok=True)
        return 0
    with replacing(target) as temporary:
        connection.execute(
            "copy (from quarantine_rows order by source_file, source_line, reason) "
            f"to {literal(str(temporary))} (format parquet, compression zstd)"
        )
    return int(rows)


def reason_kind(reason: str) -> str:
    """A reason without the value at fault."""
    return re.sub(KIND, r"\1", reason)


def note_replay(place: Place, entries: Iterable[Entry], into: str, file: str, now: datetime) -> None:
    """Remember that these lines were sent back, in ``file`` of the slice ``into``."""
    identities = [_identity(entry.slice, entry.file, entry.line, entry.text) for entry in entries]
    record = {"at": naive(now).isoformat(), "into": into, "file": file, "lines": identities}
    ledger = _ledger(place)
    with exclusive(place.quarantine / ".lock"):
        past = ledger.read_text(encoding="utf-8") if ledger.exists() else ""
        write_text(ledger, past + json.dumps(record) + "\n")


def _ledger(place: Place) -> Path:
    """One JSON line a replay: when, where to, and which quarantined lines."""
    return place.quarantine / "replays.jsonl"


def _identity(slice_of_line: str, file: str, line: int, text: str | None) -> str:
    """The key of a quarantined line. It includes the text, since a file may be replaced by another of the same name."""
    return f"{slice_of_line} {file} {line} {hashlib.sha256((text or '').encode()).hexdigest()[:12]}"


def _replayed(place: Place) -> list[str]:
    path = _ledger(place)
    if not path.exists():
        return []
    return [name for record in path.read_text(encoding="utf-8").splitlines() for name in json.loads(record)["lines"]]


def _quarantine_files(place: Place) -> Iterable[Path]:
    yield from sorted(place.quarantine.glob(f"clicks/slice_key=*/{PART}"))
    yield from place.quarantine.glob(f"click_history/{PART}")
    yield from sorted(place.quarantine.glob(f"reference/*/{PART}"))
    yield from sorted(place.quarantine.glob(f"{DECISIONS}slice_key=*/{PART}"))


def _query(place: Place, query: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
    """Rows of ``query``, in which ``quarantined`` is all of the quarantine; no rows while there is none."""
    files = list(_quarantine_files(place))
    if not files:
        return []
    key = (
        rf"coalesce(nullif(regexp_replace(regexp_extract(filename, '({DECISIONS})?slice_key=[0-9:-]+/[^/]+$', 0), "
        r"'slice_key=|/[^/]+$', '', 'g'), ''), "
        r"nullif(regexp_extract(filename, '(reference/[a-z_]+)/[^/]+$', 1), ''), 'history')"
    )
    identity = "concat_ws(' ', slice, source_file, source_line, left(sha256(coalesce(raw_text, '')), 12))"
    with connect(place.scratch) as connection:
        connection.execute("create temp table replayed as select unnest(?::varchar[]) as identity", [_replayed(place)])
        connection.execute(
            f"""
            create temp view quarantined as
            select *, {identity} in (select identity from replayed) as is_replayed
            from (
                select {key} as slice, source_file, source_line, column_name, reason, raw_text
                from read_parquet({file_list(files)}, filename = true, hive_partitioning = false)
            )
            """
        )
        return connection.execute(query, values).fetchall()
