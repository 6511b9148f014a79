"""Contacts by e-mail, from approval to the message: what is queued, what is looked at again, and what the ledger learns."""

from __future__ import annotations

import email
import email.policy
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd
import pytest

from customer360.campaigns.approval import withdraw
from customer360.campaigns.definition import Campaign, Channel, SendWindow
from customer360.campaigns.ledger import SENT, SUPPRESSED, ledger_parts, read_ledger
from customer360.campaigns.mailing import sync_ledger
from customer360.decisions import DecisionRefused, Request
from customer360.lake.publishing.publishing import publish
from customer360.mail.links import link_secrets
from customer360.mail.overview import brake
from customer360.mail.queue import MailQueue, open_queue
from customer360.mail.queue.messages import Outcome
from customer360.mail.queue.tables import ACCEPTED, FAILED, LEFT_OUT, QUEUED, UNKNOWN
from customer360.mail.return_paths import read_return_path
from customer360.services.mailer.preparation import Preparation, wait_for_hours
from customer360.services.mailer.server import make_worker, run_worker
from customer360.services.mailer.settings import MailerSettings
from customer360.services.mailer.worker import Letter
from tests.campaigns.conftest import Desk, at
from tests.support.ports import free_port
from tests.support.random_shop import EMAIL
from tests.support.smtp_receiver import smtp_receiver

DUE = "2026-05-05 07:30"
BODY = """<mjml><mj-head><mj-preview>{{ preheader }}</mj-preview></mj-head><mj-body><mj-section><mj-column><mj-text>
<p>Hello</p><p><a href="{{ link.unsubscribe }}">Stop</a> {{ email.postal_address }}</p>
</mj-text></mj-column></mj-section></mj-body></mjml>"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Four customers of whom three have an address, and an approved plan for all of them, due on Tuesday at 9 in Amsterdam."""
    desk = Desk(tmp_path, email={**EMAIL, "test_addresses": ["c1@shop.example"]})
    desk.settings = desk.settings.model_copy(update={"shop": desk.settings.shop.model_copy(update={"live": True})})
    desk.message()
    (desk.settings.message_folder / "offer" / "body.mjml").write_text(BODY, encoding="utf-8")
    desk.campaign("message: offer\n")
    people(desk, C1="c1@shop.example", C2="c2@gmail.com", C3="C3@Shop.example", C4="")
    rows = [{"customer_id": f"C{number}", "expected_value": float(number)} for number in range(1, 5)]
    desk.approve(desk.draft(*rows))
    return desk


def people(desk: Desk, *, no_consent: tuple[str, ...] = (), zone: str = "", **addresses: str) -> None:
    rows = [f"{name},{name not in no_consent},{zone},{address}" for name, address in addresses.items()]
    desk.reference("customers", "\n".join(["customer_id,consent_email,time_zone,email", *rows]) + "\n")


def queue_of(desk: Desk) -> MailQueue:
    return open_queue(desk.place)


def states(desk: Desk) -> dict[str, int]:
    return queue_of(desk).counts().groupby("state")["messages"].sum().to_dict()


def prepared(desk: Desk, now: str, **more: Any) -> tuple[list[Letter], dict[str, Outcome]]:
    """What becomes of all that is due at a time."""
    publish_nothing(desk)
    queue, moment = queue_of(desk), at(now)
    leased = queue.lease(100, "one", moment, moment + timedelta(minutes=1))
    preparation = Preparation(desk.settings, queue, signer=None, consent_seconds=0, is_sink=True, **more)
    letters, outcomes = preparation.prepare(leased, moment)
    queue.record(outcomes)
    names = {contact.contact_key: contact.customer_id for contact in leased}
    return letters, {names[outcome.contact_key]: outcome for outcome in outcomes}


def publish_nothing(desk: Desk) -> None:
    with duckdb.connect() as connection:
        tables = {"offers": "select 'F1' as offer_id, null::varchar as category_id"}
        publish(desk.place, connection, tables, at("2026-05-05 07:00"), at("2026-05-05 07:00"))


def sent(desk: Desk, state: str = ACCEPTED, reply: str = "250 Ok", now: str = DUE) -> None:
    queue, moment = queue_of(desk), at(now)
    leased = queue.lease(100, "one", moment, moment + timedelta(minutes=1))
    queue.record([Outcome(contact.contact_key, contact.attempt, state, moment, reply) for contact in leased])


def sync(desk: Desk, now: str = DUE) -> int:
    return sync_ledger(desk.settings, queue_of(desk), at(now), at(now), "mailer")


def test_due_contacts_of_a_campaign_with_a_message_are_queued_once_and_no_file_is_written(desk: Desk) -> None:
    done = desk.send(DUE)
    assert (done.queued, done.contacts, done.suppressed) == (3, 0, {"no e-mail address": 1})
    assert desk.send(DUE).queued == 0
    assert states(desk) == {QUEUED: 3}
    assert desk.handed_over().empty
    assert desk.events(SENT) == [] and desk.events(SUPPRESSED) == [("suppressed", "C4")]


def test_what_is_due_later_waits_in_the_queue(desk: Desk) -> None:
    assert desk.send("2026-05-04 20:00", until=at(DUE)).queued == 3
    assert queue_of(desk).next_due() == at("2026-05-05 07:00")


def test_the_ledger_learns_once_what_became_of_messages(desk: Desk) -> None:
    desk.send(DUE)
    sent(desk)
    assert sync(desk) == 3 and sync(desk) == 0
    rows = read_ledger(desk.place, [SENT])
    assert rows["customer_id"].tolist() == ["C1", "C2", "C3"] and set(rows["detail"]) == {"accepted: 250 Ok"}
    assert set(rows["event_at"]) == {pd.Timestamp(DUE)}
    assert desk.send("2026-05-05 09:00").queued == 0


def test_the_ledger_grows_by_a_file_a_quarter_of_an_hour_and_by_one_at_the_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customer360.services.mailer.worker.CARE_SECONDS", 0.02)
    looks = Mock(side_effect=brake)
    monkeypatch.setattr("customer360.services.mailer.server.brake", looks)
    desk.send(DUE)
    publish_nothing(desk)
    before, port = len(ledger_parts(desk.place)), free_port()
    own = MailerSettings(host="127.0.0.1", port=port, tls="none", connections=1)

    def slow(step: str, recipient: str) -> None:
        time.sleep(0.4 if step == "rcpt" else 0)

    with smtp_receiver(port, slow):
        worker = make_worker(desk.settings, own, lambda *_: at(DUE))
        run_worker(desk.settings, own, worker, is_once=True, shop_clock=lambda *_: at(DUE))
    assert len(desk.events(SENT)) == 3
    assert len(ledger_parts(desk.place)) - before <= 2 < looks.call_count


def test_the_ledger_calls_unknown_ones_sent_and_failed_ones_suppressed(desk: Desk) -> None:
    desk.send(DUE)
    queue, moment = queue_of(desk), at(DUE)
    leased = queue.lease(3, "one", moment, moment)
    found = zip(leased, [(UNKNOWN, "lost at end"), (FAILED, "550 5.1.1 none"), (LEFT_OUT, "unsubscribed")], strict=True)
    queue.record([Outcome(one.contact_key, one.attempt, state, moment, reply) for one, (state, reply) in found])
    desk.send("2026-05-05 08:00")  # syncs before it hands over
    details = dict(zip(read_ledger(desk.place)["customer_id"], read_ledger(desk.place)["detail"], strict=True))
    assert details == {"C4": "no e-mail address", "C3": "unknown: lost at end", "C2": "550 5.1.1 none", "C1": "unsubscribed"}


def test_a_crash_before_the_queue_is_told_leaves_each_fact_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.send(DUE)
    sent(desk)
    with monkeypatch.context() as patch:
        patch.setattr(MailQueue, "synced", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            sync(desk)
    assert sync(desk) == 0
    assert len(desk.events(SENT)) == 3 and queue_of(desk).unsynced(10).empty


def test_withdrawing_takes_back_what_is_queued_and_leaves_what_is_being_sent(desk: Desk) -> None:
    desk.send(DUE)
    queue_of(desk).lease(1, "one", at(DUE), at(DUE) + timedelta(minutes=1))  # C3, the most valuable
    done = withdraw(desk.settings, "spring", Request("wrong price", at(DUE), "anna"), at(DUE))
    assert (done.contacts, done.sent) == (2, 1)
    assert sorted(desk.events(SUPPRESSED)) == [("suppressed", "C1"), ("suppressed", "C2"), ("suppressed", "C4")]
    assert states(desk) == {"sending": 1, LEFT_OUT: 2}
    with pytest.raises(DecisionRefused):
        withdraw(desk.settings, "spring", Request("again", at(DUE), "anna"), at(DUE))
    assert sync(desk) == 0


def test_a_message_says_who_sends_it_how_to_stop_it_and_nothing_else(desk: Desk) -> None:
    desk.send(DUE)
    letters, outcomes = prepared(desk, DUE)
    assert [letter.contact.customer_id for letter in letters] == ["C3", "C2", "C1"] and outcomes == {}
    first = letters[0]
    message = email.message_from_bytes(first.build(), policy=email.policy.SMTP)
    assert message["To"] == "C3@shop.example" == first.recipient
    assert read_return_path(first.sender, link_secrets(desk.place)) == first.contact.contact_key
    assert first.contact.contact_key in message["Message-ID"]
    assert first.build() == first.build()
    assert message["Subject"] == "Hello" and message["Feedback-ID"] == "spring:A:campaign:random"
    assert "https://shop.example/m/u/" in message["List-Unsubscribe"]


def test_consent_suppression_stop_and_address_are_looked_at_again_at_the_moment_of_sending(desk: Desk) -> None:
    desk.send(DUE)
    queue_of(desk).stop("C1", None, "email", None, "unsubscribed", "page", at(DUE))
    people(desk, no_consent=("C2",), C1="c1@shop.example", C2="c2@gmail.com", C3="")
    letters, outcomes = prepared(desk, DUE)
    assert letters == []
    reasons = {customer: outcome.reply for customer, outcome in outcomes.items()}
    assert reasons == {"C1": "unsubscribed", "C2": "no consent for email", "C3": "no e-mail address"}
    assert states(desk) == {LEFT_OUT: 3}


def test_an_address_that_changed_to_one_that_has_the_message_is_left_out_in_any_letter_case(desk: Desk) -> None:
    desk.send(DUE)
    people(desk, C1="c1@shop.example", C2="C1@SHOP.example", C3="new@gmail.com")
    letters, outcomes = prepared(desk, DUE)
    assert [letter.recipient for letter in letters] == ["new@gmail.com", "c1@shop.example"]
    assert outcomes["C2"].reply == "its address has a message of this campaign already"


def test_two_versions_of_a_campaign_never_mail_an_address_twice_and_two_campaigns_may(desk: Desk) -> None:
    desk.send(DUE)
    people(desk, C1="c1@shop.example", C2="c2@gmail.com", C3="c3@shop.example", C5="C1@shop.example")
    desk.approve(desk.draft({"customer_id": "C5"}, version="spring-2"), now="2026-05-04 13:00")
    desk.send(DUE)
    assert states(desk) == {QUEUED: 3, LEFT_OUT: 1}
    desk.campaign("message: offer\n", name="summer")
    desk.draft({"customer_id": "C5"}, version="summer-1", campaign="summer")
    desk.approve("summer-1", "summer")
    assert desk.send(DUE).queued == 1


def test_a_campaign_and_message_that_are_edited_while_they_run_go_out_as_they_were_approved(desk: Desk) -> None:
    desk.send(DUE)
    desk.message(subject="Other")
    desk.campaign("send_windows: [{from: 22, to: 24}]\n")
    letters, _ = prepared(desk, DUE)
    assert len(letters) == 3 and b"Subject: Hello\r\n" in letters[0].build()


def test_a_message_whose_day_has_passed_where_the_customer_is_is_left_out(desk: Desk) -> None:
    desk.send(DUE)
    people(desk, zone="Pacific/Kiritimati", C1="c1@shop.example", C2="c2@gmail.com", C3="c3@shop.example")
    _, outcomes = prepared(desk, "2026-05-05 10:30")
    assert {outcome.reply for outcome in outcomes.values()} == {"too late: its day has passed"}


def test_quiet_hours_are_those_where_the_customer_is_now(desk: Desk) -> None:
    desk.send(DUE)
    people(desk, zone="America/New_York", C1="c1@shop.example", C2="c2@gmail.com", C3="c3@shop.example")
    letters, outcomes = prepared(desk, DUE)  # half past three there; the campaign sends from 8
    assert letters == [] and {outcome.next_attempt_at for outcome in outcomes.values()} == {at("2026-05-05 12:00")}
    assert states(desk) == {QUEUED: 3}
    assert len(prepared(desk, "2026-05-05 12:00")[0]) == 3


def test_until_the_dns_check_passes_only_test_addresses_are_mailed(desk: Desk) -> None:
    desk.send(DUE)
    publish_nothing(desk)
    queue, moment = queue_of(desk), at(DUE)
    preparation = Preparation(desk.settings, queue, signer=None, consent_seconds=0, is_sink=False)
    letters, outcomes = preparation.prepare(queue.lease(9, "one", moment, moment), moment)
    assert [letter.recipient for letter in letters] == ["c1@shop.example"]
    assert {(outcome.state, outcome.reply) for outcome in outcomes} == {
        (QUEUED, "the DNS check has not passed: customer360 email check")
    }


def hours(*windows: dict[str, Any]) -> Campaign:
    return Campaign(
        campaign_id="spring",
        title="Spring",
        audience="everyone",
        value_per_conversion=1,
        channels={"email": Channel()},
        send_windows=tuple(SendWindow.model_validate(window) for window in windows),
    )


@pytest.mark.parametrize(
    ("now", "waits"),
    [
        ("2026-03-29 00:30", timedelta(minutes=30)),  # 01:30; at 02:00 it is 03:00
        ("2026-10-25 00:30", timedelta(minutes=30)),  # 02:30 in summer time; 3:00 comes an hour and a half later, 2:00 again
        ("2026-06-01 00:30", timedelta(0)),
    ],
)
def test_hours_follow_daylight_saving(now: str, waits: timedelta) -> None:
    zone, moment = ZoneInfo("Europe/Amsterdam"), at(now)
    windows = {"from": 3, "to": 5} if "-03-" in now else {"from": 2, "to": 3}
    found = wait_for_hours(hours(windows), zone, moment.astimezone(zone).date(), moment)
    assert found == (timedelta(0) if "-10-" in now else waits)


def test_hours_that_are_over_for_the_day_do_not_come_again() -> None:
    campaign, zone, day = hours({"from": 8, "to": 20}), ZoneInfo("Asia/Kathmandu"), date(2026, 5, 5)
    assert wait_for_hours(campaign, zone, day, datetime(2026, 5, 5, 2, 0, tzinfo=UTC)) == timedelta(minutes=15)
    assert wait_for_hours(campaign, zone, day, datetime(2026, 5, 5, 14, 14, tzinfo=UTC)) == timedelta(0)
    assert wait_for_hours(campaign, zone, day, datetime(2026, 5, 5, 14, 15, tzinfo=UTC)) is None
