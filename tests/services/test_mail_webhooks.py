"""Events of mail providers count where the provider signed them, once, and for the contact that a signed address names."""

from __future__ import annotations

import base64
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from customer360.mail.return_paths import message_id, return_path
from customer360.services.api.app import create
from customer360.services.api.mail.webhooks import Webhooks
from customer360.services.api.settings import ApiSettings
from tests.services.test_mail_pages import KEY, Mailed

pytestmark = pytest.mark.full
TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail"
CERTIFICATE = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-abc123.pem"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
PUBLIC = EC.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
SETTINGS = ApiSettings(
    mail_ses_topic=TOPIC,
    mail_mailgun_key="key-1",
    mail_sendgrid_key=base64.b64encode(PUBLIC).decode(),
    mail_postmark_login="post:mark",
)


def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(RSA.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return made.sign(RSA, SHA256()).public_bytes(serialization.Encoding.PEM)


class Providers:
    """A shop whose webhooks are all set up, and what each provider posts."""

    def __init__(self, root: Path) -> None:
        self.mailed = Mailed(root)
        self.mailed.api = create(self.mailed.settings, SETTINGS)
        self.fetched: list[str] = []
        self.pem = certificate()
        self.mailed.api.state.webhooks = Webhooks(self.mailed.api.state.mail, SETTINGS, self._fetch)
        self.verp = return_path(self.mailed.secrets[0], KEY, "bounces.shop.example")
        self.message_id = message_id(self.mailed.secrets[0], KEY, "shop.example")

    def _fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        return self.pem

    def post(self, provider: str, content: Any, headers: dict[str, str] | None = None) -> Any:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.mailed.ask("POST", f"/m/webhooks/{provider}", content=body, headers=headers or {})

    def ses(self, content: Any, version: str = "2", **changes: Any) -> dict[str, Any]:
        signed = {
            "Message": json.dumps(content),
            "MessageId": "m-1",
            "Timestamp": "2026-05-04T10:00:00Z",
            "TopicArn": TOPIC,
            "Type": "Notification",
        }
        signed |= {
            name: value for name, value in changes.items() if name in {"TopicArn", "Type", "SubscribeURL", "Token", "MessageId"}
        }
        text = "".join(f"{name}\n{value}\n" for name, value in sorted(signed.items()))
        digest = SHA256() if version == "2" else SHA1()
        signature = RSA.sign(text.encode(), padding.PKCS1v15(), digest)
        envelope = {
            **signed,
            "SignatureVersion": version,
            "Signature": base64.b64encode(signature).decode(),
            "SigningCertURL": CERTIFICATE,
        }
        return {**envelope, **changes}

    def mailgun(self, event: dict[str, Any], at: float | None = None, key: str = "key-1") -> dict[str, Any]:
        signed = {"timestamp": f"{int(at or time.time())}", "token": "t"}
        signature = hmac.digest(key.encode(), (signed["timestamp"] + "t").encode(), "sha256").hex()
        return {"signature": {**signed, "signature": signature}, "event-data": {"id": "e-1", **event}}

    def sendgrid(self, events: list[dict[str, Any]], at: float | None = None) -> tuple[bytes, dict[str, str]]:
        body, moment = json.dumps(events).encode(), f"{int(at or time.time())}"
        signature = base64.b64encode(EC.sign(moment.encode() + body, ec.ECDSA(SHA256()))).decode()
        prefix = "X-Twilio-Email-Event-Webhook-"
        return body, {f"{prefix}Signature": signature, f"{prefix}Timestamp": moment}


@pytest.fixture
def providers(tmp_path: Path) -> Providers:
    return Providers(tmp_path)


def bounce(providers: Providers, kind: str = "Permanent", status: str = "5.1.1") -> dict[str, Any]:
    recipient = {
        "emailAddress": "ada@inbox.example.com",
        "status": status,
        "diagnosticCode": f"smtp; 550 {status} unknown user",
    }
    told = {"bounceType": kind, "bouncedRecipients": [recipient]}
    return {"notificationType": "Bounce", "bounce": told, "mail": {"source": providers.verp}}


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_bounce_of_amazon_stops_the_address_once(providers: Providers, version: str) -> None:
    envelope = providers.ses(bounce(providers), version)
    assert providers.post("ses", envelope).json() == {"accepted": 1}
    assert providers.post("ses", envelope).json() == {"accepted": 0}  # posted again
    assert providers.fetched == [CERTIFICATE]
    assert providers.mailed.stops() == ["mail came back: there is no such mailbox", ""]
    assert [kind for kind, _ in providers.mailed.marks()] == ["bounced_hard"]


def test_a_domain_that_does_not_exist_is_hard_whatever_amazon_calls_it(providers: Providers) -> None:
    content = bounce(providers, "Transient", "5.4.4")
    content["bounce"]["bouncedRecipients"][0]["diagnosticCode"] = "smtp; 550 5.4.4 Invalid domain"
    assert providers.post("ses", providers.ses(content)).json() == {"accepted": 1}
    assert [kind for kind, _ in providers.mailed.marks()] == ["bounced_hard"]


@pytest.mark.parametrize(
    "changes",
    [
        {"Signature": base64.b64encode(b"x" * 256).decode()},
        {"Message": "{}"},
        {"TopicArn": "arn:aws:sns:eu-west-1:999999999999:other"},
        {"SigningCertURL": "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-a.pem"},
        {"SigningCertURL": "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem"},
        {"Type": "Other"},
    ],
)
def test_what_amazon_did_not_sign_counts_for_nothing(providers: Providers, changes: dict[str, Any]) -> None:
    assert providers.post("ses", {**providers.ses(bounce(providers)), **changes}).status_code == 401
    assert providers.mailed.marks() == []
    assert providers.fetched in ([], [CERTIFICATE])


def test_a_subscription_is_confirmed_at_amazon_alone(providers: Providers) -> None:
    asked = {"Type": "SubscriptionConfirmation", "Token": "t"}
    url = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"
    providers.post("ses", providers.ses({}, **asked, SubscribeURL="https://evil.example/?Action=ConfirmSubscription"))
    assert providers.fetched == [CERTIFICATE]
    providers.post("ses", providers.ses({}, **asked, SubscribeURL=url))
    assert providers.fetched == [CERTIFICATE, url]


def test_mailguns_events_count_by_their_hmac_and_time(providers: Providers) -> None:
    event = {"event": "complained", "message": {"headers": {"message-id": providers.message_id.strip("<>")}}}
    assert providers.post("mailgun", providers.mailgun(event, key="other")).status_code == 401
    assert providers.post("mailgun", providers.mailgun(event, at=time.time() - 86400)).status_code == 401
    assert providers.post("mailgun", providers.mailgun(event)).json() == {"accepted": 1}
    assert providers.mailed.stops() == ["complained that a message is spam", ""]
    failed = {"event": "failed", "severity": "temporary", "delivery-status": {"code": 452, "message": "mailbox full"}}
    assert providers.post(
        "mailgun", providers.mailgun({**failed, "id": "e-2", "envelope": {"sender": providers.verp}})
    ).json() == {"accepted": 1}
    assert sorted(kind for kind, _ in providers.mailed.marks()) == ["bounced_soft", "complained"]


def test_sendgrids_events_count_by_their_signature(providers: Providers) -> None:
    good = {
        "event": "bounce",
        "type": "bounce",
        "status": "5.1.1",
        "reason": "550 unknown user",
        "sg_event_id": "s-1",
        "smtp-id": providers.message_id,
    }
    forged = {**good, "sg_event_id": "s-2", "smtp-id": f"<m+{KEY}-{'a' * 16}@shop.example>"}
    body, headers = providers.sendgrid(
        [good, forged, {"event": "processed", "sg_event_id": "s-3", "smtp-id": providers.message_id}]
    )
    assert providers.post("sendgrid", body.replace(b"5.1.1", b"4.1.1"), headers).status_code == 401
    assert providers.post("sendgrid", body).status_code in {401, 422}
    assert providers.post("sendgrid", body, headers).json() == {"accepted": 1}
    assert [kind for kind, _ in providers.mailed.marks()] == ["bounced_hard"]


def test_postmarks_events_need_its_password(providers: Providers) -> None:
    content = {"RecordType": "Bounce", "Type": "HardBounce", "Details": "", "Metadata": {"contact": providers.verp}}
    login = {"Authorization": "Basic " + base64.b64encode(b"post:mark").decode()}
    assert providers.post("postmark", content).status_code == 401
    assert providers.post("postmark", content, login).json() == {"accepted": 1}
    assert providers.post("postmark", content, login).json() == {"accepted": 0}


def test_a_provider_that_is_not_set_up_has_no_webhook(providers: Providers) -> None:
    providers.mailed.api = create(providers.mailed.settings, ApiSettings())
    assert providers.post("mailgun", providers.mailgun({"event": "complained"}, key="")).status_code == 404
    assert providers.post("nobody", {}).status_code == 404


def test_malformed_events_are_refused(providers: Providers) -> None:
    for body in (b"", b"[]", b"null", b"{", b'{"signature": 1}', b'{"Type": {}}', b"[" * 5000):
        for provider in ("ses", "mailgun", "sendgrid", "postmark"):
            assert providers.post(provider, body).status_code in {401, 422}


def test_the_openapi_document_names_the_webhooks(providers: Providers) -> None:
    document = json.loads(providers.mailed.api.state.service.document)
    assert document["paths"]["/m/webhooks/{provider}"]["post"]["responses"].keys() >= {"200", "401", "404", "422"}
