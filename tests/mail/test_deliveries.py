"""What became of each e-mail: ledger and queue in one table, in sums, and where they contradict each other."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

from customer360.campaigns.ledger import HOLDOUT, SENT, SUPPRESSED
from customer360.mail.answers import BY_MACHINE
from customer360.mail.deliveries import METRICS, answered_days, deliveries, deliveries_folder, write_deliveries
from customer360.mail.queue.tables import ACCEPTED, FAILED, UNKNOWN
from tests.mail.mailing import DAY, NOW, Mailing, key


@pytest.fixture
def mailing(tmp_path: Path) -> Mailing:
    return Mailing(tmp_path)


def test_each_contact_has_the_state_of_the_queue_else_of_the_ledger(mailing: Mailing) -> None:
    mailing.approve("C1", "C2", "C3", "C4", "C5", "C6")
    mailing.approve("C7", arm=HOLDOUT)
    mailing.approve("C8", version="spring-0", message=None)  # goes out as a file
    mailing.add(SUPPRESSED, "C5", detail="no consent for email")
    mailing.enqueue("C1", "C2", "C3", "C4")
    mailing.send({"C1": (ACCEPTED, "250 ok"), "C2": (FAILED, "550 no such user"), "C3": (UNKNOWN, "the line was cut")})
    found = mailing.table()
    assert found["state"].to_dict() == {
        **{"C1": "accepted", "C2": "failed", "C3": "unknown", "C4": "sending", "C5": "left_out", "C6": "planned"},
    }
    assert found["provider"].to_dict() == {
        **{"C1": "gmail", "C2": "yahoo", "C3": "other", "C4": "other", "C5": "not queued", "C6": "not queued"},
    }
    assert found.loc["C5", "reason"] == "no consent for email" and found.loc["C2", "reason"] == "550 no such user"
    assert found["attempts"].to_dict() == {"C1": 1, "C2": 1, "C3": 1, "C4": 1, "C5": 0, "C6": 0}
    assert found["is_in_agreement"].all()


def test_ledger_and_queue_must_agree_once_the_ledger_knows(mailing: Mailing) -> None:
    mailing.approve("C1", "C2", "C3", "C4")
    mailing.enqueue("C1", "C2", "C3")
    mailing.send({"C1": (ACCEPTED, "250 ok"), "C2": (ACCEPTED, "250 ok"), "C3": (FAILED, "550 no")}, is_synced=True)
    mailing.add(SENT, "C1", "C4")  # C2 was accepted, and the ledger does not have it; C4 was sent by nobody
    mailing.add(SUPPRESSED, "C3", detail="550 no")
    found = mailing.table()
    assert found["is_in_agreement"].to_dict() == {"C1": True, "C2": False, "C3": True, "C4": False}
    assert found.loc["C4", "state"] == "unknown" and "does not know it" in found.loc["C4", "reason"]


def test_what_followed_is_dated_and_machines_do_not_count(mailing: Mailing) -> None:
    mailing.approve("C1", "C2")
    mailing.enqueue("C1", "C2")
    mailing.send({"C1": (ACCEPTED, "250 ok"), "C2": (ACCEPTED, "250 ok")})
    at = {name: NOW + timedelta(minutes=number) for number, name in enumerate(("soft", "hard", "scan", "click"))}
    mailing.queue.mark(key("C1"), "clicked", at["scan"], f"{BY_MACHINE}asked for the head alone", "1")
    mailing.queue.mark(key("C1"), "clicked", at["click"], None, "2")
    mailing.queue.mark(key("C1"), "opened", at["scan"], f"{BY_MACHINE}Gmail's proxy", "3")
    mailing.queue.mark(key("C2"), "bounced_soft", at["soft"], "mailbox full", "4")
    mailing.queue.mark(key("C2"), "bounced_hard", at["hard"], "no such mailbox", "5")
    found = mailing.table()
    assert found.loc["C1", "clicked_at"] == at["click"].replace(tzinfo=None) and pd.isna(found.loc["C1", "opened_at"])
    assert found.loc["C2", ["bounce", "bounce_reason"]].tolist() == ["hard", "no such mailbox"]
    assert found.loc["C2", "bounced_at"] == at["soft"].replace(tzinfo=None)


def test_metrics_sum_the_files_of_all_days(mailing: Mailing) -> None:
    mailing.approve("C1", "C2", "C3")
    mailing.add(SUPPRESSED, "C3", detail="no consent for email")
    mailing.enqueue("C1", "C2")
    mailing.send({"C1": (ACCEPTED, "250 ok"), "C2": (ACCEPTED, "250 ok")})
    mailing.queue.mark(key("C2"), "complained", NOW, None, "1")
    days = answered_days(DAY)
    assert (days[0], days[-1], len(days)) == (date(2026, 4, 5), DAY, 31)
    frame = deliveries(mailing.place, mailing.queue, days[0], days[-1])
    rows = write_deliveries(mailing.place, frame, days)
    written = pd.read_parquet(mailing.place.mail / f"{METRICS}.parquet").set_index("provider")
    assert rows == len(written) == 3
    assert written[["planned", "accepted", "left_out", "complained"]].to_dict("index") == {
        "gmail": {"planned": 1, "accepted": 1, "left_out": 0, "complained": 0},
        "yahoo": {"planned": 1, "accepted": 1, "left_out": 0, "complained": 1},
        "not queued": {"planned": 1, "accepted": 0, "left_out": 1, "complained": 0},
    }
    day_file = deliveries_folder(mailing.place) / f"day_key={DAY}" / "part.parquet"
    assert len(pd.read_parquet(day_file)) == 3 and "is_in_agreement" not in pd.read_parquet(day_file).columns
    write_deliveries(mailing.place, frame.iloc[:0], [DAY])
    assert len(pd.read_parquet(mailing.place.mail / f"{METRICS}.parquet")) == 0
