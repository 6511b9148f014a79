"""Messages as bytes: they parse strictly, nothing enters their headers, and dkimpy verifies their signature."""

from __future__ import annotations

import base64
import email
import email.policy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from customer360.mail.dkim import Signer, load_signer
from customer360.mail.mime import HeaderError, Headers, mime_message
from customer360.settings import SettingsError

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
HEADERS = Headers(
    sender_name='Müller & Söhne, "Mode"',
    sender="news@shop.example",
    to="anna@example.org",
    message_id="<m+0123456789-abcdefghijklmnop@shop.example>",
    date=datetime(2026, 5, 5, 7, tzinfo=UTC),
    unsubscribe_mailto="stop+0123456789-abcdefghijklmnop@shop.example",
    unsubscribe_url="https://shop.example/m/u/" + "token" * 40,
    feedback_id="spring:A:campaign:shop",
    reply_to="service@shop.example",
)


@dataclass(frozen=True)
class Content:
    subject: str = "Grüße: 20 % auf alles, nur für kurze Zeit und nur für dich, liebe Änne 🎉🎉🎉"
    html: str = "<p>Schön,  dass du da bist.</p>\n.\n..\n" + "<td>x</td>" * 200 + "\n"
    text: str = "Schön, dass du da bist.\n\n.\n..ende   \n"


def parsed(message: bytes) -> EmailMessage:
    found = email.message_from_bytes(message, policy=email.policy.SMTP.clone(raise_on_defect=True, max_line_length=None))
    assert isinstance(found, EmailMessage)
    return found


def text_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def test_a_message_parses_strictly_to_what_it_was_made_of() -> None:
    message = mime_message(Content(), HEADERS)
    found = parsed(message)
    assert found["Subject"] == Content.subject
    assert found["From"].addresses[0].display_name == HEADERS.sender_name
    assert found["From"].addresses[0].addr_spec == HEADERS.sender
    assert found["Date"].datetime == HEADERS.date
    assert found["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert HEADERS.unsubscribe_url in found["List-Unsubscribe"] and "mailto:stop+" in found["List-Unsubscribe"]
    assert text_of(found, "plain").rstrip("\n") == Content.text.rstrip("\n")
    assert text_of(found, "html").rstrip("\n") == Content.html.rstrip("\n")
    assert message.isascii() and max(map(len, message.split(b"\r\n"))) <= 998
    assert b"\n" not in message.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    "field", ["sender_name", "sender", "to", "message_id", "unsubscribe_mailto", "unsubscribe_url", "reply_to"]
)
@pytest.mark.parametrize("line_end", ["\r\n", "\n", "\r", "\x00", "\u2028"])
def test_no_header_takes_another_one(field: str, line_end: str) -> None:
    with pytest.raises(HeaderError) as refused:
        mime_message(Content(), replace(HEADERS, **{field: f"canary{line_end}Bcc: eve@example.org"}))
    assert "canary" not in str(refused.value)
    with pytest.raises(HeaderError):
        mime_message(Content(subject=f"canary{line_end}Bcc: eve@example.org"), HEADERS)


def public_key(name: bytes, timeout: int = 5) -> bytes:
    assert name == b"s1._domainkey.shop.example."
    encoded = KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(encoded)


def test_an_independent_verifier_accepts_the_signature_and_it_covers_what_matters() -> None:
    signed = Signer(KEY, "shop.example", "s1").sign(mime_message(Content(), HEADERS), 1_777_000_000)
    assert dkim.verify(signed, dnsfunc=public_key)
    covered = parsed(signed)["DKIM-Signature"].partition("h=")[2].partition(";")[0].replace(" ", "").split(":")
    assert {"from", "subject", "list-unsubscribe", "list-unsubscribe-post", "message-id"} <= set(covered)
    changes = [
        (b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", b""),
        (b"https://shop.example/m/u/", b"https://evil.example/m/u/"),
        (b"dass du", b"dass Du"),
        (b"MIME-Version", b"From: eve@evil.example\r\nMIME-Version"),
    ]
    for before, after in changes:
        assert before in signed and not dkim.verify(signed.replace(before, after), dnsfunc=public_key)


def test_a_key_that_is_none_or_short_is_refused_without_showing_it(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text("s3cret")
    with pytest.raises(SettingsError, match="no private key") as refused:
        load_signer(file, "shop.example", "s1")
    assert "s3cret" not in str(refused.value)
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(short.private_bytes(*form))
    with pytest.raises(SettingsError, match="2048"):
        load_signer(file, "shop.example", "s1")
    file.write_bytes(KEY.private_bytes(*form))
    assert dkim.verify(load_signer(file, "shop.example", "s1").sign(mime_message(Content(), HEADERS), 1), dnsfunc=public_key)
