"""What the logs of senders that are no more say about their messages, and what a restored database has forgotten.

Until a database that was copied or restored is compared with the logs, it is closed: from the same backup, two machines would
send the same messages, and a machine would send again what it sent after its backup.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import update

from customer360.lake.slices import naive
from customer360.mail.journal import Entry, claim, journal_folder, read_journal
from customer360.mail.queue import MailQueue
from customer360.mail.queue.messages import Outcome
from customer360.mail.queue.tables import ACCEPTED, FAILED, OPT_INS, QUEUED, UNKNOWN
from customer360.mail.return_paths import tags

AFTER_START = "its sender died between the message's last byte and the reply"
LOST_LOG = "its machine stopped, and the log may lack its last lines"
RETRY = timedelta(minutes=5)  # after a reply that refused for now, of which the sender could not say more
_POSTFIX = re.compile(r"postfix(?:/[\w-]+)*/cleanup\[\d+\]: [0-9A-Za-z]+: message-id=(<\S+>)")


def recover(queue: MailQueue, now: datetime, keep_logs: timedelta = timedelta.max) -> int:
    """Bring the messages of senders that are no more to a state; returns how many changed. Cheap where there is nothing to do.

    ``queued`` again where the log shows that the last byte was not sent, ``unknown`` where it was and no reply came. A log
    whose last line is older than ``keep_logs`` is removed once the database knows all of it.
    """
    known = queue.facts("log:")
    changed = 0
    for path in sorted(journal_folder(queue.folder).glob("*.log")):
        name = f"log:{path.name}"
        try:
            log = path.stat()
        except FileNotFoundError:  # another sender removed it
            continue
        if known.get(name) == str(log.st_size):
            if now.timestamp() - log.st_mtime > keep_logs.total_seconds():
                queue.forget_fact(name)  # first: a log without its fact is read again, and nothing is lost
                path.unlink(missing_ok=True)
            continue
        handle = claim(path)
        if handle is None:
            continue
        with handle:
            is_same_boot, entries = read_journal(handle)
            changed += _settle(queue, path.name, entries, is_same_boot, now)
            queue.keep_fact(name, str(os.fstat(handle.fileno()).st_size))
    return changed


def _settle(queue: MailQueue, owner: str, entries: dict[tuple[str, int], Entry], is_same_boot: bool, now: datetime) -> int:
    outcomes = []
    for contact in queue.sending(owner):
        entry = entries.pop((contact.contact_key, contact.attempt), None)
        if entry is not None:
            outcomes.append(_outcome(entry, now))
        elif is_same_boot:
            outcomes.append(Outcome(contact.contact_key, contact.attempt, QUEUED, now, next_attempt_at=now))
        else:
            outcomes.append(Outcome(contact.contact_key, contact.attempt, UNKNOWN, now, LOST_LOG))
    queue.record(outcomes)
    earlier = [_outcome(entry, now) for entry in entries.values()]
    return len(outcomes) + queue.remember(outcome for outcome in earlier if outcome.state != QUEUED)


def _outcome(entry: Entry, now: datetime) -> Outcome:
    key, attempt, at, code, text = entry
    if code is None:
        return Outcome(key, attempt, UNKNOWN, at, AFTER_START)
    if code >= 500:
        return Outcome(key, attempt, FAILED, at, text)
    return Outcome(key, attempt, ACCEPTED, at, text) if code < 300 else Outcome(key, attempt, QUEUED, now, text, now + RETRY)


def reconcile(queue: MailQueue, logs: Iterable[Path], secrets: list[str], now: datetime) -> int:
    """Compare the queue with the senders' logs and with ``logs`` of Postfix, and open it; returns how many messages changed.

    A message that Postfix took is in the lines of its cleanup, by the signed Message-ID. Confirmation mails of opt-ins are in
    no log: those that wait are not sent, and who wants one may ask again. Raises ``OSError`` where a log cannot be read; the
    queue stays closed then.
    """
    taken = []
    for log in logs:
        with log.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                found = _POSTFIX.search(line)
                tagged = tags(found[1], secrets) if found else []
                taken += [Outcome(tag.contact_key, 0, ACCEPTED, now, f"in {log.name}") for tag in tagged if tag.contact_key]
    changed = recover(queue, now) + queue.remember(taken)
    with queue.engine.begin() as connection:
        connection.execute(update(OPT_INS).where(OPT_INS.c.mailed_at.is_(None)).values(mailed_at=naive(now)))
    queue.open()
    return changed
