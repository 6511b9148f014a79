"""What comes back is counted and moved, once whatever dies when."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from answers_corpus import BOUNCES, DSN, KEY, OTHERS, SECRET

from customer360.mail.answers import SOFT_BOUNCES
from customer360.mail.queue import MailQueue, open_queue
from customer360.mail.return_paths import return_path
from customer360.services.mailer.mailbox import UNCLEAR, MailboxSettings, Maildir, read_mailbox
from customer360.settings import Place, SettingsError

NOW = datetime(2026, 5, 5, 8, 0, tzinfo=UTC)


def queued(place: Place, *keys: str) -> MailQueue:
    """A queue with messages of customer C1, a campaign each."""
    queue = open_queue(place)
    frame = pd.DataFrame(
        {
            "contact_key": keys,
            "campaign_id": [f"campaign {number}" for number in range(len(keys))],
            "plan_version": "v1",
            "customer_id": "C1",
            "address_hash": "hash 1",
            "domain": "inbox.example",
            "send_at": pd.Timestamp("2026-05-05 07:00"),
            "due_at": pd.Timestamp(NOW).tz_localize(None),
            "contact_date": pd.Timestamp(NOW.date()),
            "value": 1.0,
        }
    )
    queue.enqueue(frame, NOW)
    return queue


def stopped(queue: MailQueue) -> str:
    frame = pd.DataFrame({"customer_id": ["C1"], "address_hash": ["hash 1"], "topic": ["offers"]})
    return queue.stopped(frame).fillna("").item()


def maildir(root: Path, *contents: bytes) -> Path:
    for name in ("new", "cur", "tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(contents):
        (root / "new" / f"{number:04}.host").write_bytes(content)
    return root


def content(name: str) -> bytes:
    return next(answer.content for answer in [*BOUNCES, *OTHERS] if answer.name == name)


def test_a_maildir_is_counted_and_moved_and_the_rest_waits_for_a_person(tmp_path: Path) -> None:
    place = Place(root=tmp_path / "data")
    queue = queued(place, KEY)
    mails = [DSN, content("vacation"), content("spam to the mailbox")]
    forged = re.sub(rb"-[a-z2-7]{16}@", b"-" + b"a" * 16 + b"@", DSN)
    box = Maildir(maildir(tmp_path / "mail", *mails, forged))
    assert read_mailbox(box, queue, place, [SECRET], NOW) == {"hard": 1, "auto_reply": 1, "unclear": 1, "forged": 1}
    assert (box.ids(), box.count("Handled"), box.count(UNCLEAR)) == ([], 2, 2)
    assert stopped(queue) == "mail came back: there is no such mailbox (5.1.1)"
    assert (place.campaigns / "stops.parquet").exists()
    assert read_mailbox(box, queue, place, [SECRET], NOW) == {}


def test_a_forged_bounce_stops_nobody(tmp_path: Path) -> None:
    place = Place(root=tmp_path / "data")
    queue = queued(place, KEY)
    box = Maildir(maildir(tmp_path / "mail", DSN))
    assert read_mailbox(box, queue, place, ["y" * 40], NOW) == {"forged": 1}
    assert stopped(queue) == ""


def test_a_crash_between_counting_and_moving_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(root=tmp_path / "data")
    queue = queued(place, KEY)
    box = Maildir(maildir(tmp_path / "mail", content("postfix, over quota")))
    with monkeypatch.context() as patch:
        patch.setattr(Maildir, "move", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                read_mailbox(box, queue, place, [SECRET], NOW)
    assert read_mailbox(box, queue, place, [SECRET], NOW + timedelta(hours=1)) == {"soft": 1}
    assert queue.marks()["messages"].tolist() == [1]
    assert stopped(queue) == ""


def test_soft_bounces_stop_an_address_after_some_in_a_row(tmp_path: Path) -> None:
    place = Place(root=tmp_path / "data")
    keys = [f"{number}" * 32 for number in range(SOFT_BOUNCES)]
    queue = queued(place, *keys)
    full = "Return-Path: <>\nFrom: MAILER-DAEMON@x.example\nTo: {}\nSubject: failure notice\n\n<a@b.example>: mailbox is full\n"
    mails = [full.format(return_path(SECRET, key, "bounces.shop.example")).encode() for key in keys]
    box = Maildir(maildir(tmp_path / "mail", *mails[:-1]))
    assert read_mailbox(box, queue, place, [SECRET], NOW) == {"soft": SOFT_BOUNCES - 1}
    assert stopped(queue) == ""
    maildir(tmp_path / "mail", mails[-1])
    read_mailbox(box, queue, place, [SECRET], NOW)
    assert stopped(queue).startswith(f"{SOFT_BOUNCES} messages in a row came back")


def test_a_message_that_did_not_come_back_ends_the_row(tmp_path: Path) -> None:
    queue = queued(Place(root=tmp_path), *(f"{number}" * 32 for number in range(4)))
    for number in (0, 1, 3):  # the last one's answer may still come; 2 stayed there
        queue.mark(f"{number}" * 32, "bounced_soft", NOW, "full", f"dsn-{number}")
    assert queue.soft_bounces_in_a_row("hash 1") == 1


def test_a_mailbox_elsewhere_needs_tls_and_one_place() -> None:
    with pytest.raises(SettingsError, match="TLS"):
        MailboxSettings.from_environment({"CUSTOMER360_MAILBOX_HOST": "mail.example", "CUSTOMER360_MAILBOX_TLS": "none"})
    with pytest.raises(SettingsError, match="one of the two"):
        MailboxSettings.from_environment({})
