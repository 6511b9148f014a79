"""Senders of mail are killed at random moments while the receiver loses connections: nothing is sent twice, nothing lost.

Two senders share a queue. One of them after the other gets SIGKILL and is started again, as often as asked for, each time after
a random number of messages, which take their time, so that all kills come while messages are sent. The receiver, a process of
its own, loses connections at every step of SMTP and keeps what it took. Then the senders finish. The receiver's file says what
arrived, the queue what it believes, and they are compared.

``make bench NAME=email_crash``: 200 kills over 20,000 messages; figures ``doubled``, ``lost``, ``unknown``.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from benchmarks.measuring import bench_place, write_result
from customer360.mail.journal import journal_folder, read_journal
from customer360.mail.queue import open_queue
from customer360.mail.queue.messages import Contact, Outcome
from customer360.mail.queue.tables import ACCEPTED, QUEUED, SENDING, UNKNOWN
from customer360.mail.return_paths import return_path
from customer360.mail.smtp import Relay
from customer360.services.mailer.worker import Letter, Worker
from customer360.settings import Place
from tests.support.ports import free_port

SENDERS = 2
BODY = b"Subject: Spring\r\n\r\n" + b"A line of a message that has some length.\r\n" * 60
SECONDS_TO_BUILD = 0.01
LONGEST_WAIT = 600.0  # seconds, for the senders to finish


@dataclass(frozen=True)
class Crash:
    """What came of it. ``unknown``: messages of which the queue says so; ``unknown_taken``: those of them that arrived.

    ``unexplained``: unknown ones whose reply was not lost, by the receiver's file and the senders' logs; 0 is right.
    ``doubled`` and ``lost``: messages that arrived twice, and that are called accepted and did not, or have no state.
    """

    messages: int
    kills: int
    accepted: int
    doubled: int
    lost: int
    unknown: int
    unknown_taken: int
    unexplained: int
    seconds: float


class Plain:
    """Prepares a message of fixed text; the recipient names the contact."""

    def prepare(self, contacts: Sequence[Contact], now: datetime) -> tuple[list[Letter], list[Outcome]]:
        """All may be sent."""
        return [
            Letter(
                contact,
                return_path("s" * 43, contact.contact_key, "b.example"),
                f"{contact.contact_key}@{contact.domain}",
                self.build,
            )
            for contact in contacts
        ], []

    def build(self) -> bytes:
        """The message."""
        time.sleep(SECONDS_TO_BUILD)
        return BODY


def crash(root: Path, messages: int, kills: int, *, drop: float = 0.003, seed: int = 1) -> Crash:
    """Kill senders ``kills`` times while ``messages`` are sent; the receiver loses this share of connections at each step."""
    generator, began = random.Random(seed), time.monotonic()  # noqa: S311  times of kills, no secret
    place = Place(root=root)
    _fill(place, messages)
    port = free_port()
    receiver = subprocess.Popen(  # noqa: S603  own module
        [sys.executable, "-m", "tests.support.smtp_receiver", str(port), str(root), "--drop", str(drop), "--seed", str(seed)]
    )
    senders: list[int] = []
    try:
        _wait_for(port)
        senders = [_start(place, port) for _ in range(SENDERS)]
        for number, moment in enumerate(sorted(generator.uniform(0, messages) for _ in range(kills))):
            _wait_for_messages(root, moment)
            victim = number % SENDERS
            os.kill(senders[victim], signal.SIGKILL)
            os.waitpid(senders[victim], 0)
            left = _make_due(place)
            senders[victim] = _start(place, port)
            if number % 20 == 0:
                print(f"{number} kills, {left:,} of {messages:,} messages are left", flush=True)
        _finish(place)
    finally:
        for sender in senders:
            os.kill(sender, signal.SIGKILL)
            os.waitpid(sender, 0)
        receiver.kill()
        receiver.wait()
    return _compare(root, messages, kills, time.monotonic() - began)


def _start(place: Place, port: int) -> int:
    """A sender as a fork of this process, which has no database open: it needs no second to start."""
    child = os.fork()
    if child:
        return child
    try:
        Worker(open_queue(place), Relay("127.0.0.1", port, "none", timeout=30), Plain(), connections=4).run()
    finally:
        os._exit(1)


def _wait_for_messages(root: Path, number: float) -> None:
    """Wait until so many messages have arrived, or for a second: senders may pause after a lost connection."""
    until, file = time.monotonic() + 1, root / "messages"
    while time.monotonic() < until and not (file.exists() and file.read_bytes().count(b" taken ") >= number):
        time.sleep(0.002)


def _wait_for(port: int) -> None:
    """Wait until the receiver listens."""
    until = time.monotonic() + LONGEST_WAIT
    while True:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        if time.monotonic() > until:
            raise TimeoutError(f"nobody listens on {port}")
        time.sleep(0.05)


def _fill(place: Place, messages: int) -> None:
    moment = pd.Timestamp(datetime.now(UTC).replace(tzinfo=None))
    keys = [f"{number:032x}" for number in range(messages)]
    frame = pd.DataFrame({"contact_key": keys, "customer_id": keys, "address_hash": keys, "campaign_id": "spring"})
    domains = [f"domain{number % 500}.example" for number in range(messages)]
    frame = frame.assign(plan_version="spring-1", domain=domains, value=[float(number % 97) for number in range(messages)])
    queue = open_queue(place)
    queue.enqueue(frame.assign(send_at=moment, due_at=moment, contact_date=moment.normalize()), datetime.now(UTC))
    queue.engine.dispose()


def _make_due(place: Place) -> int:
    """Have what waits tried again at once; returns how many messages have no final state. Leaves no connection open."""
    with closing(sqlite3.connect(place.mail / "mail.sqlite3", timeout=60)) as connection:
        connection.execute("update messages set next_attempt_at = queued_at where state = ?", [QUEUED])
        connection.execute("update providers set blocked_until = null")
        connection.commit()
        ((left,),) = connection.execute("select count(*) from messages where state in (?, ?)", [QUEUED, SENDING])
    return int(left)


def _finish(place: Place) -> None:
    """Wait until each message has a final state."""
    until = time.monotonic() + LONGEST_WAIT
    while _make_due(place):
        if time.monotonic() > until:
            raise TimeoutError(f"messages are left after {LONGEST_WAIT:.0f} seconds")
        time.sleep(0.5)


def _compare(root: Path, messages: int, kills: int, seconds: float) -> Crash:
    place = Place(root=root)
    taken: Counter[str] = Counter()
    lost_replies = set()
    for line in (root / "messages").read_text(encoding="ascii").splitlines():
        key, event, _ = line.split()
        if event == "taken":
            taken[key] += 1
        else:
            lost_replies.add(key)
    with closing(sqlite3.connect(place.mail / "mail.sqlite3")) as connection:
        states = dict(connection.execute("select contact_key, state from messages"))
    unknown = {key for key, state in states.items() if state == UNKNOWN}
    begun: set[str] = set()
    answered: set[str] = set()
    for path in journal_folder(place.mail).glob("*.log"):
        with path.open("rb") as log:
            _, entries = read_journal(log)
        for (key, _), entry in entries.items():
            (begun if entry.code is None else answered).add(key)
    # A reply is lost where the receiver lost the connection, or the sender was killed after the last byte and before its line.
    explained = lost_replies | (begun - answered)
    accepted = [key for key, state in states.items() if state == ACCEPTED]
    return Crash(
        messages=messages,
        kills=kills,
        accepted=len(accepted),
        doubled=sum(count > 1 for count in taken.values()),
        lost=sum(taken[key] != 1 for key in accepted) + messages - len(accepted) - len(unknown),
        unknown=len(unknown),
        unknown_taken=sum(taken[key] > 0 for key in unknown),
        unexplained=len(unknown - explained),
        seconds=round(seconds, 1),
    )


def main() -> None:
    """Run the whole of it and write the figures."""
    with bench_place("email-crash", "synthetic") as root:
        found = crash(root, 20_000, 200)
    write_result("email_crash", asdict(found))


if __name__ == "__main__":
    main()
