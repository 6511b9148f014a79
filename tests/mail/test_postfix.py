"""Messages by the whole path to Debian's Postfix, whose signatures OpenDKIM verifies: TLS, refusals, domains of any script."""

from __future__ import annotations

import base64
import email.policy
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from customer360.decisions import Request
from customer360.mail.dns_checks import keep_override
from customer360.mail.links import link_secrets
from customer360.mail.mime import mime_message
from customer360.mail.queue import MailQueue, open_queue
from customer360.mail.rendering import email_of
from customer360.mail.return_paths import read_return_path
from customer360.mail.smtp import Connection, RefusedError, Relay
from customer360.services.mailer.server import make_worker
from customer360.services.mailer.settings import MailerSettings
from tests.campaigns.conftest import Desk, at
from tests.campaigns.test_mailing import BODY, DUE, people, publish_nothing
from tests.mail.test_mime_and_dkim import HEADERS, Content
from tests.support.postfix import Postfix, postfix_server
from tests.support.random_shop import EMAIL

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
# Who gets the campaign, and what the receiver makes of it.
PEOPLE = {
    "C1": "Anna@inbox.example",
    "C2": "anna@bücher.example",
    "C3": "nobody@inbox.example",
    "C4": "late@inbox.example",
    "C5": "closed@inbox.example",
}


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    public = KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with postfix_server(f"mail._domainkey.shop.example v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}\n") as server:
        yield server


@pytest.fixture(scope="module")
def sent(postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A shop whose campaign was sent to everybody of ``PEOPLE``, from the approval to the receiver's replies."""
    root = tmp_path_factory.mktemp("shop")
    desk = Desk(root, email={**EMAIL, "sender": {"name": "Bücher & Söhne", "address": "news@shop.example"}})
    desk.settings = desk.settings.model_copy(update={"shop": desk.settings.shop.model_copy(update={"live": True})})
    desk.message(
        "Grüße: 20 % auf alles, nur für kurze Zeit, und auch der längste Betreff kommt an, wie er geschrieben wurde 🎉"
    )
    (desk.settings.message_folder / "offer" / "body.mjml").write_text(
        BODY.replace("Hello", "Schöne Grüße " + "ohneUmbruch" * 200), encoding="utf-8"
    )
    desk.campaign("message: offer\nsend_windows: [{from: 0, to: 24}]\n")
    people(desk, **PEOPLE)
    desk.approve(desk.draft(*({"customer_id": name} for name in PEOPLE)))
    publish_nothing(desk)
    assert desk.send(DUE).queued == len(PEOPLE)
    keep_override(desk.place, email_of(desk.settings.shop), Request("a test has no DNS", at(DUE), "anna"))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (root / "dkim.pem").write_bytes(KEY.private_bytes(*form))
    own = MailerSettings(
        host="localhost",
        port=postfix.port,
        ca_file=str(postfix.certificate),
        connections=2,
        dkim_key=str(root / "dkim.pem"),
        dkim_selector="mail",
    )
    make_worker(desk.settings, own, shop_clock=lambda settings, now: at(DUE)).run(is_once=True)
    return desk


def queue_of(desk: Desk) -> MailQueue:
    return open_queue(desk.place)


def replies(desk: Desk) -> dict[str, tuple[str, str]]:
    """State and reply by customer."""
    queue = queue_of(desk)
    with queue.engine.connect() as connection:
        rows = connection.exec_driver_sql("select customer_id, state, reply from messages").all()
    return {name: (state, reply) for name, state, reply in rows}


def relay(postfix: Postfix) -> Relay:
    return Relay("localhost", postfix.port, ca_file=str(postfix.certificate))


def test_a_message_arrives_through_tls_and_opendkim_verifies_its_signature(sent: Desk, postfix: Postfix) -> None:
    found = replies(sent)
    assert found["C1"][0] == found["C2"][0] == "accepted" and "2.0.0 Ok: queued as" in found["C1"][1]
    messages = {message["Delivered-To"]: message for message in postfix.wait_for(2)}
    assert set(messages) == {"Anna@inbox.example", "anna@xn--bcher-kva.example"}
    for message in messages.values():
        assert "dkim=pass" in message["Authentication-Results"] and "header.d=shop.example" in message["Authentication-Results"]
        assert "with ESMTPS" in message["Received"]
        content = message.as_bytes()
        assert content.isascii() and max(map(len, content.splitlines())) <= 998
        sender = message["Return-Path"].strip("<>")
        assert read_return_path(sender, link_secrets(sent.place)) is not None
    parsed = email.message_from_bytes(messages["Anna@inbox.example"].as_bytes(), policy=email.policy.SMTP)
    assert parsed["Subject"].startswith("Grüße: 20 % auf alles") and parsed["Subject"].endswith("🎉")
    assert parsed["From"].addresses[0].display_name == "Bücher & Söhne"
    assert isinstance(parsed, EmailMessage)
    html = parsed.get_body(("html",))
    assert html is not None and "Schöne Grüße " + "ohneUmbruch" * 200 in html.get_content()


def test_refusals_fail_and_wait_as_postfix_says(sent: Desk, postfix: Postfix) -> None:
    found = replies(sent)
    assert found["C3"][0] == "failed" and found["C3"][1].startswith("550 5.1.1")
    assert found["C5"][0] == "failed" and found["C5"][1].startswith("550 5.2.1")
    assert found["C4"][0] == "queued" and found["C4"][1].startswith("451 4.7.1")
    assert not any("@" in reply for _, reply in found.values())
    due = queue_of(sent).next_due()
    assert due is not None
    marks = queue_of(sent).marks()
    assert marks.set_index("kind")["messages"].to_dict() == {"bounced_hard": 2}


def test_a_certificate_that_nobody_vouches_for_is_refused(postfix: Postfix) -> None:
    with pytest.raises(RefusedError, match="certificate verify failed"):
        Connection(Relay("localhost", postfix.port))
    with pytest.raises(RefusedError, match="certificate"):
        Connection(Relay("127.0.0.1", postfix.port, ca_file=str(postfix.certificate)))


def test_a_connection_is_pipelined_and_takes_messages_after_refusals(sent: Desk, postfix: Postfix) -> None:
    connection = Connection(relay(postfix))
    assert {"PIPELINING", "8BITMIME", "SMTPUTF8"} <= connection.extensions.keys()
    begun: list[int] = []
    content = b"Subject: dots\r\n\r\n.\r\n..\r\n.end"
    codes = [
        connection.send("b@shop.example", to, content, lambda: begun.append(1))[:1]
        for to in ("nobody@inbox.example", "late@inbox.example", "änne@inbox.example", "x@elsewhere.example", "a@inbox.example")
    ]
    connection.quit()
    assert codes == [(550,), (451,), (250,), (554,), (250,)] and len(begun) == 2
    arrived = [message for message in postfix.wait_for(4) if message["Return-Path"] == "<b@shop.example>"]
    assert [message.get_payload() for message in arrived] == [".\n..\n.end\n"] * 2
    assert all("dkim=none" in message["Authentication-Results"] for message in arrived)


def test_a_bare_line_end_which_this_server_refuses_is_in_no_message(sent: Desk, postfix: Postfix) -> None:
    connection = Connection(relay(postfix))
    refused = connection.send("c@shop.example", "a@inbox.example", b"Subject: x\r\n\r\nbare\nline\r\n", lambda: None)
    content = replace(Content(), subject="x", text="a\rb\nc\r\nd\r\r\ne", html="<p>a\rb\nc\r\n\n</p>")
    made = mime_message(content, replace(HEADERS, to="a@inbox.example"))
    taken = connection.send("c@shop.example", "a@inbox.example", made, lambda: None)
    connection.quit()
    assert refused.code >= 500 and "bare" in refused.text and taken.is_accepted
