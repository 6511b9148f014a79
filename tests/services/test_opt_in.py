"""Double opt-in: one mail an address, equal answers, nothing without the link, and a proof of each."""

from __future__ import annotations

import email
import email.policy
import json
import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy import select

from customer360.lake.reference.customer_queries import consents_query, contact_rules_query
from customer360.mail.answers import Answer, take
from customer360.mail.consents import MOST_OVERALL, MOST_PER_CLIENT, OPT_INS, PERIOD, VALID, Consents, OptIn, Question
from customer360.mail.links import ContactLinks, LinkToken, link_url, sign_link
from customer360.mail.queue.tables import reading
from customer360.mail.recovery import reconcile
from customer360.mail.smtp import Relay
from customer360.services.api.app import create
from customer360.services.api.settings import ApiSettings
from customer360.services.api.tokens import sign_customer
from customer360.services.mailer.confirmations import confirmation, send_confirmations
from orchestration.cli import main
from tests.services.api_server import write_shop
from tests.services.served_shop import ServedShop
from tests.services.test_mail_pages import EMAIL, KEY, Mailed
from tests.support.ports import free_port
from tests.support.smtp_receiver import DROP, smtp_receiver

pytestmark = pytest.mark.full
NOW = datetime.now(UTC)
SECRET = "c" * 40
ADA = "ada.canary@inbox.example.com"


@pytest.fixture
def mailed(tmp_path: Path) -> Mailed:
    made = Mailed(tmp_path)
    made.api = create(made.settings, ApiSettings(customer_secret=SECRET, mail_client_header="x-real-ip"))
    return made


def ask(mailed: Mailed, address: str, client: str = "192.0.2.1", customer: str = "", **more: Any) -> Any:
    headers = {"x-real-ip": client}
    if customer:
        headers["customer-token"] = sign_customer(SECRET, customer, int(NOW.timestamp()) + 3600)
    return mailed.ask("POST", "/m/opt-in", json={"address": address, **more}, headers=headers)


def consents(mailed: Mailed) -> Consents:
    return Consents(mailed.queue, mailed.settings.place)


def link(mailed: Mailed, opt_in: OptIn) -> str:
    token = LinkToken("opt_in", opt_in.opt_in_id, opt_in.customer_id, "")
    return link_url(EMAIL["public_url"], "opt_in", sign_link(mailed.secrets, token))


def test_an_address_gets_one_mail_and_every_question_the_same_answer(mailed: Mailed) -> None:
    answers = [ask(mailed, address) for address in (ADA, ADA, ADA.upper(), "other@inbox.example.com")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, answers[0].text)}
    assert sorted(opt_in.address for opt_in in consents(mailed).claim(NOW)) == [ADA, "other@inbox.example.com"]
    assert consents(mailed).claim(NOW) == []


def test_nobody_can_have_many_mailed(mailed: Mailed) -> None:
    kept = consents(mailed)
    sent = [kept.ask(Question(f"a{number}@inbox.example.com", "192.0.2.1"), NOW) for number in range(2 * MOST_PER_CLIENT)]
    assert sum(sent) == MOST_PER_CLIENT
    others = [kept.ask(Question(f"b{number}@inbox.example.com", f"198.51.{number}"), NOW) for number in range(MOST_OVERALL)]
    assert sum(others) == MOST_OVERALL - MOST_PER_CLIENT
    assert kept.ask(Question("c@inbox.example.com", "192.0.2.1"), NOW + timedelta(hours=2))
    assert not kept.ask(Question("c@inbox.example.com", "192.0.2.9"), NOW + timedelta(hours=20))
    assert kept.ask(Question("c@inbox.example.com", "192.0.2.9"), NOW + timedelta(hours=3) + PERIOD)


def test_an_address_whose_mail_came_back_is_not_asked(mailed: Mailed) -> None:
    mailed.queue.stop(None, mailed.queue.address_hash(ADA), "email", None, "no such mailbox", "mailbox", NOW)
    assert ask(mailed, ADA).status_code == 200
    assert consents(mailed).claim(NOW) == []


def test_the_link_confirms_by_a_post_alone_and_the_proof_is_kept(mailed: Mailed) -> None:
    mailed.ask("POST", mailed.links.page("unsubscribe"))
    ask(mailed, ADA, customer="C1", page="https://shop.example/join", text_version="2026-05", language="de")
    (opt_in,) = consents(mailed).claim(NOW)
    assert opt_in.language == "de"
    assert mailed.ask("GET", link(mailed, opt_in)).status_code == 200
    assert consents(mailed).proofs().empty
    assert mailed.stops()[0] == "unsubscribed"
    for _ in range(2):
        assert mailed.ask("POST", link(mailed, opt_in)).status_code == 200
    assert mailed.stops()[0] == ""
    (proof,) = consents(mailed).proofs().to_dict("records")
    assert (proof["address"], proof["customer_id"], proof["text_version"]) == (ADA, "C1", "2026-05")
    assert proof["page"] == "https://shop.example/join"
    assert "channel=email&topic=&allowed=true" in [event["page_url"].partition("#")[2] for event in mailed.events()]


def test_after_a_restore_no_confirmation_leaves_twice_and_the_link_of_the_first_is_good(mailed: Mailed) -> None:
    ask(mailed, ADA, customer="C1")
    (opt_in,) = consents(mailed).claim(NOW)
    consents(mailed).unclaim(opt_in.opt_in_id)  # as the backup has it
    reconcile(mailed.queue, [], mailed.secrets, NOW)
    assert consents(mailed).claim(NOW) == []
    assert mailed.ask("POST", link(mailed, opt_in)).status_code == 200
    assert len(consents(mailed).proofs()) == 1


def test_links_that_are_forged_of_another_kind_or_too_old_confirm_nothing(mailed: Mailed) -> None:
    ask(mailed, ADA)
    (opt_in,) = consents(mailed).claim(NOW)
    forged = LinkToken("opt_in", opt_in.opt_in_id, "", "")
    assert mailed.ask("POST", link_url("", "opt_in", sign_link(["x" * 40], forged))).status_code == 404
    other = ContactLinks(mailed.secrets, "", opt_in.opt_in_id, "", "").page("unsubscribe")
    assert mailed.ask("POST", other.replace("/m/u/", "/m/i/")).status_code == 404
    assert consents(mailed).confirm(opt_in.opt_in_id, "", NOW + VALID + timedelta(days=1)) is None
    assert consents(mailed).confirm("0" * 32, "", NOW) is None
    assert consents(mailed).forget(NOW + VALID + timedelta(days=1)) == 1
    with reading(mailed.queue.engine) as connection:
        assert connection.execute(select(OPT_INS.c.sealed)).scalars().all() == []


def test_what_is_no_address_is_refused_without_being_quoted(mailed: Mailed, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for wrong in (
        "canary",
        "canary@",
        "canary@x\r\nBcc: other@inbox.example.com",
        "a b@inbox.example.com",
        "x" * 250 + "@a.example.com",
    ):
        response = ask(mailed, wrong)
        assert response.status_code == 422
        assert "canary" not in response.text
    ask(mailed, ADA)
    assert "canary" not in caplog.text
    files = [path.read_bytes() for path in mailed.settings.place.mail.rglob("*") if path.is_file()]
    assert not any(b"canary" in content for content in files)


def test_a_form_may_ask_too_and_a_customers_token_must_be_the_shops(mailed: Mailed) -> None:
    assert mailed.ask("POST", "/m/opt-in", data={"address": ADA, "other": "x"}).status_code == 200
    forged = sign_customer("x" * 40, "C1", int(NOW.timestamp()) + 3600)
    mailed.ask("POST", "/m/opt-in", json={"address": "b@inbox.example.com"}, headers={"customer-token": forged})
    assert [opt_in.customer_id for opt_in in consents(mailed).claim(NOW)] == ["", ""]


def test_the_mail_has_the_link_and_nothing_of_who_asked(mailed: Mailed) -> None:
    opt_in = OptIn("0" * 32, ADA, "", "de")
    assert mailed.settings.shop.email is not None
    content = confirmation(opt_in, mailed.settings.shop.email, "Der Laden", mailed.secrets, NOW)
    message = email.message_from_bytes(content, policy=email.policy.default)
    text = message.get_content()
    assert (message["To"], message["From"]) == (ADA, "Random shop <news@shop.example>")
    assert "bestätigen Sie es hier" in text and "1 Main Street" in text
    assert re.search(r"https://api\.shop\.example/m/i/\S+", text)


def test_the_mailer_sends_each_confirmation_once_and_those_that_it_could_not_later(mailed: Mailed) -> None:
    for name in ("a", "b", "c"):
        ask(mailed, f"{name}@inbox.example.com", f"192.0.2.{ord(name)}")
    port = free_port()
    relay = Relay("127.0.0.1", port, "none")
    with smtp_receiver(port, lambda step, to: DROP if (step, to[:1]) == ("data", "b") else None) as got:
        assert send_confirmations(mailed.settings, mailed.queue, relay, NOW) == 1
    with smtp_receiver(port) as later:
        sent = [send_confirmations(mailed.settings, mailed.queue, relay, NOW) for _ in range(2)]
    taken = sorted(message.recipient[0] for message in [*got, *later])
    assert taken == ["a", "b", "c"]
    assert sent == [2, 0]  # c was not tried before: the connection was lost at b


def test_a_confirmation_that_is_refused_for_now_is_tried_again_and_one_that_is_refused_for_good_is_not(mailed: Mailed) -> None:
    for name in ("a", "b"):
        ask(mailed, f"{name}@inbox.example.com", f"192.0.2.{ord(name)}")
    replies = {"a": "451 4.7.1 greylisted", "b": "550 5.1.1 none"}
    port = free_port()
    relay = Relay("127.0.0.1", port, "none")
    with smtp_receiver(port, lambda step, to: replies[to[0]] if step == "rcpt" else None) as got:
        assert send_confirmations(mailed.settings, mailed.queue, relay, NOW) == 0
    with smtp_receiver(port) as later:
        assert [send_confirmations(mailed.settings, mailed.queue, relay, NOW) for _ in range(2)] == [1, 0]
    assert [message.recipient[0] for message in [*got, *later]] == ["a"]


def test_no_confirmation_goes_out_before_the_domains_were_checked(mailed: Mailed) -> None:
    ask(mailed, ADA)
    assert send_confirmations(mailed.settings, mailed.queue, Relay("mail.example.com", 587), NOW) == 0
    assert len(consents(mailed).claim(NOW)) == 1


def test_the_proofs_are_handed_over_to_the_shop(mailed: Mailed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask(mailed, ADA, text_version="2026-05")
    (opt_in,) = consents(mailed).claim(NOW)
    consents(mailed).confirm(opt_in.opt_in_id, "192.0.2.1", NOW)
    write_shop(mailed.settings)
    file = tmp_path / "opt-ins.csv"
    place = ["--shop", str(mailed.settings.shop_folder), "--data-dir", str(mailed.settings.place.root)]
    assert main([*place, "email", "opt-ins", str(file)]) == 0
    assert "canary" not in capsys.readouterr().out
    assert file.stat().st_mode & 0o077 == 0
    assert (ADA in file.read_text(), "2026-05" in file.read_text()) == (True, True)


def test_an_opt_in_counts_until_the_shop_says_something_else_and_expires(tmp_path: Path) -> None:
    mailed = Mailed(tmp_path)
    ServedShop(
        tmp_path, customers={"C1": {}, "C2": {}}, rules={"email": EMAIL, "channels": ["email", "sms"], "attributes": {}}
    ).publish()
    kept, place, shop = consents(mailed), mailed.settings.place, mailed.settings.shop

    def allowed() -> list[tuple[str, str, bool]]:
        by_rules = duckdb.sql(f"select customer_id from ({contact_rules_query(place, shop, NOW)}) where email").fetchall()
        found = duckdb.sql(f"select customer_id, channel from ({consents_query(place, shop)}) where is_allowed").fetchall()
        assert sorted(by_rules) == sorted((customer,) for customer, channel in found if channel == "email")
        return sorted(found)

    assert allowed() == []
    kept.ask(Question(ADA, "192.0.2.1", "C1"), NOW)
    (opt_in,) = kept.claim(NOW)
    kept.confirm(opt_in.opt_in_id, "192.0.2.1", NOW)
    assert kept.export(NOW, 6) == 1
    assert allowed() == [("C1", "email")]
    assert kept.export(NOW + timedelta(days=200), 6) == 0
    assert allowed() == []
    take(mailed.queue, Answer(KEY, "clicked", NOW + timedelta(days=100), "a link was followed", "link", "x"))
    assert kept.export(NOW + timedelta(days=200), 6) == 1
    assert allowed() == [("C1", "email")]


def test_the_openapi_document_has_the_opt_in(mailed: Mailed) -> None:
    document = json.loads(mailed.api.state.service.document)
    assert document["paths"]["/m/opt-in"]["post"]["responses"].keys() >= {"200", "422"}
