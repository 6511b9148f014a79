"""The page of sending: how far it is, what comes back, and who may stop it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from customer360.campaigns.ledger import SENT, SUPPRESSED
from customer360.mail.deliveries import METRICS, answered_days, deliveries, deliveries_folder, write_deliveries
from customer360.mail.queue import URL_VARIABLE
from customer360.mail.queue.tables import ACCEPTED, FAILED, UNKNOWN
from customer360.services.desk.models import AuditEntry
from tests.desk.in_django import Desk, desk_of
from tests.mail.mail_shop import EMAIL
from tests.mail.mailing import DAY, NOW, Mailing, key
from tests.services.api_server import write_shop
from tests.services.served_shop import ServedShop


@pytest.fixture
def mailing(tmp_path: Path) -> Mailing:
    """Four contacts: accepted and complained about, failed, unknown, and left out."""
    mailing = Mailing(tmp_path / "data")
    mailing.approve("C1", "C2", "C3", "C4")
    mailing.enqueue("C1", "C2", "C3")
    mailing.send({"C1": (ACCEPTED, "250 ok"), "C2": (FAILED, "550 no such user"), "C3": (UNKNOWN, "the line was cut")})
    mailing.add(SENT, "C1", "C3")
    mailing.add(SUPPRESSED, "C2", detail="550 no such user")
    mailing.add(SUPPRESSED, "C4", detail="no consent for email")
    mailing.queue.mark(key("C1"), "complained", NOW, None, "1")
    mailing.queue.mark(key("C1"), "bounced_hard", NOW, "the mailbox does not exist", "2")
    return mailing


@pytest.fixture
def desk(_database: None, tmp_path: Path, mailing: Mailing) -> Iterator[Desk]:
    shop = ServedShop(tmp_path, customers={"C1": {}}, rules={"attributes": {"city": {}}, "email": EMAIL})
    write_shop(shop.settings)
    days = answered_days(DAY)
    write_deliveries(mailing.place, deliveries(mailing.place, mailing.queue, days[0], days[-1]), days)
    files = deliveries_folder(mailing.place) / "*" / "part.parquet"
    shop.tables |= {
        METRICS: f"from read_parquet('{mailing.place.mail / METRICS}.parquet')",
        "email_deliveries": f"from read_parquet('{files}', hive_partitioning = false)",
    }
    shop.publish()
    with desk_of(shop) as desk:
        yield desk


def test_everybody_sees_how_far_sending_is_and_why_messages_came_back(desk: Desk) -> None:
    page = desk.client("viewer").get("/email/?days=90").content.decode()
    assert "1 of 3 messages (33.33%) came back from an address that is gone" in page
    rates = desk.client("viewer").get("/email/?days=90&csv=rates").content.decode().splitlines()
    assert rates[1].split(",")[1:3] == [str(1 / 3)] * 2  # of those that left: accepted, failed and unknown
    for text in ("550 no such user", "no consent for email", "the mailbox does not exist", "(too few to judge)"):
        assert text in page, text
    assert "Stop and resume" not in page


def test_a_queue_that_cannot_be_opened_is_told_in_words(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.sqlite3"
    broken.write_bytes(b"this is no database " * 100)
    monkeypatch.setenv(URL_VARIABLE, f"sqlite:///{broken}")
    answer = desk.client("viewer").get("/email/")
    assert answer.status_code == 503
    assert f"the mail queue sqlite:///{broken} cannot be opened (DatabaseError)" in answer.content.decode()


def test_an_approver_stops_and_resumes_with_a_reason_that_is_kept(desk: Desk, mailing: Mailing) -> None:
    client = desk.client("approver")
    assert client.post("/email/stop/", {"campaign": "spring", "reason": ""}).status_code == 302
    assert not mailing.queue.is_stopped("spring")
    client.post("/email/stop/", {"campaign": "spring", "reason": "wrong price"})
    assert mailing.queue.is_stopped("spring") and not mailing.queue.is_stopped("autumn")
    assert "stopped by approver: wrong price" in client.get("/email/").content.decode()
    client.post("/email/resume/", {"campaign": "spring", "reason": "mended"})
    assert not mailing.queue.is_stopped("spring")
    client.post("/email/stop/", {"campaign": "", "reason": "blocked by a provider"})
    assert mailing.queue.is_stopped("autumn")
    assert "blocked by a provider" in client.get("/email/").content.decode()
    entries = AuditEntry.objects.filter(action__startswith="email").order_by("id").values_list("action", "subject", "reason")
    assert list(entries) == [
        ("email stopped", "spring", "wrong price"),
        ("email resumed", "spring", "mended"),
        ("email stopped", "all", "blocked by a provider"),
    ]


def test_what_is_unknown_is_sent_again_by_a_person_alone(desk: Desk, mailing: Mailing) -> None:
    before = mailing.queue.contact(key("C3"))
    assert before is not None and before.state == UNKNOWN
    desk.client("approver").post("/email/send-unknown/", {"campaign": "spring", "reason": "the log says none arrived"})
    after = mailing.queue.contact(key("C3"))
    assert after is not None and after.state == "queued"
    assert AuditEntry.objects.get(action="email sent again").details == {"messages": 1}
