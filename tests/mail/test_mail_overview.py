"""How e-mail stands, what stops a campaign by itself, and what people decide at the terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import insert

from customer360.decisions import Request
from customer360.mail.overview import brake, email_overview
from customer360.mail.queue import MailQueue, open_queue
from customer360.mail.queue.messages import Outcome
from customer360.mail.queue.tables import ACCEPTED, FAILED, MARKS, UNKNOWN
from customer360.settings import Place
from orchestration.cli import main

NOW = datetime.now(UTC)


def sent(queue: MailQueue, keys: list[str], state: str = ACCEPTED, reply: str = "250 Ok", **columns: Any) -> None:
    moment = pd.Timestamp(NOW.replace(tzinfo=None))
    base: dict[str, Any] = {
        "contact_key": keys,
        "campaign_id": "spring",
        "plan_version": "spring-1",
        "customer_id": keys,
        "address_hash": keys,
        "domain": "shop.example",
        "send_at": moment,
        "due_at": moment,
        "contact_date": moment.normalize(),
        "value": 1.0,
    }
    queue.enqueue(pd.DataFrame({**base, **columns}), NOW)
    leased = queue.lease(len(keys), "one", NOW, NOW + timedelta(minutes=1))
    queue.record([Outcome(contact.contact_key, contact.attempt, state, NOW, reply) for contact in leased])


def complain(queue: MailQueue, keys: list[str]) -> None:
    with queue.engine.begin() as connection:
        rows = [{"contact_key": key, "kind": "complained", "source_id": "1", "at": NOW.replace(tzinfo=None)} for key in keys]
        connection.execute(insert(MARKS), rows)


@pytest.fixture
def queue(tmp_path: Path) -> MailQueue:
    found = open_queue(Place(root=tmp_path))
    assert found.is_open()
    return found


def test_complaints_stop_a_campaign_and_after_a_persons_choice_count_anew(queue: MailQueue) -> None:
    keys = [f"{number:032x}" for number in range(1200)]
    sent(queue, keys)
    sent(queue, [f"g{key[1:]}" for key in keys], campaign_id="gmail", domain="gmail.com")
    complain(queue, [keys[0]])
    assert brake(queue, NOW) == []
    complain(queue, keys[1:12])
    complain(queue, [f"g{key[1:]}" for key in keys[:12]])
    (line,) = brake(queue, NOW)
    assert line.startswith("spring: 12 of 1,200 messages (1.00%) were called spam")
    assert queue.is_stopped("spring") and not queue.is_stopped("gmail")
    assert brake(queue, NOW) == []
    queue.resume_campaign("spring", Request("the list was cleaned", NOW + timedelta(seconds=1), "anna"))
    assert brake(queue, NOW) == []
    verdicts = {
        one.campaign_id: {found.rate: found.level for found in one.verdicts} for one in email_overview(queue, NOW).campaigns
    }
    assert verdicts["spring"]["complaint"] == "stop" and verdicts["gmail"]["complaint"] == "blind"


def test_bounces_count_among_what_was_refused(queue: MailQueue) -> None:
    keys = [f"{number:032x}" for number in range(1000)]
    sent(queue, keys[:900])
    sent(queue, keys[900:], FAILED, "550 5.1.1 no such user")
    for key in keys[900:]:
        queue.mark(key, "bounced_hard", NOW, None, "smtp-1")
    assert "100 of 1,000 messages (10.00%)" in brake(queue, NOW)[0]


def test_the_commands_show_stop_and_resume(queue: MailQueue, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "landing").mkdir()
    sent(queue, ["a", "b"])
    sent(queue, ["c"], UNKNOWN, "its sender died")
    sent(queue, ["d"], FAILED, "550 5.1.1 <address> no such user")

    def run(*arguments: str) -> tuple[int, str]:
        code = main(["email", *arguments, "--data-dir", str(tmp_path)])
        return code, capsys.readouterr().out

    code, text = run("status")
    assert code == 0 and "spring: 2 accepted, 1 failed, 1 unknown" in text and "1: 550 5.1.1 <address> no such user" in text
    assert run("stop", "spring", "--reason", "wrong price")[0] == 0
    code, text = run("status")
    assert code == 1 and ": wrong price" in text
    assert json.loads(run("status", "--json")[1])["campaigns"][0]["states"] == {"accepted": 2, "failed": 1, "unknown": 1}
    assert "spring is sent again" in run("resume", "spring", "--reason", "price is right")[1]
    assert "1 message will be sent again" in run("retry-unknown", "spring", "--reason", "they complained")[1]
    assert queue.counts()["state"].tolist() == ["accepted", "failed", "queued"]


def test_a_copied_place_is_closed_until_it_is_compared(
    queue: MailQueue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "landing").mkdir()
    sent(queue, ["a"])
    file = queue.folder / "mail.sqlite3"
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    with queue.engine.connect() as connection:
        connection.exec_driver_sql("commit")
        connection.exec_driver_sql("pragma wal_checkpoint(truncate)")
    copy.write_bytes(file.read_bytes())
    queue.engine.dispose()
    copy.rename(file)
    assert main(["email", "status", "--data-dir", str(tmp_path)]) == 1
    assert "reconcile" in capsys.readouterr().out
    assert main(["email", "reconcile", "--data-dir", str(tmp_path)]) == 0
    assert main(["email", "status", "--data-dir", str(tmp_path)]) == 0
