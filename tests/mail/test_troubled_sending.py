"""What made senders of mail double, lose or never end messages elsewhere: servers, disks, clocks and people that interfere."""

from __future__ import annotations

import errno
import resource
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from customer360.decisions import Request
from customer360.mail import smtp
from customer360.mail.journal import Journal, claim, journal_folder, read_journal
from customer360.mail.queue import MailQueue, open_queue
from customer360.mail.queue.messages import Contact, Outcome
from customer360.mail.queue.tables import ACCEPTED, FAILED, LEFT_OUT, MESSAGES, QUEUED, UNKNOWN
from customer360.mail.recovery import recover
from customer360.mail.smtp import Connection, LostConnectionError, Relay
from customer360.services.mailer import worker as module
from customer360.services.mailer.worker import Letter, Worker
from customer360.settings import Place
from tests.mail.test_mail_worker import KEYS, Canary, contacts, now, states
from tests.support.ports import free_port
from tests.support.scripted_smtp import OK, Answer, Script, scripted_smtp, usual
from tests.support.smtp_receiver import smtp_receiver

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"


@pytest.fixture
def queue(tmp_path: Path) -> MailQueue:
    return open_queue(Place(root=tmp_path))


def send(queue: MailQueue, script: Script, *, rounds: int = 1, timeout: float = 10.0) -> list[str]:
    """Send what is due to a server with a script; returns whose messages it called accepted."""
    with scripted_smtp(script) as server:
        for _ in range(rounds):
            relay = Relay("127.0.0.1", server.port, "none", timeout=timeout)
            Worker(queue, relay, Canary(), connections=1).run(is_once=True)
            with queue.engine.begin() as connection:  # whatever waits is due
                connection.execute(update(MESSAGES).values(next_attempt_at=now().replace(tzinfo=None)))
    return server.taken


def attempts(queue: MailQueue) -> list[int]:
    return [found.attempt for key in KEYS if (found := queue.contact(key))]


def test_a_reply_that_comes_late_counts_and_one_that_never_comes_is_unknown(
    queue: MailQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(number: int, verb: str) -> Answer:
        return [b"250", *[b" "] * 12, b"scanned\r\n"] if verb == "." else usual(verb)

    queue.enqueue(contacts(KEYS[:1]), now())
    send(queue, late, timeout=1.0)
    assert states(queue) == {ACCEPTED: 1}
    monkeypatch.setattr(smtp, "END_SECONDS", 0.0)
    queue.enqueue(contacts(KEYS[1:2]), now())
    send(queue, late, rounds=2, timeout=1.0)
    assert states(queue) == {ACCEPTED: 1, UNKNOWN: 1} and attempts(queue) == [1, 1]


@pytest.mark.parametrize("verb", ["", "EHLO", "MAIL", "DATA"])
def test_a_reply_without_an_end_does_not_hold_a_sender_up(verb: str) -> None:
    def endless(number: int, asked: str) -> Answer:
        return [b"250-more\r\n"] * 100 if asked == verb else usual(asked)

    with scripted_smtp(endless) as server:
        began = time.monotonic()
        with pytest.raises(OSError, match="timed out"):
            Connection(Relay("127.0.0.1", server.port, "none", timeout=0.3)).send("a@b.example", "c@d.example", MESSAGE, int)
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("then", ["close", "ask", "close after data"])
def test_a_refusal_counts_whatever_the_server_does_next(queue: MailQueue, then: str) -> None:
    def refuse(number: int, verb: str) -> Answer:
        if number == 0 and verb == "RCPT":
            return b"550 5.1.1 no such user\r\n"
        if number == 0 and verb in {"DATA", "RSET"}:
            if then == "ask":
                return usual(verb)
            return b"503 5.5.1 no recipient\r\n" if then == "close after data" and verb == "DATA" else None
        return usual(verb)

    queue.enqueue(contacts(KEYS[:3], value=[3.0, 2.0, 1.0]), now())
    taken = send(queue, refuse)
    assert states(queue) == {FAILED: 1, ACCEPTED: 2} and attempts(queue) == [1, 1, 1]
    assert len(taken) == 2 and KEYS[0] not in "".join(taken)


@pytest.mark.parametrize("goes", [None, b"421 4.7.0 too many messages\r\n"])
def test_a_server_that_closes_after_each_message_takes_all_at_once(queue: MailQueue, goes: bytes | None) -> None:
    sent: list[int] = []

    def closing(number: int, verb: str) -> Answer:
        if verb == "MAIL" and number in sent:
            return goes
        if verb == ".":
            sent.append(number)
        return usual(verb)

    queue.enqueue(contacts(KEYS[:6]), now())
    taken = send(queue, closing)
    assert states(queue) == {ACCEPTED: 6} and attempts(queue) == [1] * 6
    assert len(taken) == len(set(taken)) == 6


def test_an_answer_too_many_is_not_taken_for_that_of_the_next_message(queue: MailQueue) -> None:
    def twice(number: int, verb: str) -> Answer:
        return OK + OK if verb == "." else usual(verb)

    queue.enqueue(contacts(KEYS[:3]), now())
    taken = send(queue, twice)
    assert states(queue) == {ACCEPTED: 3} and len(taken) == len(set(taken)) == 3


def test_an_answer_that_does_not_fit_sends_nothing() -> None:
    def odd(number: int, verb: str) -> Answer:
        return OK if verb == "DATA" else usual(verb)

    with scripted_smtp(odd) as server, pytest.raises(LostConnectionError, match="do not fit") as lost:
        Connection(Relay("127.0.0.1", server.port, "none")).send("a@b.example", "c@d.example", MESSAGE, int)
    assert not lost.value.is_in_doubt and server.taken == []


def test_a_full_mailbox_does_not_hold_up_its_provider(queue: MailQueue) -> None:
    seen: list[str] = []

    def full(number: int, verb: str) -> Answer:
        seen.append(verb)
        return b"452 4.2.2 mailbox full\r\n" if verb == "RCPT" and seen.count("RCPT") == 1 else usual(verb)

    queue.enqueue(contacts(KEYS[:1], domain="gmail.com"), now())
    send(queue, full)
    waits = queue.contact(KEYS[0])
    assert waits is not None and waits.state == QUEUED and waits.reply == "452 4.2.2 mailbox full"
    queue.enqueue(contacts(KEYS[1:4], domain="gmail.com"), now())
    send(queue, lambda number, verb: usual(verb))
    assert states(queue) == {ACCEPTED: 4}


def test_a_provider_that_refuses_for_now_is_not_asked_with_all_that_wait(
    queue: MailQueue, caplog: pytest.LogCaptureFixture
) -> None:
    class Waiting(Canary):
        """Makes the second message when the refusal of the first is known."""

        def build(self) -> bytes:
            until = time.monotonic() + 30
            while asked and not worker._refused_until and time.monotonic() < until:
                time.sleep(0.01)
            return super().build()

    asked: list[str] = []

    def busy(step: str, recipient: str) -> str | None:
        asked.append(step)
        return "450 4.7.1 too much mail" if step == "rcpt" and recipient.endswith("gmail.com") else None

    queue.enqueue(contacts(KEYS[:39], domain="gmail.com"), now())
    queue.enqueue(contacts(KEYS[39:]), now())
    port = free_port()
    with smtp_receiver(port, busy) as taken:
        worker = Worker(queue, Relay("127.0.0.1", port, "none"), Waiting(), connections=1)
        worker.run(is_once=True)
    assert len(taken) == 1 and states(queue) == {ACCEPTED: 1, QUEUED: 39}
    assert asked.count("rcpt") == 3 and caplog.text.count("refuses for now") == 1
    assert queue.lease(40, "other", now(), now()) == []


def test_a_log_that_cannot_be_written_sends_nothing_and_doubles_nothing(
    queue: MailQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    queue.enqueue(contacts(KEYS[:2]), now())
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "begin", full)
        assert send(queue, lambda number, verb: usual(verb)) == [] and states(queue) == {QUEUED: 2}
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "end", full)
        assert len(send(queue, lambda number, verb: usual(verb))) == 1
    assert states(queue) == {ACCEPTED: 1, QUEUED: 1}
    assert len(send(queue, lambda number, verb: usual(verb))) == 1
    assert states(queue) == {ACCEPTED: 2}


def test_a_line_of_the_log_that_a_full_disk_cut_hides_no_other(queue: MailQueue) -> None:
    queue.enqueue(contacts(KEYS[:3]), now())
    journal = Journal(journal_folder(queue.folder))
    queue.lease(3, journal.owner, now(), now() + timedelta(minutes=15))
    journal.begin(KEYS[0], 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 40, limits[1]))
    try:
        with pytest.raises(OSError, match="space"):
            journal.end(KEYS[0], 1, "550 5.1.1 no such user")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    journal.begin(KEYS[1], 1)
    journal.close()
    handle = claim(journal.path)
    assert handle is not None
    with handle:
        assert read_journal(handle)[1].keys() == {(KEYS[0], 1), (KEYS[1], 1)}
    recover(queue, now())
    assert states(queue) == {UNKNOWN: 2, QUEUED: 1}


def test_a_sender_that_slept_longer_than_its_lease_sends_no_more_of_it(
    queue: MailQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sleeping(Canary):
        def build(self) -> bytes:
            while now() <= worker._leased_until:
                time.sleep(0.01)
            queue.give_up(now())  # another sender's
            return super().build()

    monkeypatch.setattr(module, "LEASE", timedelta(seconds=1))
    queue.enqueue(contacts(KEYS[:3]), now())
    port = free_port()
    with smtp_receiver(port) as taken:
        worker = Worker(queue, Relay("127.0.0.1", port, "none"), Sleeping(), connections=1)
        worker.run(is_once=True)
    assert len(taken) == 1 and states(queue) == {ACCEPTED: 1, UNKNOWN: 2}


class Interfering(Canary):
    """Calls a function when the tenth message is made."""

    def __init__(self, interfere: Callable[[], None]) -> None:
        self.interfere, self._number = interfere, 0

    def build(self) -> bytes:
        self._number += 1
        if self._number == 10:
            self.interfere()
        return super().build()


def test_a_campaign_that_is_stopped_and_resumed_goes_on_where_it_was(queue: MailQueue) -> None:
    def stop() -> None:
        queue.stop_campaign("spring", Request("wrong price", now(), "anna"))
        until = time.monotonic() + 30
        while not worker._stopped and time.monotonic() < until:
            time.sleep(0.01)

    queue.enqueue(contacts(KEYS), now())
    port = free_port()
    with smtp_receiver(port) as taken:
        worker = Worker(queue, Relay("127.0.0.1", port, "none"), Interfering(stop), connections=1)
        worker.run(is_once=True)
        assert len(taken) == 10 and states(queue) == {ACCEPTED: 10, QUEUED: 30}
        queue.resume_campaign("spring", Request("price is right", now(), "anna"))
        Worker(queue, Relay("127.0.0.1", port, "none"), Canary(), connections=2).run(is_once=True)
    assert len({message.sender for message in taken}) == len(taken) == 40


def test_a_sender_that_is_stopped_puts_back_what_it_has_and_the_next_goes_on(queue: MailQueue) -> None:
    queue.enqueue(contacts(KEYS), now())
    port = free_port()
    with smtp_receiver(port) as taken:
        preparation = Interfering(lambda: None)
        worker = Worker(queue, Relay("127.0.0.1", port, "none"), preparation, connections=1)
        preparation.interfere = worker.stop.set
        worker.run()
        assert len(taken) == 10 and states(queue) == {ACCEPTED: 10, QUEUED: 30}
        Worker(queue, Relay("127.0.0.1", port, "none"), Canary(), connections=2).run(is_once=True)
    assert len({message.sender for message in taken}) == len(taken) == 40


def test_a_clock_that_is_set_back_while_messages_leave_doubles_and_holds_up_nothing(
    queue: MailQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_back() -> None:
        monkeypatch.setattr(module, "_now", lambda: now() - timedelta(hours=1))

    monkeypatch.setattr(module, "SMALLEST_BATCH", 15)
    queue.enqueue(contacts(KEYS, due_at=(now() - timedelta(hours=2)).replace(tzinfo=None)), now())
    port = free_port()
    with smtp_receiver(port) as taken:
        Worker(queue, Relay("127.0.0.1", port, "none"), Interfering(set_back), connections=1).run(is_once=True)
    assert states(queue) == {ACCEPTED: 40}
    assert len({message.sender for message in taken}) == len(taken) == 40


def test_two_senders_share_two_campaigns_without_a_double(queue: MailQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALLEST_BATCH", 7)
    queue.enqueue(contacts(KEYS[:20]), now())
    queue.enqueue(contacts(KEYS[20:], campaign_id="summer", address_hash=KEYS[:20]), now())
    port = free_port()
    with smtp_receiver(port) as taken:
        senders = [Worker(queue, Relay("127.0.0.1", port, "none"), Canary(), connections=2) for _ in range(2)]
        threads = [threading.Thread(target=sender.run, kwargs={"is_once": True}) for sender in senders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert states(queue) == {ACCEPTED: 40}
    assert len({message.sender for message in taken}) == len(taken) == 40


def test_a_batch_of_which_nothing_is_sent_is_not_the_end(queue: MailQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    class Choosy(Canary):
        def prepare(self, chosen: Sequence[Contact], at: datetime) -> tuple[list[Letter], list[Outcome]]:
            letters, _ = super().prepare(chosen, at)
            wanted = [letter for letter in letters if letter.contact.value < 1]
            return wanted, [
                Outcome(one.contact_key, one.attempt, LEFT_OUT, at, "unsubscribed") for one in chosen if one.value >= 1
            ]

    monkeypatch.setattr(module, "SMALLEST_BATCH", 5)
    values: Any = [2.0] * 20 + [0.5] * 20
    queue.enqueue(contacts(KEYS, value=values), now())
    port = free_port()
    with smtp_receiver(port) as taken:
        Worker(queue, Relay("127.0.0.1", port, "none"), Choosy(), connections=1).run(is_once=True)
    assert len(taken) == 20 and states(queue) == {ACCEPTED: 20, LEFT_OUT: 20}
