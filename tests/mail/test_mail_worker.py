"""A sender and what it leaves: each message is sent once, whatever the server does, and whatever dies when."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import update

from customer360.decisions import Request
from customer360.mail.journal import Journal, journal_folder
from customer360.mail.queue import MailQueue, open_queue
from customer360.mail.queue.messages import Contact, Outcome
from customer360.mail.queue.tables import ACCEPTED, FAILED, LEFT_OUT, MESSAGES, QUEUED, SENDING, UNKNOWN
from customer360.mail.recovery import reconcile, recover
from customer360.mail.return_paths import message_id, return_path
from customer360.mail.smtp import Connection, LostConnectionError, RefusedError, Relay
from customer360.services.mailer.worker import LeftOut, Letter, Worker
from customer360.settings import Place, SettingsError
from tests.support.ports import free_port
from tests.support.smtp_receiver import DROP, Behaviour, Message, smtp_receiver

SECRET = "s" * 43
KEYS = [f"{number:032x}" for number in range(40)]


def now() -> datetime:
    return datetime.now(UTC)


def contacts(keys: Sequence[str], **columns: Any) -> pd.DataFrame:
    moment = pd.Timestamp(now().replace(tzinfo=None))
    base: dict[str, Any] = {
        "contact_key": list(keys),
        "campaign_id": "spring",
        "plan_version": "spring-1",
        "customer_id": [f"C{key}" for key in keys],
        "address_hash": list(keys),
        "domain": [f"domain{number}.example" for number in range(len(keys))],
        "send_at": moment,
        "due_at": moment,
        "contact_date": moment.normalize(),
        "value": 1.0,
    }
    return pd.DataFrame({**base, **columns})


class Canary:
    """Prepares messages whose addresses must stand in no log."""

    def prepare(self, chosen: Sequence[Contact], at: datetime) -> tuple[list[Letter], list[Outcome]]:
        return [
            Letter(one, return_path(SECRET, one.contact_key, "b.example"), f"canary-{one.customer_id}@{one.domain}", self.build)
            for one in chosen
        ], []

    def build(self) -> bytes:
        return b"Subject: x\r\n\r\n.\r\nhello\r\n..\r\n"


@pytest.fixture
def queue(tmp_path: Path) -> MailQueue:
    found = open_queue(Place(root=tmp_path))
    assert found.is_open()
    return found


def work(
    queue: MailQueue, behaviour: Behaviour = lambda step, recipient: None, *, rounds: int = 1, **more: Any
) -> list[Message]:
    port = free_port()
    with smtp_receiver(port, behaviour, **more) as taken:
        for _ in range(rounds):
            Worker(queue, Relay("127.0.0.1", port, "none"), Canary(), connections=2).run(is_once=True)
            with queue.engine.begin() as connection:  # whatever waits is due
                connection.execute(update(MESSAGES).values(next_attempt_at=now().replace(tzinfo=None)))
    return taken


def states(queue: MailQueue) -> dict[str, int]:
    return queue.counts().groupby("state")["messages"].sum().to_dict()


@pytest.mark.parametrize("pipelining", [True, False])
def test_each_message_arrives_once_as_it_was_made(queue: MailQueue, pipelining: bool) -> None:
    queue.enqueue(contacts(KEYS), now())
    taken = work(queue, pipelining=pipelining)
    assert sorted(message.sender for message in taken) == sorted(return_path(SECRET, key, "b.example") for key in KEYS)
    assert {message.content for message in taken} == {Canary().build()}
    assert states(queue) == {ACCEPTED: len(KEYS)}
    contact = queue.contact(KEYS[0])
    assert contact is not None and contact.accepted_at is not None and contact.reply == "250 2.0.0 Ok: queued"
    assert work(queue) == []


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "content", "end", "reply"])
def test_a_connection_lost_before_the_end_is_tried_again_and_one_after_it_is_not(queue: MailQueue, step: str) -> None:
    lost: set[str] = set()

    def lose_once(at: str, recipient: str) -> str | None:
        if at != step or recipient in lost or (at == "mail" and lost):
            return None
        lost.add(recipient)
        return DROP

    queue.enqueue(contacts(KEYS[:6]), now())
    taken = work(queue, lose_once, rounds=3)
    senders = [message.sender for message in taken]
    assert len(senders) == len(set(senders))
    if step in {"end", "reply"}:
        assert states(queue) == {UNKNOWN: 6}
        assert len(taken) == (6 if step == "reply" else 0)
    elif step == "content":  # whether the client sees it before it sends the last byte is the systems' affair
        assert states(queue).get(ACCEPTED, 0) + states(queue).get(UNKNOWN, 0) == 6
        assert len(taken) == states(queue).get(ACCEPTED, 0)
    else:
        assert states(queue) == {ACCEPTED: 6}
        assert len(taken) == 6


def test_refusals_fail_wait_or_stop_an_address(queue: MailQueue, caplog: pytest.LogCaptureFixture) -> None:
    replies = {"domain0": "550 5.1.1 <canary-x@domain0.example> no such user", "domain1": "451 4.7.1 try later"}

    def refuse(step: str, recipient: str) -> str | None:
        name = recipient.partition("@")[2].partition(".")[0]
        return replies.get(name) if step == "rcpt" else "554 5.7.1 spam" if step == "end" and name == "domain2" else None

    queue.enqueue(contacts(KEYS[:4]), now())
    with caplog.at_level(logging.DEBUG):
        taken = work(queue, refuse)
    assert len(taken) == 1 and states(queue) == {FAILED: 2, QUEUED: 1, ACCEPTED: 1}
    failed, waiting = queue.contact(KEYS[0]), queue.contact(KEYS[1])
    assert failed is not None and failed.reply == "550 5.1.1 <address> no such user"
    assert waiting is not None and waiting.reply == "451 4.7.1 try later"
    frame = contacts(KEYS[:4], topic=None)
    assert queue.stopped(frame).notna().tolist() == [True, False, False, False]
    assert queue.marks()["kind"].tolist() == ["bounced_hard"]
    logs = "".join(path.read_text() for path in journal_folder(queue.folder).glob("*.log"))
    assert "domain1.example refuses for now" in caplog.text
    assert "canary" not in caplog.text + logs


def test_a_relay_that_refuses_the_sender_stops_all_and_fails_nobody(queue: MailQueue) -> None:
    queue.enqueue(contacts(KEYS), now())
    assert work(queue, lambda step, recipient: "550 5.7.1 you are blocked" if step == "mail" else None) == []
    assert states(queue) == {QUEUED: len(KEYS)}


def test_what_a_killed_sender_left_is_told_by_its_log(queue: MailQueue) -> None:
    queue.enqueue(contacts(KEYS[:5]), now())
    journal = Journal(journal_folder(queue.folder))
    queue.lease(5, journal.owner, now(), now() + timedelta(minutes=15))
    journal.begin(KEYS[0], 1)
    journal.begin(KEYS[1], 1)
    journal.end(KEYS[1], 1, "250 Ok")
    journal.end(KEYS[2], 1, "550 5.1.1 none")
    journal.begin(KEYS[3], 1)
    journal.end(KEYS[3], 1, "451 later")
    assert recover(queue, now()) == 0  # it lives
    journal.close()
    assert recover(queue, now()) == 5
    found = [queue.contact(key) for key in KEYS[:5]]
    assert [one.state for one in found if one] == [UNKNOWN, ACCEPTED, FAILED, QUEUED, QUEUED]
    assert recover(queue, now()) == 0


def test_after_the_machine_stopped_what_was_on_its_way_is_unknown(queue: MailQueue) -> None:
    queue.enqueue(contacts(KEYS[:2]), now())
    journal = Journal(journal_folder(queue.folder))
    queue.lease(2, journal.owner, now(), now() + timedelta(minutes=15))
    journal.end(KEYS[0], 1, "250 Ok")
    journal.close()
    text = re.sub("# boot .*", "# boot another", journal.path.read_text())
    journal.path.write_text(text + "2026-05-05T07:00:00+00:00 half a li")
    recover(queue, now())
    assert states(queue) == {ACCEPTED: 1, UNKNOWN: 1}


def test_a_restored_queue_is_closed_and_resends_nothing(queue: MailQueue, tmp_path: Path) -> None:
    queue.enqueue(contacts(KEYS[:3]), now())
    backup = tmp_path / "backup"
    with queue.engine.connect() as connection:
        connection.exec_driver_sql("commit")
        connection.exec_driver_sql(f"vacuum into '{backup}'")
    queue.enqueue(contacts(KEYS[3:6]), now())
    assert len(work(queue)) == 6
    queue.engine.dispose()
    place = Place(root=tmp_path)
    for suffix in ("", "-wal", "-shm"):
        (place.mail / f"mail.sqlite3{suffix}").unlink(missing_ok=True)
    backup.rename(place.mail / "mail.sqlite3")
    restored = MailQueue(queue.engine, queue.folder)
    assert states(restored) == {QUEUED: 3}
    assert not restored.is_open()
    assert reconcile(restored, [], [SECRET], now()) == 6
    assert restored.is_open()
    restored.enqueue(contacts(KEYS[:7]), now())
    assert states(restored) == {ACCEPTED: 6, QUEUED: 1}
    assert len(work(restored)) == 1


def test_without_our_log_that_of_postfix_says_what_was_sent(queue: MailQueue, tmp_path: Path) -> None:
    queue.enqueue(contacts(KEYS[:3]), now())
    forged = message_id("f" * 43, KEYS[1], "shop.example")
    log = tmp_path / "mail.log"
    line = "May  5 07:00:0{} mx postfix/cleanup[71]: 4F2A1: message-id={}\n"
    log.write_text(line.format(0, message_id(SECRET, KEYS[0], "shop.example")) + line.format(1, forged) + "May 5 noise\n")
    assert reconcile(queue, [log], [SECRET], now()) == 1
    assert states(queue) == {ACCEPTED: 1, QUEUED: 2}
    with pytest.raises(OSError, match="missing"):
        reconcile(queue, [tmp_path / "missing.log"], [SECRET], now())


def test_a_log_is_removed_once_it_is_old_and_the_queue_knows_all_of_it(queue: MailQueue) -> None:
    queue.enqueue(contacts(KEYS[:3]), now())
    logs = [Journal(journal_folder(queue.folder)) for _ in range(3)]
    for log, key in zip(logs, KEYS[:3], strict=True):
        queue.lease(1, log.owner, now(), now() + timedelta(minutes=15))
        log.begin(key, 1)
        log.end(key, 1, "250 Ok")
    dead, young, alive = logs
    dead.close()
    young.close()
    for log in (dead, alive):
        os.utime(log.path, times=(0, 0))
    (journal_folder(queue.folder) / "removed-meanwhile.log").symlink_to("nothing")
    assert recover(queue, now(), timedelta(days=7)) == 2 and dead.path.exists()
    assert recover(queue, now(), timedelta(days=7)) == 0
    assert [log.path.exists() for log in logs] == [False, True, True]
    assert queue.facts("log:").keys() == {f"log:{young.owner}"}
    assert states(queue) == {ACCEPTED: 2, SENDING: 1}
    alive.close()


def test_a_restore_to_before_a_log_was_read_keeps_it_until_it_is_read_again(queue: MailQueue, tmp_path: Path) -> None:
    queue.enqueue(contacts(KEYS[:2]), now())
    assert len(work(queue)) == 2
    (log,) = journal_folder(queue.folder).glob("*.log")
    os.utime(log, times=(0, 0))
    with queue.engine.begin() as connection:  # as the backup has it
        connection.execute(update(MESSAGES).values(state=QUEUED))
    queue.forget_fact(f"log:{log.name}")
    assert recover(queue, now(), timedelta(days=7)) == 2 and log.exists()
    assert states(queue) == {ACCEPTED: 2}


def test_a_sender_begins_a_new_log_each_day_when_nothing_is_on_its_way(
    queue: MailQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customer360.services.mailer.worker.LOG_SECONDS", 0.05)
    monkeypatch.setattr("customer360.services.mailer.worker.IDLE_SECONDS", 0.01)
    port = free_port()
    with smtp_receiver(port) as taken:
        worker = Worker(queue, Relay("127.0.0.1", port, "none"), Canary(), connections=2)
        thread = threading.Thread(target=worker.run)
        thread.start()
        for part in (KEYS[:20], KEYS[20:]):
            queue.enqueue(contacts(part), now())
            while states(queue).get(ACCEPTED, 0) <= KEYS.index(part[-1]):
                time.sleep(0.02)
        worker.stop.set()
        thread.join()
    assert len(taken) == len(KEYS) and states(queue) == {ACCEPTED: len(KEYS)}
    logs = {path.name: path.read_text() for path in journal_folder(queue.folder).glob("*.log")}
    assert sum(any(" R 250" in line for line in text.splitlines()) for text in logs.values()) >= 2
    assert queue.facts("log:").keys() == {f"log:{name}" for name in logs}


def test_a_letter_that_cannot_be_made_is_left_out_and_the_others_go(queue: MailQueue) -> None:
    class Half(Canary):
        def build(self) -> bytes:
            raise LeftOut("its message lacks first_name")

    queue.enqueue(contacts(KEYS[:2]), now())
    port = free_port()
    with smtp_receiver(port) as taken:
        Worker(queue, Relay("127.0.0.1", port, "none"), Half(), connections=1).run(is_once=True)
    assert taken == [] and states(queue) == {LEFT_OUT: 2}


@pytest.mark.parametrize("of", ["customer", "campaign"])
def test_a_stop_counts_for_letters_that_wait_in_memory(queue: MailQueue, of: str) -> None:
    class Stopping(Canary):
        def build(self) -> bytes:
            if of == "customer":
                queue.stop(f"C{KEYS[1]}", None, "email", None, "unsubscribed", "page", now())
            else:
                queue.stop_campaign("spring", Request("wrong price", now(), "anna"))
            until = time.monotonic() + 30
            while KEYS[1] not in worker._stopped and time.monotonic() < until:
                time.sleep(0.01)
            return super().build()

    queue.enqueue(contacts(KEYS[:2], value=[2.0, 1.0]), now())
    port = free_port()
    with smtp_receiver(port) as taken:
        worker = Worker(queue, Relay("127.0.0.1", port, "none"), Stopping(), connections=1)
        worker.run(is_once=True)
    assert len(taken) == 1 and states(queue) == {ACCEPTED: 1, LEFT_OUT if of == "customer" else QUEUED: 1}


def test_a_failure_of_the_program_sends_nothing_and_quotes_nothing(queue: MailQueue, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Canary):
        def build(self) -> bytes:
            raise RuntimeError("canary@domain.example")

    queue.enqueue(contacts(KEYS[:3]), now())
    worker = Worker(queue, Relay("127.0.0.1", free_port(), "none"), Broken(), connections=1)
    began = time.monotonic()
    worker.run(is_once=True)
    assert states(queue) == {QUEUED: 3} and "RuntimeError" in caplog.text and "canary" not in caplog.text
    assert time.monotonic() - began < 60
    assert SENDING not in states(queue)


def test_tls_is_asked_for_except_on_this_machine() -> None:
    with pytest.raises(SettingsError, match="TLS"):
        Relay("mail.shop.example", 25, "none")
    assert "s3cret" not in repr(Relay("mail.shop.example", 587, "starttls", "shop", "s3cret"))
    port = free_port()
    with smtp_receiver(port), pytest.raises((RefusedError, LostConnectionError)):
        Connection(Relay("127.0.0.1", port, "starttls"))
    with pytest.raises(RefusedError):
        Connection(Relay("127.0.0.1", free_port(), "none"))
