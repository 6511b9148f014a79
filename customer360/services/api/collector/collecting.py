"""Events of one request: judged one by one, on disk together, then counted in the visitor's session."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from prometheus_client import Counter, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector as MetricCollector

from customer360.adapters.rows import Click, RowError, Skip
from customer360.lake.object_store import StoreError
from customer360.lake.operations.clock import shop_now
from customer360.services.api.collector.contract import Arrived, EventError, checked, line_of
from customer360.services.api.problems import Problem
from customer360.services.session_memory import SessionEvent, SessionMemory
from customer360.services.spool import CLICKS, Spool, SpoolFullError, recover_spools, spool_folder, spooled_bytes
from customer360.settings import Settings

EVENTS = Counter("customer360_api_events", "Events by protocol: accepted, refused, skipped", ["protocol", "outcome"])
RETRY_SECONDS = 5  # where the spool takes nothing
CLOCK_SECONDS = 1.0  # for which a look at a replayed shop's newest slice counts
REMEMBERED = ("product_id", "category_id", "offer_id", "referrer", "device", "page_url", "session_id")

Ids = Callable[[str | None, str | None], tuple[str | None, str | None]]  # of visitor and customer: whom an event may be of
Reading = Callable[[], list[Click] | Skip]  # the clicks of one event; raises RowError or EventError


class Refusal(msgspec.Struct, frozen=True):
    """An event that was not taken: its place in the request from 0 on, the field, and what to send instead."""

    index: int
    field: str
    remedy: str


class Collected(msgspec.Struct, frozen=True):
    """How many events are on disk, and which were refused. What is no activity, such as a page ping, is in neither."""

    accepted: int
    refused: list[Refusal]


class ShopClock:
    """The shop's time: the wall clock, or in a replay the newest landed slice and how long it has been that.

    All processes of a place agree on when a slice was first seen: whoever sees it first makes a file that dates it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slice: datetime | None = None
        self._since = 0.0
        self._looked = -CLOCK_SECONDS
        self._longest = settings.shop.slice_width.total_seconds() - 1  # an event of the newest slice is in it

    def now(self) -> datetime:
        """UTC."""
        if self._settings.shop.live:
            return datetime.now(UTC)
        monotonic = time.monotonic()
        if self._slice is None or monotonic >= self._looked + CLOCK_SECONDS:
            newest = self._newest()
            if newest != self._slice:
                self._slice, self._since = newest, _first_seen(Path(self._settings.place.serving) / "clock", newest)
            self._looked = time.monotonic()
        passed = time.time() - self._since
        return self._slice + timedelta(seconds=0 if passed < 0 else self._longest if passed > self._longest else passed)

    def _newest(self) -> datetime:
        """The newest slice; while the store of landing is away, the last one seen. Raises ``Problem`` 503 without one."""
        try:
            return shop_now(self._settings, datetime.now(UTC))
        except StoreError as error:
            if self._slice is None:
                detail = "The object store of landing does not answer."
                raise Problem(503, "no-clock", "The shop's time is not known", detail, {"Retry-After": "10"}) from error
            return self._slice


def _first_seen(folder: Path, start: datetime) -> float:
    """When a process first saw that a slice is the newest (seconds since 1970): the date of an empty file of its name."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{start:%Y%m%dT%H%M%SZ}"
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o640))  # one that is there keeps its date
    for older in sorted(folder.iterdir())[:-2]:  # another process may still look at the one before
        if older != file:  # landing may have been rewound: later slices were seen before
            older.unlink(missing_ok=True)
    return file.stat().st_mtime


class SpoolSizes(MetricCollector):
    """Bytes in the spool of each source, of all processes, for Prometheus."""

    def __init__(self, settings: Settings) -> None:
        self._folder = spool_folder(settings, "")

    def collect(self) -> Iterable[Metric]:
        """One gauge, by source."""
        sizes = GaugeMetricFamily(
            "customer360_api_spool_bytes", "Bytes that wait for the end of their slice", labels=["source"]
        )
        for folder in sorted(self._folder.glob("*/")):
            sizes.add_metric([folder.name], spooled_bytes(folder))
        yield sizes


class Collector:
    """What the events of one process pass through. What earlier processes left in the spools is moved first."""

    def __init__(self, settings: Settings, sessions: SessionMemory, clock: ShopClock, free_bytes: int) -> None:
        self.clock = clock
        self.spool_sizes = SpoolSizes(settings)
        self._spool = Spool(settings, CLICKS, free_bytes=free_bytes)
        self._currency = settings.shop.currency
        self._sessions = sessions
        recover_spools(settings)

    async def collect(self, protocol: str, readings: Iterable[Reading], ids: Ids, arrived_at: datetime) -> Collected:
        """Take the events that fit the contract; they are on disk on return. Raises ``Problem`` 503 where the spool is full."""
        arrived = Arrived(arrived_at, self._currency)
        taken: list[Click] = []
        lines: list[bytes] = []
        refused: list[Refusal] = []
        accepted = skipped = 0
        for index, reading in enumerate(readings):
            try:
                clicks = _clicks(reading, ids, arrived)
                if clicks is None:
                    skipped += 1
                    continue
                lines += [line_of(click) for click in clicks]
            except (EventError, RowError) as error:
                refused.append(_refusal(index, error))
                continue
            taken += clicks
            accepted += 1
        if lines:
            await self._append(lines)
            self._remember(taken)
        for outcome, count in (("accepted", accepted), ("refused", len(refused)), ("skipped", skipped)):
            if count:
                EVENTS.labels(protocol, outcome).inc(count)
        return Collected(accepted, refused)

    async def note(self, events: Iterable[Click]) -> None:
        """Take events of the program itself, now by the shop's clock; they are of no session. Raises ``Problem`` 503."""
        arrived = Arrived(self.clock.now(), self._currency)
        await self._append([line_of(checked({**event, "event_at": arrived.at}, arrived)) for event in events])

    async def _append(self, lines: list[bytes]) -> None:
        try:
            await self._spool.append(lines)
        except SpoolFullError as error:
            retry = {"Retry-After": f"{RETRY_SECONDS}"}
            detail = "None of the events was taken. Send all of them again."
            raise Problem(503, "spool-full", "Events cannot be taken now", detail, retry) from error

    def _remember(self, clicks: list[Click]) -> None:
        visitors: dict[tuple[str | None, str | None], list[SessionEvent]] = {}
        for click in clicks:
            event = SessionEvent(
                click["event_name"], click["event_at"].timestamp(), *(click.get(column) for column in REMEMBERED)
            )
            visitors.setdefault((click.get("visitor_id"), click.get("customer_id")), []).append(event)
        for (visitor_id, customer_id), events in visitors.items():
            self._sessions.remember(visitor_id, customer_id, events, time.time())


def _clicks(reading: Reading, ids: Ids, arrived: Arrived) -> list[Click] | None:
    """The clicks of an event by the contract; None where it is skipped. Raises ``EventError`` or ``RowError``."""
    found = reading()
    if isinstance(found, Skip):
        return None
    clicks = []
    for click in found:
        visitor_id, customer_id = ids(click.get("visitor_id"), click.get("customer_id"))
        clicks.append(checked({**click, "visitor_id": visitor_id, "customer_id": customer_id}, arrived))
    return clicks


def _refusal(index: int, error: EventError | RowError) -> Refusal:
    """Field and remedy of an error; the value that an adapter's message quotes before ``is`` is left out."""
    if isinstance(error, EventError):
        return Refusal(index, error.field, error.remedy)
    field, _, text = str(error).partition(": ")
    remedy = re.sub(r"^.* is (?=not |no )", "is ", text, flags=re.DOTALL)
    return Refusal(index, field, remedy if text else str(error))
