"""The loop of a sender: lease, prepare, send over kept connections, record.

The main thread keeps what became of messages. Sender threads render, sign and send; before the last byte of a message and after
the reply they write to the transport's log, so that whatever dies when, each message's state can be told (``mail.recovery``).
"""

from __future__ import annotations

import gc
import logging
import queue as queues
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from customer360.errors import OperatorError
from customer360.mail.answers import Answer, take
from customer360.mail.journal import Journal, journal_folder
from customer360.mail.providers import lane_of
from customer360.mail.queue import MailQueue
from customer360.mail.queue.messages import Contact, Outcome
from customer360.mail.queue.rates import Rates
from customer360.mail.queue.tables import ACCEPTED, FAILED, LEFT_OUT, QUEUED, UNKNOWN
from customer360.mail.recovery import recover
from customer360.mail.smtp import LostConnectionError, RefusedError, Reply

if TYPE_CHECKING:
    from customer360.mail.provider_api import ApiConnection, Transport
    from customer360.mail.smtp import Connection

LOG = logging.getLogger(__name__)
BATCH_SECONDS = 2.0  # a batch is what is sent in so long, within these bounds: what is prepared must not wait for long
SMALLEST_BATCH, LARGEST_BATCH = 100, 4000
LEASE_SHARE = 10  # where few are due, leases take a tenth of the time: each looks through all that wait, which may be a million
PER_CONNECTION = 1000  # messages
LEASE = timedelta(minutes=15)
LOG_SECONDS = 86_400.0  # that a log is written for, so that old ones can be removed
CARE_SECONDS = 60.0  # between looks at what other senders left
STOPS_SECONDS = 1.0  # between looks at who was stopped, for letters that wait in memory
IDLE_SECONDS = 0.5
RECORD_SECONDS = 0.05  # outcomes are recorded together: each time two files are flushed
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=10)
OF_MAILBOX = ("4.1.", "4.2.")  # RFC 3463: of the mailbox alone, such as a full one; its provider takes others
MAILBOX_PAUSE = timedelta(minutes=15)
NO_MAILBOX = ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1")  # RFC 3463: the address is none, or none any more


class LeftOut(Exception):  # noqa: N818  a message is left out, which is no error
    """A message is not sent, for good; its text says why."""


@dataclass(frozen=True)
class Letter:
    """A message that may be sent now. ``build`` gives its bytes (CRLF line ends) or raises ``LeftOut``."""

    contact: Contact
    sender: str
    recipient: str
    build: Callable[[], bytes]


class Preparation(Protocol):
    """Looks at messages at the moment of sending."""

    def prepare(self, contacts: Sequence[Contact], now: datetime) -> tuple[list[Letter], list[Outcome]]:
        """What may be sent now, and what became of the others. Raises ``OperatorError`` where nothing may be sent now."""


class Worker:
    """A sender. ``run`` works until ``stop`` is set, or with ``is_once`` until nothing can be sent now."""

    def __init__(
        self,
        queue: MailQueue,
        transport: Transport,
        preparation: Preparation,
        *,
        connections: int = 4,
        rates: Rates | None = None,
        keep_logs: timedelta = timedelta.max,
    ) -> None:
        self.queue, self._transport, self._preparation, self._rates = queue, transport, preparation, rates or Rates()
        self._connections, self._keep_logs = connections, keep_logs
        self._letters: queues.SimpleQueue[Letter | None] = queues.SimpleQueue()
        self._outcomes: deque[tuple[Contact, Outcome, Reply | None]] = deque()
        self._waiting: dict[str, Contact] = {}  # with a letter, until what became of it is recorded
        self._batch, self._settled, self._filled_at, self._next_lease = SMALLEST_BATCH, 0, time.monotonic(), 0.0
        self._stops_version, self._looked_at = "", -float("inf")
        self._stopped: dict[str, str | None] = {}  # why a letter that waits is not sent; None: its campaign is stopped
        self._paused_until = -float("inf")  # by the clock that nobody sets
        self._leased_until = datetime.min.replace(tzinfo=UTC)
        self._refused_until: dict[str, datetime] = {}  # by lane
        self._failures = 0
        self.stop = threading.Event()

    def run(self, *, is_once: bool = False, each_minute: Callable[[], None] = lambda: None) -> None:
        """Send. ``each_minute`` is called between batches about once a minute, and at the end."""
        recover(self.queue, _now(), self._keep_logs)
        gc.freeze()  # what imports made stays; looking through it again and again takes 10% of the time
        self._begin_log()
        threads = [threading.Thread(target=self._send_all, daemon=True) for _ in range(self._connections)]
        for thread in threads:
            thread.start()
        next_care = time.monotonic() + CARE_SECONDS
        try:
            while not self.stop.is_set():
                if time.monotonic() >= next_care:
                    self._care()
                    each_minute()
                    next_care = time.monotonic() + CARE_SECONDS
                self._look_for_stops()
                if self._is_log_full() and not self._waiting:  # a message's lines stand in one log, that of its lease's owner
                    ended = self._journal
                    self._begin_log()
                    self._end_log(ended)
                is_filled = not self._is_log_full() and self._fill()
                if not is_filled and not self._waiting and is_once:
                    break
                self.stop.wait(RECORD_SECONDS if self._waiting else 0 if is_filled else IDLE_SECONDS)
                self._record()
        finally:
            self.stop.set()
            for _ in threads:
                self._letters.put(None)
            for thread in threads:
                thread.join()
            self._record()
            self._end_log(self._journal)
            each_minute()

    def _begin_log(self) -> None:
        self._journal, self._log_began = Journal(journal_folder(self.queue.folder)), time.monotonic()

    def _is_log_full(self) -> bool:
        return time.monotonic() - self._log_began > LOG_SECONDS

    def _end_log(self, journal: Journal) -> None:
        """All of its messages are recorded."""
        size = journal.close()
        self.queue.keep_fact(f"log:{journal.owner}", str(size))

    def _care(self) -> None:
        """Keep the own leases, and see to the messages of senders that are no more."""
        now = _now()
        if now <= self._leased_until:  # else others may have given up what this one has, and nothing of it is sent any more
            self.queue.renew(self._journal.owner, now + LEASE)
            self._leased_until = now + LEASE
        recover(self.queue, now, self._keep_logs)
        if given_up := self.queue.give_up(now):
            LOG.warning("%d messages are unknown: their sender did not come back; customer360 email retry-unknown", given_up)

    def _fill(self) -> bool:
        """Lease and prepare messages while fewer than a batch are on their way. True where some were leased."""
        now = _now()
        if not self._waiting:
            self._leased_until = now + LEASE
        began = time.monotonic()
        is_busy = len(self._waiting) >= self._batch or self._is_paused() or now > self._leased_until
        if is_busy or began < self._next_lease:
            return False
        if self._settled:
            sent = self._settled / (began - self._filled_at) * BATCH_SECONDS
            self._batch = min(max(round(sent), SMALLEST_BATCH), LARGEST_BATCH)
        contacts = self.queue.lease(self._batch, self._journal.owner, now, now + LEASE, self._rates)
        took = time.monotonic() - began
        if len(contacts) < self._batch:
            self._next_lease = began + took * LEASE_SHARE
        if not contacts:
            return False
        self._settled, self._filled_at = 0, time.monotonic()
        try:
            letters, outcomes = self._preparation.prepare(contacts, now)
        except BaseException as error:
            # Whatever failed, nothing of them was sent.
            self._pause(f"messages cannot be prepared: {_where(error)}")
            self.queue.record(
                Outcome(contact.contact_key, contact.attempt, QUEUED, now, next_attempt_at=self._resumes_at())
                for contact in contacts
            )
            if not isinstance(error, Exception):
                raise
            return False
        self.queue.record(outcomes)
        self._settled += len(outcomes)
        self._waiting |= {letter.contact.contact_key: letter.contact for letter in letters}
        for letter in letters:
            self._letters.put(letter)
        return True

    def _look_for_stops(self) -> None:
        """Find those who were stopped while their letters wait in memory."""
        if not self._waiting or time.monotonic() < self._looked_at + STOPS_SECONDS:
            return
        self._looked_at = time.monotonic()
        version = self.queue.stops_version()
        if version == self._stops_version:
            return
        self._stops_version = version
        frame = pd.DataFrame(list(self._waiting.values()), columns=Contact._fields)
        halted = [name for name in frame["campaign_id"].unique() if self.queue.is_stopped(name)]
        reasons = self.queue.stopped(frame)
        self._stopped = dict.fromkeys(frame["contact_key"][frame["campaign_id"].isin(halted)]) | dict(
            zip(frame["contact_key"][reasons.notna()], reasons.dropna(), strict=True)
        )

    def _record(self) -> None:
        """Keep what became of messages, first in the log, then in the queue."""
        taken = [self._outcomes.popleft() for _ in range(len(self._outcomes))]
        if not taken:
            return
        self._journal.sync()
        self.queue.record([self._deferred(contact, outcome, reply) for contact, outcome, reply in taken])
        self.queue.recovered([contact for contact, outcome, _ in taken if outcome.state == ACCEPTED])
        for contact, outcome, reply in taken:
            if outcome.state == FAILED and reply is not None and reply.step == "rcpt" and reply.text.startswith(NO_MAILBOX):
                source = ("smtp", f"smtp-{outcome.attempt}")
                take(self.queue, Answer(contact.contact_key, "bounced_hard", outcome.at, reply.line, *source))
        for contact, _, _ in taken:
            del self._waiting[contact.contact_key]
        self._settled += len(taken)

    def _deferred(self, contact: Contact, outcome: Outcome, reply: Reply | None) -> Outcome:
        """An outcome with the time of the next attempt, where the provider refused for now."""
        if outcome.state != QUEUED or reply is None:
            return outcome
        if reply.text.startswith(OF_MAILBOX):
            return outcome._replace(next_attempt_at=outcome.at + MAILBOX_PAUSE * 2 ** min(outcome.attempt - 1, 4))
        lane = lane_of(contact.provider, contact.domain)
        until = self._refused_until.get(lane, outcome.at)
        if until <= outcome.at:
            until = self._refused_until[lane] = self.queue.defer(contact, outcome.at, reply.line)
            LOG.warning("%s refuses for now, and is left alone until %s: %s", lane, f"{until:%H:%M:%S}", reply.line)
        return outcome._replace(next_attempt_at=until)

    def _pause(self, reason: str) -> None:
        """Send nothing for a while: longer after each failure in a row."""
        self._failures += 1
        pause = min(FIRST_PAUSE * 2 ** min(self._failures - 1, 10), LONGEST_PAUSE)
        if not self._is_paused():
            LOG.error("nothing is sent for %s: %s", pause, reason)
            self._paused_until = time.monotonic() + pause.total_seconds()

    def _is_paused(self) -> bool:
        return time.monotonic() < self._paused_until

    def _resumes_at(self) -> datetime:
        """When messages may be sent: now where nothing is paused."""
        return _now() + timedelta(seconds=max(self._paused_until - time.monotonic(), 0.0))

    def _send_all(self) -> None:
        """The work of a sender thread."""
        line = _Line(self._transport)
        while (letter := self._letters.get()) is not None:
            try:
                outcome, reply = self._attempt(line, letter)
            except Exception as error:  # noqa: BLE001  a sender thread must not die with messages in its hands
                line.drop()
                self._pause(f"a message of {letter.contact.campaign_id} could not be sent: {_where(error)}")
                outcome, reply = _back(letter.contact, None, self._resumes_at()), None
            self._outcomes.append((letter.contact, outcome, reply))
        line.quit()

    def _attempt(self, line: _Line, letter: Letter) -> tuple[Outcome, Reply | None]:
        """Send one message, and say what became of it."""
        contact = letter.contact
        reason = self._stopped.get(contact.contact_key, "")
        if self.stop.is_set() or reason is None or self._is_paused() or _now() > self._leased_until:
            return _back(contact, None, self._resumes_at()), None
        if (until := self._refused_until.get(lane_of(contact.provider, contact.domain))) and _now() < until:
            return _back(contact, contact.reply, until), None
        try:
            message = b"" if reason else letter.build()
        except LeftOut as left:
            reason = str(left)
        if reason:
            return Outcome(contact.contact_key, contact.attempt, LEFT_OUT, _now(), reason), None
        return self._transmit(line, letter, message)

    def _transmit(self, line: _Line, letter: Letter, message: bytes) -> tuple[Outcome, Reply | None]:
        contact = letter.contact
        key, attempt = contact.contact_key, contact.attempt
        try:
            connection = line.connection()
            reply = connection.send(letter.sender, letter.recipient, message, lambda: self._journal.begin(key, attempt))
        except RefusedError as error:
            line.drop()
            self._pause(str(error))
            return _back(contact, None, self._resumes_at()), None
        except LostConnectionError as error:
            is_kept = line.sent > 1
            line.drop()
            if is_kept and error.step == "mail":  # servers close kept connections as they like
                return self._transmit(line, letter, message)
            if error.is_in_doubt:
                return Outcome(key, attempt, UNKNOWN, _now(), str(error)), None
            return _back(contact, str(error), _now() + FIRST_PAUSE * 2 ** min(attempt - 1, 8)), None
        answered = reply.line
        try:
            self._journal.end(key, attempt, answered)
        except OSError as error:  # what the server answered stands all the same
            self._pause(f"the log cannot be written: {error}")
        self._failures = 0 if reply.is_accepted else self._failures
        if reply.step == "mail":  # the relay refuses the sender, whoever the recipient is
            self._pause(f"{self._transport!r} refuses the sender: {answered}")
            return _back(contact, answered, self._resumes_at()), None
        state = ACCEPTED if reply.is_accepted else FAILED if reply.is_final else QUEUED
        return Outcome(key, attempt, state, _now(), answered), reply


class _Line:
    """The connection of a sender thread, made anew where it was lost or has sent enough."""

    def __init__(self, transport: Transport) -> None:
        self._transport, self.sent = transport, 0
        self._connection: Connection | ApiConnection | None = None

    def connection(self) -> Connection | ApiConnection:
        """A connection that takes the next message. Raises ``RefusedError``."""
        if self.sent >= PER_CONNECTION or (self._connection and not self._connection.is_open):
            self.quit()
        self._connection, self.sent = self._connection or self._transport.connect(), self.sent + 1
        return self._connection

    def drop(self) -> None:
        """Close it without a word."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self.sent = None, 0

    def quit(self) -> None:
        """Take leave of the server."""
        if self._connection is not None:
            self._connection.quit()
        self._connection, self.sent = None, 0


def _back(contact: Contact, reason: str | None, at: datetime) -> Outcome:
    """Into the queue again: nothing was sent."""
    return Outcome(contact.contact_key, contact.attempt, QUEUED, _now(), reason, at)


def _where(error: BaseException) -> str:
    """The kind of an error and its line of code; its text may quote an address. What operators can mend says so itself."""
    if isinstance(error, OperatorError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else type(error).__name__


def _now() -> datetime:
    return datetime.now(UTC)
