"""What visitors did in their current session, a moment after it happened, for all worker processes of a machine.

An LMDB environment that nothing syncs to the disk: a transaction of one process is seen by the others at once, and what was
written before a ``kill -9`` stays. After a reboot, when pages may be missing, the memory begins anew. It holds what may be
forgotten: a session ends after ``INACTIVITY_SECONDS``, its events come into the published version by their slices, and beyond
``MOST_SESSIONS`` the ones that were idle for longest go.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb
import msgspec

from customer360.settings import Place

if TYPE_CHECKING:
    from lmdb import _Database as Database

INACTIVITY_SECONDS = 30 * 60
MOST_SESSIONS = 100_000
MOST_EVENTS, MOST_BYTES = 50, 8_192  # of a session: older events go; with all sessions that large the file takes 1.2 GB
EXPIRED_AT_ONCE = 32  # sessions that a transaction removes at most: more than it adds
MAP_SIZE = 2 << 30  # of address space; the file grows with its content
SESSIONS, CUSTOMERS, IDLE = DATABASES = (b"sessions", b"customers", b"idle")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # of Linux alone; elsewhere the memory outlives a reboot
_TIME = struct.Struct(">Q")
_log = logging.getLogger(__name__)


class SessionEvent(msgspec.Struct, array_like=True, frozen=True):
    """An event by the names of the click contract. ``event_at``: seconds since 1970 (UTC)."""

    event_name: str
    event_at: float
    product_id: str | None = None
    category_id: str | None = None
    offer_id: str | None = None
    referrer: str | None = None
    device: str | None = None
    page_url: str | None = None
    session_id: str | None = None


class Session(msgspec.Struct, array_like=True, frozen=True):
    """The newest ``MOST_EVENTS`` events, the oldest first, and the session's ``first`` one. Only that has a referrer and such.

    ``last_at``: when its last event arrived, seconds since 1970 (UTC).
    """

    visitor_id: str | None
    customer_id: str | None
    last_at: float
    first: SessionEvent
    events: list[SessionEvent]


NOTHING = dict.fromkeys(("referrer", "device", "page_url", "session_id"))  # in all events but the first
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Session).decode


def session_folder(place: Place) -> Path:
    """Where the sessions of a place are kept while the machine runs."""
    return Path(place.serving) / "sessions"


class SessionMemory:
    """The sessions of a folder, for one process and one thread at a time. Nothing is opened before the first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment: lmdb.Environment | None = None
        self._sessions: Database
        self._customers: Database
        self._idle: Database

    def remember(self, visitor_id: str | None, customer_id: str | None, events: Sequence[SessionEvent], now: float) -> None:
        """Add events that arrived ``now`` (seconds since 1970) to the session of a visitor, or of a customer without one.

        A session that is over, or was another customer's, begins anew. An event that the session has already, such as one
        that was sent again, counts once. Where nothing can be written the log says so: events count from their slice.
        """
        if not events or not (visitor_id or customer_id):
            return
        try:
            with self._open().begin(write=True) as transaction:
                self._add(transaction, visitor_id, customer_id, events, now)
                self._forget(transaction, now)
        except (lmdb.Error, OSError) as error:
            _log.warning("a session's events are not remembered before their slice: %s", error)

    def recall(self, visitor_id: str | None, customer_id: str | None, now: float) -> Session | None:
        """The current session of a visitor, or of a customer on the device last used; None where there is none."""
        with self._open().begin() as transaction:
            if visitor_id:
                key: bytes | None = _key(visitor_id, None)
            else:
                key = transaction.get(_key(None, customer_id), db=self._customers)
            found = self._read(transaction, key, now)
        if found is None:
            return None
        is_theirs = found.visitor_id == visitor_id if visitor_id else found.customer_id == customer_id
        return found if is_theirs else None

    def close(self) -> None:
        """Close the environment; the next use opens it again."""
        if self._environment is not None:
            self._environment.close()
        self._environment = None

    def _open(self) -> lmdb.Environment:
        if self._environment is None:
            boot = BOOT_ID.read_text(encoding="ascii").strip() if BOOT_ID.exists() else "no-boot-id"
            folder = self._folder / boot
            folder.mkdir(parents=True, exist_ok=True)
            for path in self._folder.iterdir():
                if path.name != boot:
                    shutil.rmtree(path, ignore_errors=True)
            environment = lmdb.open(str(folder), map_size=MAP_SIZE, max_dbs=len(DATABASES), max_readers=512, sync=False)
            self._sessions, self._customers, self._idle = (environment.open_db(name) for name in DATABASES)
            environment.reader_check()  # killed readers keep no page
            self._environment = environment
        return self._environment

    def _read(self, transaction: lmdb.Transaction, key: bytes | None, now: float) -> Session | None:
        value = None if key is None else transaction.get(key, db=self._sessions)
        found = None if value is None else _decode(value)
        return found if found is not None and now - found.last_at <= INACTIVITY_SECONDS else None

    def _add(
        self,
        transaction: lmdb.Transaction,
        visitor_id: str | None,
        customer_id: str | None,
        events: Sequence[SessionEvent],
        now: float,
    ) -> None:
        key = _key(visitor_id, customer_id)
        self._drop_idle(transaction, key)
        past = self._read(transaction, key, now)
        if past is not None and past.customer_id and customer_id and past.customer_id != customer_id:
            past = None
        known = past.events if past else []
        bare = (msgspec.structs.replace(event, **NOTHING) for event in events)
        kept = sorted(dict.fromkeys((*known, *bare)), key=_moment)[-MOST_EVENTS:]
        first = past.first if past else min(events, key=_moment)
        customer = customer_id or (past.customer_id if past else None)
        last_at = max(now, past.last_at) if past else now

        def encoded() -> bytes:
            return _encode(Session(visitor_id, customer, last_at, first, kept))

        while len(value := encoded()) > MOST_BYTES and kept:
            kept = kept[len(kept) // 2 + 1 :]
        if len(value) > MOST_BYTES:
            transaction.delete(key, db=self._sessions)
            return
        transaction.put(key, value, db=self._sessions)
        transaction.put(_idle_key(last_at, key), b"", db=self._idle)
        if customer:
            transaction.put(_key(None, customer), key, db=self._customers)

    def _drop_idle(self, transaction: lmdb.Transaction, key: bytes) -> None:
        value = transaction.get(key, db=self._sessions)
        if value is not None:
            transaction.delete(_idle_key(_decode(value).last_at, key), db=self._idle)

    def _forget(self, transaction: lmdb.Transaction, now: float) -> None:
        """Remove sessions that are over, and the longest idle ones beyond ``MOST_SESSIONS``."""
        surplus = transaction.stat(self._idle)["entries"] - MOST_SESSIONS
        over = _idle_key(max(0.0, now - INACTIVITY_SECONDS), b"")
        with transaction.cursor(db=self._idle) as cursor:
            for number in range(EXPIRED_AT_ONCE):
                if not cursor.first() or (bytes(cursor.key()) >= over and number >= surplus):
                    return
                key = bytes(cursor.key())[_TIME.size :]
                cursor.delete()
                value = transaction.get(key, db=self._sessions)
                transaction.delete(key, db=self._sessions)
                link = _key(None, _decode(value).customer_id) if value is not None and _decode(value).customer_id else None
                if link is not None and transaction.get(link, db=self._customers) == key:
                    transaction.delete(link, db=self._customers)


def _moment(event: SessionEvent) -> float:
    return event.event_at


def _key(visitor_id: str | None, customer_id: str | None) -> bytes:
    """The key of a visitor, or of a customer without one: a hash, since ids are of any length."""
    kind, text = ("v", visitor_id) if visitor_id else ("c", customer_id or "")
    return hashlib.blake2b(f"{kind}{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _idle_key(last_at: float, key: bytes) -> bytes:
    return _TIME.pack(int(last_at * 1e6)) + key
