"""What is due leaves once, nobody is contacted who no longer allows it, and a crash neither loses nor doubles a contact."""

from __future__ import annotations

import multiprocessing
import os
from datetime import timedelta
from typing import Any

import pytest

import customer360.campaigns.sending as sending_module
from customer360.campaigns.approval import withdraw
from customer360.campaigns.ledger import entry_id, ledger_parts, read_ledger
from customer360.campaigns.sending import OUTBOX_COLUMNS, SendRefused, outbox, send
from customer360.decisions import Request
from customer360.settings import Settings
from tests.campaigns.conftest import Desk, at, holdout

MORNING = "2026-05-05 07:15"  # a quarter past nine in Amsterdam


def contact(customer: str, **changes: object) -> dict[str, Any]:
    return {"customer_id": customer, **changes}


def test_what_is_due_is_handed_over_by_campaign_and_channel(desk: Desk) -> None:
    desk.draft(
        contact("C1"),
        contact("C2", send_at="2026-05-05 07:15"),
        contact("C3", send_at="2026-05-05 07:16"),
        contact("C4", channel="sms", cost=2.0),
        holdout("C5"),
    )
    desk.approve()
    done = desk.send(MORNING)
    assert {(file.parent.name, file.name): count for file, count in done.files.items()} == {
        ("2026-05-05", "spring-email-20260505T071500.000000Z.csv"): 2,
        ("2026-05-05", "spring-sms-20260505T071500.000000Z.csv"): 1,
    }
    found = desk.handed_over()
    assert tuple(found.columns) == OUTBOX_COLUMNS
    assert list(found["customer_id"]) == ["C1", "C2", "C4"]
    assert found["send_at"].iloc[0] == "2026-05-05T07:00:00Z" and set(found["offer_id"]) == {"O1"}
    assert found["contact_key"].iloc[0] == entry_id("sent", ["spring", "spring-1", "C1"])
    sent = read_ledger(desk.place, ["sent"])
    assert list(sent["detail"]) == [
        f"2026-05-05/{name}" for _, name in sorted((f.name, f.name) for f in done.files for _ in range(done.files[f]))
    ]
    assert set(sent["event_at"].astype(str)) == {"2026-05-05 07:15:00"}


def test_sending_again_sends_nothing(desk: Desk) -> None:
    desk.draft(contact("C1"))
    desk.approve()
    desk.send(MORNING)
    parts, found = ledger_parts(desk.place), desk.handed_over()
    again = desk.send("2026-05-05 08:15")
    assert (again.contacts, again.suppressed, again.finished) == (0, {}, [])
    assert ledger_parts(desk.place) == parts and desk.handed_over().equals(found)


def test_a_draft_that_nobody_approved_is_not_sent(desk: Desk) -> None:
    desk.draft(contact("C1"))
    assert desk.send(MORNING).contacts == 0
    assert desk.handed_over().empty and not ledger_parts(desk.place)


@pytest.mark.full
def test_a_holdout_is_never_contacted(desk: Desk) -> None:
    desk.draft(contact("C1"), holdout("C2"), holdout("C3", "global"))
    desk.approve()
    for hour in range(24 * 3):
        desk.send(f"{at('2026-05-04 12:00') + timedelta(hours=hour):%Y-%m-%d %H:%M}")
    assert desk.events("sent") == [("sent", "C1")]
    assert list(desk.handed_over()["customer_id"]) == ["C1"]


def test_consents_and_suppressions_are_read_again_just_before(desk: Desk) -> None:
    desk.draft(*(contact(name) for name in ("C1", "C2", "C3", "C4", "gone")))
    desk.approve()
    desk.customers("C1,false,,", "C2,true,,", "C3,true,,", "C4,true,true,")
    desk.reference("suppressions", "customer_id,channel,reason\nC2,,complaint\nC3,sms,bounce\n")
    done = desk.send(MORNING)
    assert list(desk.handed_over()["customer_id"]) == ["C3", "C4"]
    assert done.suppressed == {"no consent for email": 2, "suppressed: complaint": 1}
    left = read_ledger(desk.place, ["suppressed"])
    assert dict(zip(left["customer_id"], left["detail"], strict=True)) == {
        "C1": "no consent for email",
        "C2": "suppressed: complaint",
        "gone": "no consent for email",
    }
    desk.customers("C1,true,,", "C2,true,,", "C3,true,,", "C4,true,true,")
    assert desk.send("2026-05-05 09:00").contacts == 0  # who was suppressed once is not taken up again


def test_a_contact_whose_day_has_passed_where_the_customer_is_is_not_sent(desk: Desk) -> None:
    desk.draft(contact("C1"), contact("C4"))
    desk.approve()
    done = desk.send("2026-05-05 22:30")  # 0:30 on Wednesday in Amsterdam, 18:30 on Tuesday in New York
    assert list(desk.handed_over()["customer_id"]) == ["C4"]
    assert done.suppressed == {"too late: its day has passed": 1}
    assert desk.send("2026-05-05 23:30").contacts == 0


def test_the_last_moment_of_a_day_is_not_too_late(desk: Desk) -> None:
    desk.draft(contact("C1"))
    desk.approve()
    assert desk.send("2026-05-05 21:59").contacts == 1


def test_until_hands_over_ahead_of_time_but_no_more_than_a_day(desk: Desk) -> None:
    desk.draft(contact("C1"), contact("C2", send_at="2026-05-05 16:00"))
    desk.approve()
    with pytest.raises(SendRefused, match="more than 24 hours ahead"):
        desk.send("2026-05-04 12:00", until=at("2026-05-05 12:01"))
    assert desk.send("2026-05-04 12:00", until=at("2026-05-05 12:00")).contacts == 1
    assert list(read_ledger(desk.place, ["sent"])["event_at"].astype(str)) == ["2026-05-05 07:00:00"]


@pytest.mark.full
def test_nothing_is_sent_while_consents_cannot_be_read(desk: Desk) -> None:
    desk.draft(contact("C1"), contact("C2", send_at="2026-05-05 08:00"))
    desk.approve()
    assert desk.send(MORNING).contacts == 1
    desk.customers("C1,perhaps,,", "C2,perhaps,,", "C3,true,,")
    with pytest.raises(SendRefused, match="nothing is sent while customers cannot be read again") as refused:
        desk.send("2026-05-05 08:15")
    assert "perhaps" not in str(refused.value)
    assert desk.events("sent", "suppressed") == [("sent", "C1")] and list(desk.handed_over()["customer_id"]) == ["C1"]
    desk.customers("C1,true,,", "C2,true,,", "C3,true,,")
    assert desk.send("2026-05-05 08:30").contacts == 1


def test_a_customer_whose_row_is_broken_is_not_contacted_and_the_others_are(desk: Desk) -> None:
    """The consent that the customer gave before is no longer known to hold."""
    desk.draft(contact("C1"), contact("C2", send_at="2026-05-05 08:00"), contact("C3", send_at="2026-05-05 08:00"))
    desk.approve()
    desk.send(MORNING)
    desk.customers("C1,true,,", "C2,perhaps,,", "C3,true,,", "C4,true,true,")
    done = desk.send("2026-05-05 08:15")
    assert (done.contacts, done.suppressed) == (1, {"no consent for email": 1})
    assert desk.events("sent", "suppressed") == [("sent", "C1"), ("sent", "C3"), ("suppressed", "C2")]


@pytest.mark.parametrize("step", ["load_again", "reasons_against", "_write_aside", "append", "_hand_over"])
@pytest.mark.parametrize("after", [False, True])
def test_a_crash_between_any_two_steps_neither_loses_nor_doubles(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    desk.draft(contact("C1"), contact("C2"), contact("C4", channel="sms", cost=2.0))
    desk.approve()
    real = getattr(sending_module, step)

    def killed(*arguments: object) -> None:
        if after:
            real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sending_module, step, killed)
        with pytest.raises(KeyboardInterrupt):
            desk.send(MORNING)
    taken = [file.read_text() for file in outbox(desk.place).glob("[0-9]*/*.csv")]
    for file in outbox(desk.place).glob("[0-9]*/*.csv"):
        file.unlink()  # a tool has fetched it
    desk.send("2026-05-05 08:15")
    desk.send("2026-05-05 09:15")
    left = [file.read_text() for file in outbox(desk.place).glob("[0-9]*/*.csv")]
    lines = [line for text in [*taken, *left] for line in text.splitlines()[1:]]
    assert sorted(line.split(",")[1] for line in lines) == ["C1", "C2", "C4"]
    assert sorted(desk.events("sent")) == [("sent", "C1"), ("sent", "C2"), ("sent", "C4")]
    assert not list((outbox(desk.place) / sending_module.ASIDE).glob("*/*"))


def _die_at(settings: Settings, step: str, after: bool) -> None:
    """In a process of its own: end at once, as by SIGKILL, before or after a step."""
    real = getattr(sending_module, step)

    def die(*arguments: object) -> None:
        if after:
            real(*arguments)
        os._exit(9)

    setattr(sending_module, step, die)
    send(settings, at(MORNING), at(MORNING), "run 1")


@pytest.mark.full
@pytest.mark.parametrize("step", ["append", "_hand_over"])
@pytest.mark.parametrize("after", [False, True])
def test_a_killed_process_neither_loses_nor_doubles(desk: Desk, step: str, after: bool) -> None:
    desk.draft(contact("C1"), contact("C4", channel="sms", cost=2.0))
    desk.approve()
    process = multiprocessing.get_context("spawn").Process(target=_die_at, args=(desk.settings, step, after))
    process.start()
    process.join()
    assert process.exitcode == 9
    desk.send("2026-05-05 08:15")
    assert sorted(desk.handed_over()["customer_id"]) == ["C1", "C4"]
    assert sorted(desk.events("sent")) == [("sent", "C1"), ("sent", "C4")]


def test_a_half_written_file_of_a_dead_process_is_thrown_away(desk: Desk) -> None:
    desk.draft(contact("C1"))
    desk.approve()
    aside = outbox(desk.place) / sending_module.ASIDE / "2026-05-05"
    aside.mkdir(parents=True)
    (aside / ".tmp-0.csv").write_text("contact_k")
    assert desk.send(MORNING).contacts == 1
    assert not list(aside.iterdir())


def test_two_sends_at_one_moment_never_overwrite_a_file(desk: Desk) -> None:
    desk.draft(contact("C1"), contact("C2", send_at="2026-05-05 08:00"))
    desk.approve()
    desk.send(MORNING)
    desk.send(MORNING, until=at("2026-05-05 09:00"))
    assert sorted(desk.handed_over()["customer_id"]) == ["C1", "C2"]


@pytest.mark.full
def test_a_hand_over_says_when_the_next_contact_is_due(desk: Desk) -> None:
    desk.draft(
        contact("C1"),
        contact("C2", send_at="2026-05-05 16:00"),
        contact("C3", send_at="2026-05-05 18:00"),
        holdout("C4") | {"send_at": "2026-05-05 08:00"},
    )
    assert desk.send(MORNING).next_due is None  # nothing is approved
    desk.approve()
    assert desk.send("2026-05-05 06:00").next_due == at("2026-05-05 07:00")
    assert desk.send(MORNING).next_due == at("2026-05-05 16:00")
    assert desk.send("2026-05-05 16:00").next_due == at("2026-05-05 18:00")
    withdraw(desk.settings, "spring", Request("wrong offer", at(MORNING), "bert"), at("2026-05-05 17:00"))
    assert desk.send("2026-05-05 17:00").next_due is None
