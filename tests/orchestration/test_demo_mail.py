"""The demo's first day by e-mail: one campaign is approved, its day is sent to this machine alone, and a page shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb
from starlette.testclient import TestClient

from customer360.campaigns.ledger import SENT, read_ledger
from customer360.lake.operations.clock import shop_now
from customer360.lake.publishing.publishing import publish
from customer360.lake.publishing.version import open_version
from customer360.services.mailer.inbox import inbox
from customer360.services.mailer.sink import sink_folder
from orchestration.demo_mail import mail_first_day, mailed_text
from tests.campaigns.conftest import Desk
from tests.campaigns.test_mailing import BODY, people
from tests.support.random_shop import EMAIL

NOW = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)


def planned(root: Path) -> Desk:
    """A replayed shop whose plan mails two customers on Tuesday, and one on Wednesday."""
    desk = Desk(root, email={**EMAIL, "test_addresses": ["c1@shop.example"]})
    desk.message()
    (desk.settings.message_folder / "offer" / "body.mjml").write_text(BODY, encoding="utf-8")
    desk.campaign("message: offer\n")
    people(desk, C1="c1@shop.example", C2="c2@gmail.com", C3="c3@shop.example")
    later = {"contact_date": "2026-05-06", "send_at": "2026-05-06 07:00"}
    desk.draft({"customer_id": "C1"}, {"customer_id": "C2"}, {"customer_id": "C3", **later})
    with duckdb.connect() as connection:
        publish(desk.place, connection, {"traffic": "select 7 as views"}, datetime(2026, 5, 4, 16, tzinfo=UTC), NOW)
    return desk


def test_the_first_planned_day_is_mailed_to_this_machine(tmp_path: Path) -> None:
    desk = planned(tmp_path)
    mailed = mail_first_day(desk.settings, NOW, shop_now(desk.settings, NOW))
    assert mailed is not None
    assert (mailed.campaign_id, mailed.states) == ("spring", {"accepted": 2})
    assert f"{mailed.evening:%Y-%m-%d %H:%M}" == "2026-05-05 19:00"
    assert sorted(str(mail.message["To"]) for mail in mailed.shown) == ["c1@shop.example", "c2@gmail.com"]
    sent = read_ledger(desk.place, [SENT])
    assert sorted(sent["customer_id"]) == ["C1", "C2"] and set(sent["recorded_by"]) == {"mailer"}
    with open_version(desk.place) as version:
        published = version.connection.execute("select sum(accepted), sum(planned) from delivery_metrics").fetchone()
    assert published == (2, 2)
    text = mailed_text(mailed)
    assert "2 accepted; none left this machine" in text and "Subject:" in text and "Hello" in text


def test_a_page_shows_each_message_without_what_it_could_run(tmp_path: Path) -> None:
    desk = planned(tmp_path)
    mailed = mail_first_day(desk.settings, NOW, shop_now(desk.settings, NOW))
    assert mailed is not None
    page = TestClient(inbox(sink_folder(desk.place)))
    listed = page.get("/")
    assert "2 messages" in listed.text and "c1@shop.example" in listed.text
    address = f"/message/{mailed.shown[0].key}"
    assert "List-Unsubscribe" in page.get(address).text
    html = page.get(f"{address}/html")
    assert "Hello" in html.text and "sandbox" in html.headers["content-security-policy"]
    assert "Hello" in page.get(f"{address}/text").text and "DKIM" not in page.get(f"{address}/text").text
    assert page.get("/message/none").status_code == page.get(f"{address}/other").status_code == 404


def test_without_a_message_nothing_is_approved(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.draft({"customer_id": "C1"})
    assert mail_first_day(desk.settings, NOW, shop_now(desk.settings, NOW)) is None
    assert read_ledger(desk.place).empty
