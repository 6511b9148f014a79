"""Messages in the desk: begun from a starter, their words changed, looked at with made-up values and for a customer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from customer360.mail.message import load_messages
from customer360.services.desk.models import AuditEntry
from tests.desk.in_django import Desk, desk_of
from tests.mail.mail_shop import EMAIL
from tests.services.api_server import write_shop
from tests.services.served_shop import ServedShop

CAMPAIGN = """
title: Spring
audience: everyone
value_per_conversion: 20
channels: {email: {cost: 0.5}}
message: spring
offer_id: o1
"""
OFFERS = """
    select 'o1' as offer_id, 'Ten percent' as name, null::varchar as category_id, null::varchar as product_id,
        null::varchar as condition, 1 as priority, date '2026-04-01' as starts_on, date '2026-06-01' as ends_on
"""


@pytest.fixture
def desk(_database: None, tmp_path: Path) -> Iterator[Desk]:
    attributes = {"city": {}, "first_name": {"personal": True}}
    shop = ServedShop(tmp_path, customers={"C1": {"city": "Zürich"}}, rules={"attributes": attributes, "email": EMAIL})
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


def test_the_form_of_a_campaign_chooses_its_message(desk: Desk) -> None:
    begun(desk)
    page = desk.client("marketer").get("/campaign-new/").content.decode()
    assert '<option value="spring">' in page
