"""``customer360 status``: published data, waiting slices and problems, from published files and listings. It blocks no run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import duckdb
from rich.filesize import decimal

from customer360.lake.landing.location import find_landing
from customer360.lake.object_store import StoreError
from customer360.lake.operations.clock import last_closed_slice
from customer360.lake.operations.slice_health import Freshness, done_slices, freshness
from customer360.lake.publishing.copies import Copied, last_copied
from customer360.lake.publishing.postgres_publishing import POSTGRES
from customer360.lake.publishing.store_publishing import STORE
from customer360.lake.publishing.version import Publication, current_folder, current_publication, open_version
from customer360.lake.raw.quarantine import quarantine_counts
from customer360.lake.slices import slice_key
from customer360.lake.warehouse.warehouse import is_locked, lock_holder
from customer360.services.alerts import Incident, open_incidents
from customer360.settings import Place, Settings
from customer360.text import many

SHOWN_SLICES = 8
SHOWN_REASONS = 6
UNDER_WAY = timedelta(minutes=5)  # a live slice is behind this long after its close: its run takes time
CRITICAL_SLICES = 5  # as many as the check last_slice_is_fresh calls an error
LEAST_FREE_BYTES = 100_000_000
WARNING_FACTOR = 10
SLICE_COLUMNS = ("slice", "source", "files", "lines", "good", "quarantined", "duplicates", "repeats", "repaired_at")


@dataclass(frozen=True)
class Waiting:
    """Keys of landed slices that are not published as they are now, oldest first: closed ones, and those that may grow."""

    closed: list[str]
    open: list[str]


class State(StrEnum):
    """State of the shop: that of the worst problem; a known problem counts more than an unknown state."""

    HEALTHY = "healthy"
    UNKNOWN = "unknown"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class StatusProblem:
    """A problem; ``code`` is behind, failing, disk_space, foreign_process, store or unpublished."""

    code: str
    state: State
    message: str


@dataclass(frozen=True)
class Holder:
    """A process with the warehouse's lock or file. ``is_foreign``: it took the file without the lock, as runs never do."""

    description: str
    process: int | None = None
    since: str | None = None
    is_foreign: bool = False


@dataclass(frozen=True)
class Status:
    """The facts that ``status`` prints. Times are UTC; ``last_slices`` are rows of ``SLICE_COLUMNS``, the newest first.

    Where landing is in a store that cannot be listed, ``landing_problem`` says why, and what depends on it is missing.
    """

    publication: Publication | None
    freshness: Freshness | None
    last_slices: list[tuple[Any, ...]]
    history: tuple[int, int] | None
    waiting: Waiting
    landing_problem: str
    copies: dict[str, Copied | None]
    holder: Holder | None
    waiting_run: Holder | None
    incidents: list[Incident]
    quarantine: list[tuple[str, str, int, int]]
    champions: dict[str, str]
    newest_plan: Path | None
    newest_drift_report: Path | None
    disk_bytes: dict[str, int]
    free_bytes: int
    needed_bytes: int
    problems: list[StatusProblem] = field(default_factory=list)

    @property
    def state(self) -> State:
        """The worst of all problems."""
        return max((problem.state for problem in self.problems), key=list(State).index, default=State.HEALTHY)


def read_status(settings: Settings, now: datetime) -> Status:
    """The state of a shop's data at ``now`` (wall clock, UTC). Works before anything exists and while a run goes on."""
    place = settings.place
    last_slices, history = _slice_log(place)
    plans, reports = sorted(place.plans.glob("*/campaign_plan.parquet")), sorted((place.reports / "drift").glob("*.html"))
    health, waiting, problem = _landed(settings, now)
    existing = next(path for path in (place.root, *place.root.parents) if path.exists())
    holder, waiting_run = read_holders(place)
    sizes = _disk_use(place.root)
    status = Status(
        publication=current_publication(place),
        freshness=health,
        last_slices=last_slices,
        history=history,
        waiting=waiting,
        landing_problem=problem,
        copies={name: last_copied(place, name) for name in (STORE, POSTGRES)},
        holder=holder,
        waiting_run=waiting_run,
        incidents=open_incidents(place),
        quarantine=quarantine_counts(place),
        champions={path.parent.name: path.read_text(encoding="utf-8").strip() for path in place.models.glob("*/champion")},
        newest_plan=plans[-1] if plans else None,
        newest_drift_report=reports[-1] if reports else None,
        disk_bytes=sizes,
        free_bytes=shutil.disk_usage(existing).free,
        needed_bytes=max(LEAST_FREE_BYTES, _size(current_folder(place).resolve()), sizes.get(place.warehouse.name, 0)),
    )
    return replace(status, problems=[*_problems(settings, status, now)])


def _problems(settings: Settings, status: Status, now: datetime) -> Iterator[StatusProblem]:
    for incident in status.incidents:
        subject = f"{incident.job}{f' for {incident.partition}' if incident.partition else ''}"
        yield StatusProblem(
            "failing", State.CRITICAL, f"{subject} has failed since {incident.since}: {incident.message}; {incident.runbook}"
        )
    if status.free_bytes < WARNING_FACTOR * status.needed_bytes:
        state = State.CRITICAL if status.free_bytes < status.needed_bytes else State.WARNING
        need = f"{decimal(status.free_bytes)} free, a run may need {decimal(status.needed_bytes)}"
        yield StatusProblem("disk_space", state, f"{need}; docs/runbook.md#disk-full")
    if status.holder is not None and status.holder.is_foreign:
        state = State.CRITICAL if status.waiting_run else State.WARNING
        message = f"{status.holder.description} has opened warehouse.duckdb and is no run; docs/runbook.md#stuck-lock"
        yield StatusProblem("foreign_process", state, message)
    if status.landing_problem:
        yield StatusProblem("store", State.UNKNOWN, f"what waits is not known: {status.landing_problem}")
    if status.publication is None:
        yield StatusProblem("unpublished", State.UNKNOWN, "nothing is published yet")
    elif not status.landing_problem or settings.shop.live:
        missing = freshness(settings, now - UNDER_WAY).missing_slices
        if missing:
            state = State.CRITICAL if missing >= CRITICAL_SLICES else State.WARNING
            yield StatusProblem(
                "behind", state, f"{many(missing, 'closed slice')} behind; docs/runbook.md#stale-published-data"
            )


def _slice_log(place: Place) -> tuple[list[tuple[Any, ...]], tuple[int, int] | None]:
    """The last slices, and slices and good lines of the history."""
    try:
        with open_version(place) as version:
            columns = ", ".join(SLICE_COLUMNS)
            last = version.connection.execute(
                f"select {columns} from slice_log where source = 'clicks' order by slice desc limit {SHOWN_SLICES}"
            ).fetchall()
            past = version.connection.execute(
                "select count(*), coalesce(sum(good), 0) from slice_log where source = 'click_history'"
            ).fetchone() or (0, 0)
    except (FileNotFoundError, duckdb.CatalogException):
        return [], None
    return last, past if past[0] else None


def _landed(settings: Settings, now: datetime) -> tuple[Freshness | None, Waiting, str]:
    """The part that depends on landing, and why it is unknown, if so. A live shop's freshness depends on the clock alone."""
    health = None
    try:
        health = freshness(settings, now)
        return health, _waiting(settings, now), ""
    except StoreError as error:
        return health, Waiting([], []), str(error)


def _waiting(settings: Settings, now: datetime) -> Waiting:
    last_closed, done = last_closed_slice(settings, now), done_slices(settings)
    waiting = Waiting([], [])
    for start, listing in find_landing(settings).slices():
        if start >= settings.shop.slices_start and listing.fingerprint != done.get(slice_key(start)):
            is_closed = last_closed is not None and start <= last_closed
            (waiting.closed if is_closed else waiting.open).append(slice_key(start))
    return waiting


def read_holders(place: Place) -> tuple[Holder | None, Holder | None]:
    """Who holds the warehouse, and the run that waits for it where that is a foreign process."""
    noted = _noted_holder(place) if is_locked(place) else None
    process = file_lock_process(place.warehouse)
    if process is None or (noted is not None and noted.process in (process, None)):
        return noted, None
    return Holder(f"process {process}, {_command(process)}", process, is_foreign=True), noted


def _noted_holder(place: Place) -> Holder:
    """The lock's note; as it is where it cannot be read."""
    text = lock_holder(place)
    try:
        note = json.loads(text)
        description = f"{note['holder']} (process {note['process']}, since {note['since']})"
        return Holder(description, int(note["process"]), str(note["since"]))
    except (ValueError, KeyError, TypeError):
        return Holder(text)


def file_lock_process(file: Path) -> int | None:
    """The process that has a POSIX lock on ``file``, as DuckDB takes it on a database; None without one, and beyond Linux."""
    locks = Path("/proc/locks")
    if not file.exists() or not locks.exists():
        return None
    found = file.stat()
    identity = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in locks.read_text(encoding="ascii").splitlines():
        fields = line.split()
        if fields[1] == "POSIX" and fields[5] == identity and int(fields[4]) > 0:
            return int(fields[4])
    return None


def _command(process: int) -> str:
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return "of another user"
    return command if len(command) <= 80 else f"{command[:80]}..."


def _disk_use(root: Path) -> dict[str, int]:
    """Bytes of every entry of the data folder, the largest first."""
    entries = list(root.iterdir()) if root.is_dir() else []
    sizes = {entry.name: _size(entry) for entry in entries if not entry.is_symlink()}
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def _size(path: Path) -> int:
    files = [path] if path.is_file() else (Path(root) / name for root, _, names in os.walk(path) for name in names)
    sizes = {}  # by inode: versions share the files of tables that did not change
    for file in files:
        with suppress(FileNotFoundError):  # a temporary file of a run that goes on
            found = file.lstat()
            sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values())


def status_lines(settings: Settings, status: Status, now: datetime) -> Iterator[str]:
    """The status as text: the state in the first line, which monitors show, and then the facts."""
    shop = settings.shop
    first = f": {status.problems[0].message}" if len(status.problems) == 1 else ""
    yield f"state      {status.state}{first}"
    if len(status.problems) > 1:
        yield from (f"           {problem.state}: {problem.message}" for problem in status.problems)
    yield f"shop       {shop.name}: {shop.title} ({shop.currency}, {shop.time_zone}), {settings.shop_folder / 'shop.yaml'}"
    yield f"data       {settings.place.root}"
    if shop.landing_url:
        yield f"landing    {shop.landing_url}"
    yield f"slices     {shop.slice_minutes} minutes, {'live' if shop.live else 'a replay'}, from {_utc(shop.slices_start)}"
    yield from _published_lines(settings, status, now)
    yield from _waiting_lines(status.waiting, status.landing_problem)
    yield f"warehouse  {f'held by {status.holder.description}' if status.holder else 'free'}"
    if status.waiting_run:
        yield f"           waited for by {status.waiting_run.description}"
    yield from _quarantine_lines(status)
    models = ", ".join(f"{name} {version}" for name, version in sorted(status.champions.items()))
    yield f"champion   {models or 'none yet; training_job makes one'}"
    yield f"plan       {_relative(settings, status.newest_plan) or 'none yet; daily_job makes one'}"
    yield f"drift      {_relative(settings, status.newest_drift_report) or 'no report yet; daily_job makes one'}"
    used = ", ".join(f"{name} {decimal(size)}" for name, size in list(status.disk_bytes.items())[:6] if size)
    yield f"disk       {decimal(sum(status.disk_bytes.values()))} used{f' ({used})' if used else ''}"
    yield f"           {decimal(status.free_bytes)} free"


def _published_lines(settings: Settings, status: Status, now: datetime) -> Iterator[str]:
    publication = status.publication
    if publication is None:
        yield "published  nothing yet; customer360 start loads what is in landing, trains and plans (docs/first-day.md)"
        return
    age = f"published {_age(now - publication.published_at)} ago"
    yield f"published  version {publication.version} as of {_utc(publication.as_of)}, {age}"
    yield f"           {_behind(status.freshness)}; {current_folder(settings.place)}"
    yield from _copy_lines(settings, status)
    if status.history is not None:
        yield f"history    {many(status.history[0], 'slice')}, {many(status.history[1], 'good line')}"
    if status.last_slices:
        yield ""
        yield f"{'last slices':<17}{'files':>6}{'lines':>10}{'good':>10}{'quarantined':>13}{'duplicates':>12}{'repeats':>9}"
        for start, _, files, lines, good, quarantined, duplicates, repeats, repaired_at in status.last_slices:
            numbers = f"{files or 0:>6,}{lines:>10,}{good:>10,}{quarantined:>13,}{duplicates:>12,}{repeats or 0:>9,}"
            repaired = f"  repaired {_utc(repaired_at)[5:16]}" if repaired_at else ""
            yield f"{start:%Y-%m-%d-%H:%M} {numbers}{repaired}"
        yield ""


def _behind(health: Freshness | None) -> str:
    if health is None:
        return "not known whether it is up to date"
    return f"{many(health.missing_slices, 'closed slice')} behind" if health.missing_slices else "up to date"


def _copy_lines(settings: Settings, status: Status) -> Iterator[str]:
    """Which version the readers of the store and of PostgreSQL have, as far as this place knows: without asking those."""
    storage, publish_to, publication = settings.shop.object_storage, settings.shop.publish_to, status.publication
    if publication is None:
        return
    copies = [(STORE, storage.publish, "store_is_up_to_date")] if storage and storage.publish else []
    if publish_to:
        copies.append((POSTGRES, f"schema {publish_to.postgres.db_schema}", "postgres_is_up_to_date"))
    for name, where, check in copies:
        copied = status.copies[name]
        title = f"in {name}"
        if copied is None:
            yield f"{title:<10} nothing yet; {where}"
        elif copied.version == publication.version:
            yield f"{title:<10} version {copied.version}; {where}"
        else:
            yield f"{title:<10} version {copied.version}, published {_utc(copied.published_at)}; {where}"
            yield f"           behind: the check {check} of publishing/in_{name} says why"


def _waiting_lines(waiting: Waiting, problem: str) -> Iterator[str]:
    if problem:
        yield f"waiting    not known: {problem}"
        return
    if waiting.closed:
        span = waiting.closed[0] if len(waiting.closed) == 1 else f"{waiting.closed[0]} to {waiting.closed[-1]}"
        yield f"waiting    {many(len(waiting.closed), 'closed slice')} with new files: {span}"
    else:
        yield "waiting    no closed slice has new files"
    if waiting.open:
        yield f"           {many(len(waiting.open), 'open slice')} with files so far: {', '.join(waiting.open[:3])}"


def _quarantine_lines(status: Status) -> Iterator[str]:
    total = sum(lines for _, _, lines, _ in status.quarantine)
    yield f"quarantine {many(total, 'line')}{'; see customer360 quarantine list' if total else ''}"
    for column, reason, lines, slices in status.quarantine[:SHOWN_REASONS]:
        text = f"{column}: {reason}" if column else reason
        yield f"           {lines:>8,} in {many(slices, 'slice')}  {text}"


def _relative(settings: Settings, path: Path | None) -> str:
    return path.relative_to(settings.place.root).as_posix() if path else ""


def _utc(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "no slice yet"


def _age(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 2880 else f"{minutes // 1440} days"
