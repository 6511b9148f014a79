"""Events that mail providers post, believed only where the provider signed them.

| provider | what is verified |
|---|---|
| ses | Amazon SNS: the RSA signature by the certificate of SigningCertURL, which must be Amazon's, and the topic |
| mailgun | HMAC-SHA256 of time and token |
| sendgrid | ECDSA signature of time and body |
| postmark | user and password of the address, which Postmark has in place of a signature |

The contact is the one that a signed address of ours in the event names. An event that is posted twice counts once.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.request import urlopen

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509 import load_pem_x509_certificate

from customer360.mail.answers import OF_KINDS, Answer, Mark, source_id, take
from customer360.mail.queue import export_stops
from customer360.mail.reports.status import meaning_of, status_in
from customer360.mail.return_paths import tags
from customer360.services.api.mail.calls import MailAnswers
from customer360.services.api.problems import Problem
from customer360.services.api.settings import ApiSettings

AMAZON = re.compile(r"https://sns\.[a-z0-9-]{3,30}\.amazonaws\.com(\.cn)?/SimpleNotificationService-[A-Za-z0-9]+\.pem")
CONFIRMATION = re.compile(r"https://sns\.[a-z0-9-]{3,30}\.amazonaws\.com(\.cn)?/\?\S+")
MOST_SECONDS = 900  # that a signed time may lie off
MOST_FETCHED = 64 * 1024
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


class Taken(msgspec.Struct, frozen=True):
    """How many of the events were new and of a message of ours."""

    accepted: int


class Event(NamedTuple):
    """An event of a provider: what it marks, why, its id, and all that it says, in which the contact is looked for."""

    mark: Mark
    reason: str
    id: str
    content: Any


def fetch(url: str) -> bytes:
    """What Amazon has at an address that was checked before."""
    with urlopen(url, timeout=10) as response:  # noqa: S310 (https alone: the patterns above)
        return bytes(response.read(MOST_FETCHED))


class Webhooks:
    """The webhooks that are set up. ``fetch``: how Amazon's certificates and confirmations are got."""

    def __init__(self, mail: MailAnswers, settings: ApiSettings, fetch: Callable[[str], bytes] = fetch) -> None:
        self._mail, self._settings, self._fetch = mail, settings, fetch
        self._certificates: dict[str, bytes] = {}
        self._readers: dict[str, Callable[[Mapping[str, str], bytes], Iterator[Event]]] = {}
        for name, is_set_up, reader in (
            ("ses", settings.mail_ses_topic, self._ses),
            ("mailgun", settings.mail_mailgun_key, self._mailgun),
            ("sendgrid", settings.mail_sendgrid_key, self._sendgrid),
            ("postmark", settings.mail_postmark_login, self._postmark),
        ):
            if is_set_up:
                self._readers[name] = reader

    def take(self, provider: str, headers: Mapping[str, str], body: bytes) -> int:
        """Count the events of a request. Raises ``Problem``: 404 for a provider that is not set up, 401, 422."""
        if provider not in self._readers:
            raise Problem(404, "no-path", "There is no such path", "This provider's webhook is not set up.")
        try:
            events = list(self._readers[provider](headers, body))
        except (KeyError, ValueError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
            raise Problem(422, "wrong-type", "The body does not fit the provider's format") from error
        counted = 0
        for event in events:
            found = [tag.contact_key for tag in tags("\n".join(_texts(event.content)), self._mail.secrets)]
            contact_key = next((key for key in found if key is not None), None)
            if contact_key is not None:
                given = Answer(contact_key, event.mark, datetime.now(UTC), event.reason, provider, event.id)
                counted += take(self._mail.queue, given)
        if counted:
            export_stops(self._mail.settings.place, self._mail.queue)
        return counted

    def _ses(self, _headers: Mapping[str, str], body: bytes) -> Iterator[Event]:
        envelope = msgspec.json.decode(body, type=dict[str, Any])
        self._verify_sns(envelope)
        if envelope["Type"] == "SubscriptionConfirmation" and CONFIRMATION.fullmatch(envelope["SubscribeURL"]):
            self._fetch(envelope["SubscribeURL"])
        if envelope["Type"] != "Notification":
            return
        content = msgspec.json.decode(envelope["Message"], type=dict[str, Any])
        kind = content.get("notificationType") or content.get("eventType")
        if kind == "Bounce":
            bounce = content["bounce"]
            recipient = (bounce.get("bouncedRecipients") or [{}])[0]
            text = f"{recipient.get('status', '')} {recipient.get('diagnosticCode', '')}"
            mark, reason = _bounce(text, is_hard=bounce.get("bounceType") == "Permanent")
            yield Event(mark, reason, envelope["MessageId"], content)
        elif kind in {"Complaint", "Delivery"}:
            yield _plain("complained" if kind == "Complaint" else "delivered", envelope["MessageId"], content)

    def _verify_sns(self, envelope: Mapping[str, Any]) -> None:
        """Raise ``Problem`` 401 for what Amazon did not sign, or signed for another topic."""
        url, kind = f"{envelope['SigningCertURL']}", envelope["Type"]
        if not AMAZON.fullmatch(url) or kind not in SIGNED or envelope["TopicArn"] != self._settings.mail_ses_topic:
            raise _unsigned()
        if url not in self._certificates:
            self._certificates = {url: self._fetch(url)}
        key = load_pem_x509_certificate(self._certificates[url]).public_key()
        lines = "".join(f"{name}\n{envelope[name]}\n" for name in SIGNED[kind] if name in envelope)
        digest = SHA256() if envelope.get("SignatureVersion") == "2" else SHA1()  # noqa: S303 (version 1 of SNS)
        try:
            if not isinstance(key, rsa.RSAPublicKey):
                raise _unsigned()
            key.verify(base64.b64decode(envelope["Signature"]), lines.encode(), padding.PKCS1v15(), digest)
        except InvalidSignature as error:
            raise _unsigned() from error

    def _mailgun(self, _headers: Mapping[str, str], body: bytes) -> Iterator[Event]:
        posted = msgspec.json.decode(body, type=dict[str, Any])
        signed = posted["signature"]
        text = f"{signed['timestamp']}{signed['token']}".encode()
        expected = hmac.digest(self._settings.mail_mailgun_key.encode(), text, "sha256").hex()
        _require_signed(hmac.compare_digest(expected.encode(), f"{signed['signature']}".encode()), f"{signed['timestamp']}")
        content = posted["event-data"]
        if content["event"] == "failed":
            status = content.get("delivery-status") or {}
            words = " ".join(f"{status.get(name, '')}" for name in ("enhanced-code", "code", "message", "description"))
            mark, reason = _bounce(words, is_hard=content.get("severity") == "permanent")
            yield Event(mark, reason, f"{content['id']}", content)
        elif content["event"] in OF_PROVIDERS:
            yield _plain(OF_PROVIDERS[content["event"]], f"{content['id']}", content)

    def _sendgrid(self, headers: Mapping[str, str], body: bytes) -> Iterator[Event]:
        at = headers.get("x-twilio-email-event-webhook-timestamp", "")
        signature = base64.b64decode(headers.get("x-twilio-email-event-webhook-signature", ""))
        key = load_der_public_key(base64.b64decode(self._settings.mail_sendgrid_key))
        try:
            if not isinstance(key, ec.EllipticCurvePublicKey):
                raise _unsigned()
            key.verify(signature, at.encode() + body, ec.ECDSA(SHA256()))
        except InvalidSignature as error:
            raise _unsigned() from error
        _require_signed(True, at)
        for content in msgspec.json.decode(body, type=list[dict[str, Any]]):
            if content.get("event") == "bounce":
                is_hard = content.get("type") != "blocked"
                mark, reason = _bounce(f"{content.get('status', '')} {content.get('reason', '')}", is_hard=is_hard)
                yield Event(mark, reason, f"{content['sg_event_id']}", content)
            elif content.get("event") in OF_PROVIDERS:
                yield _plain(OF_PROVIDERS[content["event"]], f"{content['sg_event_id']}", content)

    def _postmark(self, headers: Mapping[str, str], body: bytes) -> Iterator[Event]:
        expected = base64.b64encode(self._settings.mail_postmark_login.encode())
        if not hmac.compare_digest(headers.get("authorization", "").encode(), b"Basic " + expected):
            raise _unsigned()
        content = msgspec.json.decode(body, type=dict[str, Any])
        kind, key = content["RecordType"], source_id(body)
        if kind == "Bounce":
            mark, reason = _bounce(
                f"{content.get('Details', '')}", is_hard=content.get("Type") in {"HardBounce", "BadEmailAddress"}
            )
            yield Event(mark, reason, key, content)
        elif kind == "SpamComplaint":
            yield _plain("complained", key, content)
        elif kind == "Delivery":
            yield _plain("delivered", key, content)
        elif kind == "SubscriptionChange" and content.get("SuppressSending"):
            yield _plain("unsubscribed", key, content)


OF_PROVIDERS: dict[str, Mark] = {
    "complained": "complained",
    "spamreport": "complained",
    "unsubscribed": "unsubscribed",
    "unsubscribe": "unsubscribed",
    "group_unsubscribe": "unsubscribed",
    "delivered": "delivered",
}
REASONS: dict[Mark, str] = {
    "complained": "the customer called the mail spam",
    "unsubscribed": "the customer unsubscribed at the provider",
    "delivered": "the provider says that it was delivered",
}


def _plain(mark: Mark, key: str, content: Any) -> Event:
    return Event(mark, REASONS[mark], key, content)


def _bounce(text: str, *, is_hard: bool) -> tuple[Mark, str]:
    """What a bounce marks. The server's own code counts before the provider's class: some call a wrong domain transient."""
    meaning = meaning_of(status_in(text), text)
    if meaning is None:
        return (
            ("bounced_hard", "the provider says that it bounced for good")
            if is_hard
            else ("bounced_soft", "the provider says that it bounced for now")
        )
    return OF_KINDS[meaning.kind], meaning.reason


def _texts(content: Any) -> Iterator[str]:
    """All texts of a JSON value."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)


def _require_signed(is_signed: bool, at: str) -> None:
    """Raise ``Problem`` 401 for a signature that is wrong, or of another time: it could be posted again for ever."""
    if not (is_signed and at.isascii() and at.isdigit() and abs(time.time() - int(at)) <= MOST_SECONDS):
        raise _unsigned()


def _unsigned() -> Problem:
    return Problem(401, "unsigned", "The events are not signed by the provider")
