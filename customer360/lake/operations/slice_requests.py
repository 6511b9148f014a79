"""The slices to run next, decided from folder listings, published slices and the runs of earlier requests. No I/O.

A request's key is ``slice:fingerprint:attempt``, so asking twice for the same thing is harmless: a crash between any two
steps leads to the same requests again. Contiguous slices are asked for together, at most a day in one run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from customer360.lake.landing.listing import ALWAYS_LISTED
from customer360.lake.slices import EPOCH, slice_key, slice_start

MAX_RANGE = 96
MAX_REQUESTS = 20
MAX_ATTEMPTS = 4
BACK_OFF = (timedelta(seconds=15), timedelta(minutes=1), timedelta(minutes=5))
# A killed process is no fault of its slice. A second kill may be for lack of memory.
BACK_OFF_KILLED = (timedelta(0), timedelta(seconds=15), timedelta(minutes=5))
RETRY_INTERVAL = timedelta(hours=1)
LOST_AFTER = timedelta(minutes=10)
SHOWN = 5
SETTLE_NS = 2_000_000_000


class RunState(StrEnum):
    """State of the run of a request."""

    WORKING = "working"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    KILLED = "killed"


@dataclass(frozen=True)
class PendingSlice:
    """A slice that is to be run for this fingerprint, and its last request if there was one."""

    fingerprint: str
    attempt: int = 0
    run_key: str | None = None
    changed_at: str | None = None


@dataclass(frozen=True)
class Cursor:
    """State of the sensor: the newest folder change seen (ns), the key of the newest slice compared, and pending slices.

    ``scanned`` is where the round through the older objects of a store goes on; see ``store_landing``.
    """

    watermark_ns: int = 0
    high: str | None = None
    pending: Mapping[str, PendingSlice] = field(default_factory=dict)
    scanned: str = ""

    def dumps(self) -> str:
        """As text, for the orchestrator's storage."""
        values = {key: asdict(value) for key, value in sorted(self.pending.items())}
        state = {"watermark_ns": self.watermark_ns, "high": self.high, "wanted": values}
        return json.dumps(state | ({"scanned": self.scanned} if self.scanned else {}))

    @classmethod
    def loads(cls, text: str | None) -> Cursor:
        """From text; nothing, or something unreadable, is a fresh start, which costs one full listing."""
        if not text:
            return cls()
        try:
            values = json.loads(text)
            pending = {key: PendingSlice(**value) for key, value in values["wanted"].items()}
            return cls(int(values["watermark_ns"]), values["high"], pending, values.get("scanned", ""))
        except (ValueError, KeyError, TypeError):
            return cls()


@dataclass(frozen=True)
class Request:
    """A run to ask for: slices ``first`` to ``last`` (keys), and whether a failing file is to be set aside."""

    run_key: str
    first: str
    last: str
    slices: int
    attempt: int

    @property
    def isolate(self) -> bool:
        """True from the last quick attempt on."""
        return self.attempt >= MAX_ATTEMPTS


@dataclass(frozen=True)
class Decision:
    """Requests to make now, the cursor to keep, and notes for people."""

    requests: list[Request]
    cursor: Cursor
    notes: list[str]


@dataclass(frozen=True)
class Inputs:
    """The inputs of a decision: folders, runs, published slices, and the clock.

    ``has_history``: something is published. Where no folder of clicks exists, the newest closed slice and those after it then
    run without files, so that a shop without clicks stays up to date.
    """

    folders: Callable[[], Iterable[tuple[datetime, int]]]
    fingerprint: Callable[[datetime], str]
    done: Callable[[], Mapping[str, str]]
    run_state: Callable[[str], RunState | None]
    last_closed: datetime | None
    slices_start: datetime
    width: timedelta
    now: datetime
    has_history: bool = False


def decide(cursor: Cursor, inputs: Inputs) -> Decision:
    """Look at the landing folders and decide what to request."""
    last_closed = inputs.last_closed
    if last_closed is None:
        return Decision([], cursor, ["no slice is closed yet"])
    inputs, misplaced = _only_slices(inputs)
    pending, watermark = _changed(cursor, inputs, last_closed)
    high = _open_closed_slices(cursor, inputs, last_closed, pending)
    waiting, notes = _due_attempts(pending, inputs)
    notes += misplaced
    requests = _group(waiting, inputs)
    for request in requests:
        for key in _keys(request, inputs.width):
            pending[key] = replace(
                pending[key], attempt=request.attempt, run_key=request.run_key, changed_at=inputs.now.isoformat()
            )
    return Decision(requests, Cursor(watermark, high, pending, cursor.scanned), notes)


def _only_slices(inputs: Inputs) -> tuple[Inputs, list[str]]:
    """The inputs with the slice folders of this shop only, and notes on other folders, which no run reads."""
    folders = list(inputs.folders())
    slices = [(start, modified) for start, modified in folders if not (start - EPOCH) % inputs.width]
    misplaced = [start for start, _ in folders if (start - EPOCH) % inputs.width]
    notes = [
        f"landing folder {start:%Y/%m/%d/%H%M} is no {inputs.width} slice: nobody reads it; move its files"
        for start in misplaced[:SHOWN]
    ]
    return replace(inputs, folders=lambda: slices), notes


def _changed(cursor: Cursor, inputs: Inputs, last_closed: datetime) -> tuple[dict[str, PendingSlice], int]:
    """Slices whose folder changed since the last look become pending under their new fingerprint."""
    pending = dict(cursor.pending)
    done: Mapping[str, str] | None = None
    watermark = cursor.watermark_ns
    recent = last_closed - ALWAYS_LISTED
    # A folder that changes while the look goes on, after it was looked at, is older than others seen later in the same look.
    began_ns = int(inputs.now.timestamp()) * 1_000_000_000
    for start, modified_ns in inputs.folders():
        watermark = max(watermark, min(modified_ns, began_ns))
        if start < inputs.slices_start or (modified_ns < cursor.watermark_ns - SETTLE_NS and start < recent):
            continue
        if start > last_closed:
            continue
        key = slice_key(start)
        fingerprint = inputs.fingerprint(start)
        if key in pending:
            if pending[key].fingerprint != fingerprint:
                pending[key] = PendingSlice(fingerprint)
            continue
        done = inputs.done() if done is None else done
        if done.get(key) != fingerprint:
            pending[key] = PendingSlice(fingerprint)
    return pending, watermark


def _open_closed_slices(cursor: Cursor, inputs: Inputs, last_closed: datetime, pending: dict[str, PendingSlice]) -> str | None:
    """Every closed slice after the newest considered one is pending, with files or without, so that gaps are visible."""
    if cursor.high is not None:
        start = slice_start(cursor.high) + inputs.width
    else:
        first = next((start for start, _ in inputs.folders() if start >= inputs.slices_start), None)
        if first is None and inputs.has_history:
            first = last_closed
        if first is None or first > last_closed:
            return None
        start = first
    done = inputs.done() if start <= last_closed else {}
    while start <= last_closed:
        key = slice_key(start)
        if key not in pending:
            fingerprint = inputs.fingerprint(start)
            if done.get(key) != fingerprint:
                pending[key] = PendingSlice(fingerprint)
        start += inputs.width
    return slice_key(max(last_closed, slice_start(cursor.high) if cursor.high else last_closed))


def _due_attempts(pending: dict[str, PendingSlice], inputs: Inputs) -> tuple[dict[str, int], list[str]]:
    """Drop published slices; return the attempt that each remaining slice is due for, and notes on the others."""
    due: dict[str, int] = {}
    notes: list[str] = []
    states: dict[str, RunState | None] = {}
    done = inputs.done() if pending else {}
    for key, entry in sorted(pending.items()):
        if entry.run_key is None:
            if done.get(key) == entry.fingerprint:
                del pending[key]
            else:
                due[key] = 1
            continue
        if entry.run_key not in states:
            states[entry.run_key] = inputs.run_state(entry.run_key)
        state = states[entry.run_key]
        has_failed = state in (RunState.FAILED, RunState.KILLED)
        was_run_by_hand = entry.attempt >= MAX_ATTEMPTS and done.get(key) == entry.fingerprint
        if state is RunState.SUCCEEDED or (has_failed and was_run_by_hand):
            del pending[key]
        elif has_failed and _age(entry, inputs) >= _pause(state, entry.attempt):
            due[key] = entry.attempt + 1
        elif has_failed:
            notes.append(_waiting(key, entry.attempt))
        elif state is None and _age(entry, inputs) > LOST_AFTER:
            due[key] = entry.attempt
    return due, notes


def _pause(state: RunState | None, attempt: int) -> timedelta:
    """The pauses grow, and retries never end, so that a run succeeds by itself once a full disk or database is repaired."""
    if attempt >= MAX_ATTEMPTS:
        return RETRY_INTERVAL
    return (BACK_OFF_KILLED if state is RunState.KILLED else BACK_OFF)[attempt - 1]


def _waiting(key: str, attempt: int) -> str:
    if attempt >= MAX_ATTEMPTS:
        return f"{key} failed {attempt} times and is tried again every hour; change its files, or run it by hand"
    return f"{key} failed, attempt {attempt + 1} of {MAX_ATTEMPTS} follows after a pause"


def _age(entry: PendingSlice, inputs: Inputs) -> timedelta:
    """Age of the request; the longest duration where its time lies in the future, since the clock was set back."""
    asked = datetime.fromisoformat(entry.changed_at) if entry.changed_at else datetime.min.replace(tzinfo=UTC)
    return inputs.now - asked if asked <= inputs.now else timedelta.max


def _group(due: Mapping[str, int], inputs: Inputs) -> list[Request]:
    """Contiguous slices with the same attempt, at most a day each, oldest first."""
    groups: list[list[str]] = []
    for key in sorted(due):
        last = groups[-1][-1] if groups else None
        follows = last is not None and slice_start(last) + inputs.width == slice_start(key) and due[last] == due[key]
        if follows and len(groups[-1]) < MAX_RANGE:
            groups[-1].append(key)
        else:
            groups.append([key])
    return [_request(group, due[group[0]], inputs) for group in groups[:MAX_REQUESTS]]


def _request(keys: list[str], attempt: int, inputs: Inputs) -> Request:
    fingerprints = [inputs.fingerprint(slice_start(key)) for key in keys]
    if len(keys) == 1:
        return Request(_unused(f"{keys[0]}:{fingerprints[0]}:{attempt}", inputs), keys[0], keys[0], 1, attempt)
    digest = hashlib.sha256("\n".join(fingerprints).encode()).hexdigest()[:16]
    return Request(_unused(f"{keys[0]}..{keys[-1]}:{digest}:{attempt}", inputs), keys[0], keys[-1], len(keys), attempt)


def _unused(run_key: str, inputs: Inputs) -> str:
    """The key, numbered when runs with it succeeded already: the files were these, then others, and now are these again.

    A key that was used is never run again.
    """
    numbered, number = run_key, 1
    while inputs.run_state(numbered) is RunState.SUCCEEDED:
        number += 1
        numbered = f"{run_key}:again-{number}"
    return numbered


def _keys(request: Request, width: timedelta) -> list[str]:
    first = slice_start(request.first)
    return [slice_key(first + n * width) for n in range(request.slices)]
