"""What is approved of a campaign with a message is the plan with the words that were planned, whatever is written later."""

from __future__ import annotations

import stat
from typing import Any

import pytest

from customer360.campaigns.drafts import approved_definitions, approved_file, message_file, message_of
from customer360.campaigns.files import CampaignRefused, write_campaign
from customer360.campaigns.ledger import APPROVED, read_ledger
from customer360.campaigns.overview import campaign_overviews
from customer360.decisions import DecisionRefused
from customer360.mail.message import load_messages
from tests.campaigns.conftest import CAMPAIGN


def test_the_message_is_kept_beside_the_approved_plan_and_its_hash_in_the_ledger(mailing_desk: Any) -> None:
    desk = mailing_desk
    planned = load_messages(desk.settings)[0][0]
    desk.draft({"customer_id": "C1", "variant": "A"}, {"customer_id": "C2", "channel": "sms"})
    desk.message("Other words")
    desk.approve()
    assert message_of(desk.place, "spring", "spring-1") == planned
    file = message_file(approved_file(desk.place, "spring", "spring-1").parent, "spring-1")
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    approved = read_ledger(desk.place, [APPROVED]).set_index("customer_id")
    assert approved["variant"].fillna("none").to_dict() == {"C1": "A", "C2": "none"}
    assert set(approved["detail"]) == {f"looks right (message offer, {planned.content_hash[:16]})"}
    assert list(approved_definitions(desk.place)) == ["spring-1"]


def test_other_words_are_shown_as_a_change_since_the_plan(mailing_desk: Any) -> None:
    desk = mailing_desk
    desk.draft({"customer_id": "C1"})

    def changed() -> list[list[str]]:
        (overview,) = campaign_overviews(desk.settings)
        return [shown.changed for shown in [overview.draft, *overview.versions] if shown]

    assert changed() == [[]]
    desk.message("Other words")
    assert changed() == [["message"]]
    desk.approve()
    assert changed() == [["message"], ["message"]]
    desk.message()
    assert changed() == [[], []]


def test_a_message_that_may_not_be_sent_is_not_approved(mailing_desk: Any) -> None:
    desk = mailing_desk
    desk.draft({"customer_id": "C1"}, faults=["offer/body.mjml: the link is missing"])
    with pytest.raises(DecisionRefused, match=r"of spring-1 may not be sent:\s+offer/body.mjml: the link is missing"):
        desk.approve()
    assert desk.events(APPROVED) == []


def test_a_plan_without_its_message_is_not_approved(mailing_desk: Any) -> None:
    desk = mailing_desk
    desk.draft({"customer_id": "C1"})
    message_file(desk.place.plans / "2026-05-04", "spring-1").unlink()
    with pytest.raises(DecisionRefused, match="is not kept beside the plan any more"):
        desk.approve()


def test_a_campaign_with_a_message_that_is_not_there_is_not_written(mailing_desk: Any) -> None:
    desk = mailing_desk
    with pytest.raises(CampaignRefused, match="there is no message 'offers' that can be sent; did you mean 'offer'"):
        write_campaign(desk.settings, "summer", f"{CAMPAIGN}message: offers\n", None)
    assert write_campaign(desk.settings, "summer", f"{CAMPAIGN}message: offer\n", None).message == "offer"
