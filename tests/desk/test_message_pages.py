"""Messages in the desk: begun from a starter, their words changed, looked at with made-up values and for a customer."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from customer360.mail.links import link_secrets, read_link
from customer360.mail.message import load_messages
from customer360.services.desk.models import AuditEntry
from tests.desk.in_django import Desk, desk_of
from tests.mail.mail_shop import EMAIL
from tests.services.api_server import write_shop
from tests.services.served_shop import ServedShop
from tests.support.ports import free_port
from tests.support.smtp_receiver import Message, smtp_receiver

CAMPAIGN = """
title: Spring
audience: everyone
value_per_conversion: 20
channels: {email: {cost: 0.5}}
message: spring
offer_id: o1
"""
TESTER, REFUSED = "tester@shop.example", "refused@shop.example"
OFFERS = """
    select 'o1' as offer_id, 'Ten percent' as name, null::varchar as category_id, null::varchar as product_id,
        null::varchar as condition, 1 as priority, date '2026-04-01' as starts_on, date '2026-06-01' as ends_on
"""


@pytest.fixture
def desk(_database: None, tmp_path: Path) -> Iterator[Desk]:
    attributes = {"city": {}, "first_name": {"personal": True}}
    rules = {"attributes": attributes, "email": {**EMAIL, "test_addresses": [TESTER, REFUSED]}}
    shop = ServedShop(tmp_path, customers={"C1": {"city": "Zürich"}}, rules=rules)
    shop.tables["offers"] = OFFERS
    write_shop(shop.settings)
    shop.publish()
    with desk_of(shop) as desk:
        yield desk


def begun(desk: Desk) -> dict[str, str]:
    """A message begun by a marketer from the starter ``offer``: what its form holds."""
    response = desk.client("marketer").post("/messages/begin/", {"name": "spring", "source": "offer"})
    assert response.headers["Location"] == "/messages/spring/"
    page = desk.client("marketer").get("/messages/spring/")
    return {slot.key: text for slot, text in page.context["slots"]} | {"mark": page.context["message"].content_hash}


def test_a_marketer_begins_a_message_and_changes_its_words(desk: Desk) -> None:
    form = begun(desk)
    assert ":subject:en" in form and ":headline:nl" in form
    response = desk.client("marketer").post("/messages/spring/", {**form, ":headline:en": "Spring <b>is</b> here"})
    assert response.status_code == 302
    (message,), problems = load_messages(desk.shop.settings)
    assert not problems
    assert message.slots["headline"] == {
        "en": "Spring <b>is</b> here",
        "nl": form[":headline:nl"],
        "de": form[":headline:de"],
    }
    seen = desk.client("viewer").get("/messages/spring/preview/?language=en")
    assert "Spring" in seen.content.decode() and "<b>is</b>" not in seen.content.decode()
    saved = AuditEntry.objects.filter(action="message saved", subject="spring").order_by("id")
    assert [entry.username for entry in saved] == ["marketer", "marketer"] and "Spring" in saved[1].details["text"]


def test_words_that_may_not_be_sent_are_refused_with_the_remedy(desk: Desk) -> None:
    form = begun(desk)
    page = desk.client("marketer").post("/messages/spring/", {**form, ":headline:en": "Dear {{ unknown_name }}"})
    assert page.status_code == 200 and "unknown_name" in page.content.decode() and "What to do:" in page.content.decode()
    (message,), _problems = load_messages(desk.shop.settings)
    assert message.content_hash == form["mark"]


def test_of_two_edits_at_once_the_second_is_refused(desk: Desk) -> None:
    form = begun(desk)
    client = desk.client("marketer")
    client.post("/messages/spring/", {**form, ":headline:en": "First"})
    page = client.post("/messages/spring/", {**form, ":headline:en": "Second"})
    assert "was changed meanwhile" in page.content.decode()
    (message,), _problems = load_messages(desk.shop.settings)
    assert message.slots["headline"]["en"] == "First"


def test_viewers_change_nothing_and_names_are_checked(desk: Desk) -> None:
    form = begun(desk)
    assert desk.client("viewer").post("/messages/spring/", form).status_code == 403
    for name in ("../shop", "Spring Sale", "spring", ""):
        response = desk.client("marketer").post("/messages/begin/", {"name": name, "source": "offer"})
        assert response.headers["Location"] == "/messages/"
    assert (
        desk.client("marketer").post("/messages/begin/", {"name": "x", "source": "../.."}).headers["Location"] == "/messages/"
    )
    assert [message.name for message in load_messages(desk.shop.settings)[0]] == ["spring"]
    desk.client("marketer").post("/messages/spring/remove/", {"mark": "old"})
    assert len(load_messages(desk.shop.settings)[0]) == 1
    desk.client("marketer").post("/messages/spring/remove/", {"mark": form["mark"]})
    assert load_messages(desk.shop.settings)[0] == []


def test_a_preview_runs_nothing_and_a_customers_is_personal(desk: Desk) -> None:
    begun(desk)
    folder = desk.shop.settings.campaign_folder
    folder.mkdir(exist_ok=True)
    (folder / "spring.yaml").write_text(CAMPAIGN, encoding="utf-8")
    address = "/messages/spring/preview/?customer=C1&campaign=spring&language=en"
    assert desk.client("viewer").get(address).status_code == 403
    seen = desk.client("marketer").get(address)
    assert "Ten percent" in seen.content.decode()
    policy = seen.headers["Content-Security-Policy"]
    assert "sandbox" in policy and "default-src 'none'" in policy and "script-src" not in policy
    assert seen.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "frame-src 'self'" in desk.client("viewer").get("/messages/spring/").headers["Content-Security-Policy"]
    assert AuditEntry.objects.filter(action="personal data viewed", subject="C1").count() == 1
    assert desk.client("marketer").get("/messages/spring/preview/?customer=C1&campaign=autumn").status_code == 422


def sent(desk: Desk, role: str = "marketer", **form: str) -> str:
    """What the page says after a test mail was asked for."""
    response = desk.client(role).post("/messages/spring/test/", {"to": TESTER, "language": "en", **form}, follow=True)
    return " ".join(str(message) for message in response.context["messages"])


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Message]]:
    """What a relay of this machine takes, which the desk's environment names."""
    port = free_port()
    for name, value in {"HOST": "127.0.0.1", "PORT": str(port), "TLS": "none"}.items():
        monkeypatch.setenv(f"CUSTOMER360_MAILER_{name}", value)
    with smtp_receiver(port, lambda step, to: "554 5.7.1 no" if step == "end" and "refused" in to else None) as taken:
        yield taken


def test_a_test_mail_is_the_customers_and_does_nothing_to_them(desk: Desk, inbox: list[Message]) -> None:
    begun(desk)
    folder = desk.shop.settings.campaign_folder
    folder.mkdir(exist_ok=True)
    (folder / "spring.yaml").write_text(CAMPAIGN, encoding="utf-8")
    asked = desk.client("marketer").get("/messages/spring/?customer=C1&campaign=spring&language=en").content.decode()
    assert '<input type="hidden" name="customer" value="C1">' in asked and f"<option>{TESTER}</option>" in asked
    assert "250 2.0.0 Ok" in sent(desk, customer="C1", campaign="spring")
    assert desk.client("viewer").post("/messages/spring/test/", {"to": TESTER}).status_code == 403
    (taken,) = inbox
    mail = email.message_from_bytes(taken.content, policy=email.policy.default)
    assert (taken.sender, taken.recipient, mail["To"]) == ("b@bounces.shop.example", TESTER, TESTER)
    assert mail["Subject"].startswith("[Test] ") and "Ten percent" in mail["Subject"]
    text = "".join(str(part.get_content()) for part in mail.iter_parts())
    links = set(re.findall(r"https://[^\s\"<>]+", text)) | {mail["List-Unsubscribe"].split("<")[2].strip(">")}
    assert {"https://go.shop.example/m/u/preview", "https://go.shop.example/m/p/preview"} < links
    assert all(read_link(link.rpartition("/")[2], link_secrets(desk.shop.settings.place)) is None for link in links)
    assert mail["List-Unsubscribe"].startswith("<mailto:unsubscribe@shop.example>")
    entries = AuditEntry.objects.filter(subject="spring", action__startswith="test mail").order_by("id")
    assert [entry.action for entry in entries] == ["test mail asked for", "test mail sent"]
    assert entries[0].details == {"customer": "C1", "campaign": "spring", "language": "en", "to": TESTER}
    assert AuditEntry.objects.filter(action="personal data viewed", subject="C1").exists()


def test_a_test_mail_that_cannot_be_sent_says_why(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(desk)
    assert "CUSTOMER360_MAILER_HOST" in sent(desk)
    monkeypatch.setenv("CUSTOMER360_MAILER_HOST", "mail.shop.example")
    monkeypatch.setenv("CUSTOMER360_MAILER_TLS", "none")
    assert "another machine" in sent(desk)
    monkeypatch.setenv("CUSTOMER360_MAILER_HOST", "127.0.0.1")
    monkeypatch.setenv("CUSTOMER360_MAILER_PORT", str(free_port()))
    assert "cannot be reached" in sent(desk)
    assert f"goes to a test address alone; there are {TESTER}, {REFUSED}" in sent(desk, to="anybody@else.example")
    assert "Choose a campaign" in sent(desk, customer="C1")


def test_test_mails_are_few(desk: Desk, inbox: list[Message], monkeypatch: pytest.MonkeyPatch) -> None:
    begun(desk)
    monkeypatch.setattr("customer360.services.desk.pages.mail_messages.MOST_TESTS", 2)
    assert [("Wait a while" in sent(desk)) for _ in range(3)] == [False, False, True]
    assert "Wait a while" not in sent(desk, "approver")
    assert len(inbox) == 3
    assert "was not taken: 554 5.7.1 no" in sent(desk, "admin", to=REFUSED)


def test_the_form_of_a_campaign_chooses_its_message(desk: Desk) -> None:
    begun(desk)
    page = desk.client("marketer").get("/campaign-new/").content.decode()
    assert '<option value="spring">' in page
