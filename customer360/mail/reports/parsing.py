"""An answer to a mail: its kind, the contact that it is about, and what it says in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from customer360.mail.reports.parts import Parts, parts_of
from customer360.mail.reports.status import meaning_of, status_in
from customer360.mail.reports.words import AUTO_REPLY, CHALLENGE, DAEMON, DELAYED, FAILURE, GIVES_UP
from customer360.mail.return_paths import BOUNCES, MESSAGE_IDS, Tag, tags

Kind = Literal["hard", "soft", "complaint", "unsubscribe", "auto_reply", "unknown"]
COMPLAINTS = {"abuse", "fraud", "virus", "other", "miscategorized", ""}
OPT_OUTS = {"opt-out", "opt-out-list"}
_LOCAL = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]"
_ADDRESS = re.compile(rf"(?<!{_LOCAL}){_LOCAL}{{1,64}}@[A-Za-z0-9](?:[A-Za-z0-9.-]{{0,252}}[A-Za-z0-9])?")
_TO = ("to", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-rcpt-to", "apparently-to", "cc")
_AUTOMATIC = ("x-autoreply", "x-autorespond", "x-autoresponse", "x-auto-reply", "x-mail-autoreply")


@dataclass(frozen=True)
class Report:
    """An answer. ``hard`` and ``soft``: a bounce; ``auto_reply``: by a machine, says nothing about the address.

    ``contact_key``: of the mail that is answered, where a signed address of ours names it; None for all others, and
    ``is_forged`` where one looks like ours and is not. ``recipient``: the address that failed, for people; it is personal.
    """

    kind: Kind
    reason: str
    contact_key: str | None = None
    status: str | None = None
    recipient: str | None = None
    is_forged: bool = False


def parse_report(content: bytes, secrets: Sequence[str] = ()) -> Report:
    """What a mail that came back says. ``secrets``: with which return paths are signed. Nothing is raised, whatever comes."""
    parts = parts_of(content)
    found = tags(parts.text, secrets)
    addressed = [tag for name in _TO for value in parts.headers.get(name, ()) for tag in tags(value, secrets)]
    report = _classified(parts, addressed)
    # An address that came with the envelope counts before those that the text quotes.
    contact_key = next((tag.contact_key for tag in [*addressed, *found] if tag.contact_key is not None), None)
    return replace(report, contact_key=contact_key, is_forged=contact_key is None and bool(found))


def _classified(parts: Parts, addressed: Sequence[Tag]) -> Report:
    """The kind of an answer to these addresses of ours: what is written for machines counts before what is for people."""
    for judge in (_feedback, _delivery_status):
        report = judge(parts)
        if report is not None:
            return report
    if _is_unsubscribe(parts, addressed):
        return Report("unsubscribe", "the customer asked by mail to get no more")
    return _notice(parts)


def _feedback(parts: Parts) -> Report | None:
    """A complaint: RFC 5965, or as Outlook.com's Junk Mail Reporting Program forwards it."""
    is_forwarded = any(name in parts.headers for name in ("x-hmxmroriginalrecipient", "x-jmrp-recipient"))
    if not parts.feedback and not is_forwarded:
        return None
    kind = _field(parts.feedback, "Feedback-Type").lower()
    recipient = _address(_field(parts.feedback, "Original-Rcpt-To"))
    if kind in OPT_OUTS:
        return Report("unsubscribe", "the customer's provider passed on an unsubscribe", recipient=recipient)
    if kind in COMPLAINTS:
        return Report("complaint", "the customer called the mail spam", recipient=recipient)
    return Report("auto_reply", f"a report of the kind {kind[:40]}, which is no complaint", recipient=recipient)


def _delivery_status(parts: Parts) -> Report | None:
    """A delivery status notification (RFC 3464); its fields may also stand in the text where a boundary is broken."""
    fields = parts.fields
    if not fields and re.search(r"^(Final|Original)-Recipient[ \t]*:", parts.notice, re.IGNORECASE | re.MULTILINE):
        fields = parts.notice
    groups = [
        group
        for group in re.split(r"\n[ \t]*\r?\n", fields)
        if re.search(r"^[ \t]*((Final|Original)-Recipient|Action)[ \t]*:", group, re.I | re.M)
    ]
    if not groups:
        return None
    group = next((group for group in groups if _field(group, "Action").lower().startswith("fail")), groups[0])
    action = _field(group, "Action").lower()
    recipient = _address(f"{_field(group, 'Final-Recipient')} {_field(group, 'Original-Recipient')}")
    if action.startswith("delayed"):
        return Report(
            "auto_reply", "the server still tries to deliver", status_in(_field(group, "Status")), recipient=recipient
        )
    if action.startswith(("delivered", "relayed", "expanded")):
        return Report("auto_reply", "the mail was delivered", recipient=recipient)
    diagnostic = _field(group, "Diagnostic-Code")
    status = _telling(status_in(_field(group, "Status")), status_in(diagnostic))
    meaning = meaning_of(status, diagnostic) if status or diagnostic else None
    if meaning is None or status is None or status.endswith(".0.0"):
        meaning = meaning_of(status or status_in(parts.notice), f"{diagnostic}\n{parts.notice}") or meaning
    if meaning is None:
        return Report("soft", "the server gave no reason", recipient=recipient) if action.startswith("fail") else None
    return Report(meaning.kind, meaning.reason, status=meaning.status, recipient=recipient)


def _telling(status: str | None, other: str | None) -> str | None:
    """The more exact of two statuses: many servers write 5.0.0 into the field and the true one into the text."""
    if status is None or (status.endswith(".0.0") and other is not None):
        return other
    return status


def _is_unsubscribe(parts: Parts, addressed: Sequence[Tag]) -> bool:
    """Whether a mail was sent to an address of List-Unsubscribe, or to its mailbox with that word for a subject."""
    if _is_automatic(parts) or _is_daemon(parts):
        return False
    if any(tag.name not in {BOUNCES, MESSAGE_IDS} for tag in addressed):
        return True
    return re.fullmatch(r"\W*unsubscribe\W*", parts.header("subject"), re.IGNORECASE) is not None


def _notice(parts: Parts) -> Report:
    """What is written for people alone."""
    subject, recipient = parts.header("subject"), _failed_address(parts)
    text = f"{subject}\n{parts.notice}"
    is_daemon = _is_daemon(parts)
    reason = _automatic_reason(parts, text, is_daemon=is_daemon)
    if reason is not None:
        return Report("auto_reply", reason, recipient=recipient)
    if FAILURE.search(text) is None or not (is_daemon or recipient is not None):
        return Report("unknown", "it could not be told what the mail says", recipient=recipient)
    meaning = meaning_of(status_in(parts.notice), _ADDRESS.sub("<>", parts.notice)) or meaning_of(status_in(subject), subject)
    if meaning is None:
        return Report("soft", "the mail could not be delivered, the server gave no clear reason", recipient=recipient)
    return Report(meaning.kind, meaning.reason, status=meaning.status, recipient=recipient)


def _automatic_reason(parts: Parts, text: str, *, is_daemon: bool) -> str | None:
    """Why a notice is an answer by a machine that says nothing about the address, or None."""
    if DELAYED.search(parts.header("subject")) or (is_daemon and DELAYED.search(text) and not GIVES_UP.search(text)):
        return "the server still tries to deliver"
    if not _is_daemon_by_name(parts) and CHALLENGE.search(text):
        return "the customer's mail program asks for a confirmation by a person"
    is_reply = _is_automatic(parts) or AUTO_REPLY.search(text) is not None
    return "an automatic reply, such as a vacation notice" if is_reply and (not is_daemon or not FAILURE.search(text)) else None


def _is_daemon(parts: Parts) -> bool:
    """Whether a mail comes from a mail server: it has an empty return path, or names one as its author."""
    has_null_path = parts.header("return-path").strip() in {"<>", "<MAILER-DAEMON>"} and not _is_automatic(parts)
    return has_null_path or _is_daemon_by_name(parts)


def _is_daemon_by_name(parts: Parts) -> bool:
    is_bounce = "x-failed-recipients" in parts.headers or parts.is_report
    return is_bounce or DAEMON.search(parts.header("from")) is not None


def _is_automatic(parts: Parts) -> bool:
    """Whether a mail says of itself that a program answered (RFC 3834, and what was used before it)."""
    if "x-failed-recipients" in parts.headers or parts.is_report:
        return False
    automatic = parts.header("auto-submitted").lower().startswith("auto-replied")
    precedence = parts.header("precedence").strip().lower() in {"auto_reply", "auto-reply"}
    return automatic or precedence or any(name in parts.headers for name in _AUTOMATIC) or _names_reply(parts)


def _names_reply(parts: Parts) -> bool:
    return AUTO_REPLY.search(parts.header("subject")) is not None


def _failed_address(parts: Parts) -> str | None:
    """The address that a notice names, which is not whom the notice is for, nor who wrote it."""
    named = _address(parts.header("x-failed-recipients"))
    if named:
        return named
    own = {
        address.lower()
        for name in (*_TO, "from", "sender")
        for value in parts.headers.get(name, ())
        for address in _ADDRESS.findall(value)
    }
    body = re.sub(r"(?im)^[ \t]*((mail )?from|(original )?sender|subject|message-id)[ \t]*:.*$", "", parts.notice)
    mentioned: list[str] = [
        address for address in _ADDRESS.findall(body) if address.lower() not in own and "." in address.partition("@")[2]
    ]
    likely = [
        address
        for address in mentioned
        if not re.match(r"(?i)(post-?master|mailer-daemon|abuse|support|helpdesk|admin)", address)
    ]
    if likely:
        return likely[0]
    to = re.search(r"(?im)^to:(.+)$", parts.original)
    return _address(to[1]) if to and FAILURE.search(f"{parts.header('subject')}\n{parts.notice}") else None


def _field(text: str, name: str) -> str:
    """The value of a field, unfolded; empty without one."""
    found = re.search(rf"(?im)^[ \t]*{re.escape(name)}[ \t]*:[ \t]*(.*(?:\r?\n[ \t]+\S.*)*)", text)
    return re.sub(r"\s*\r?\n\s+", " ", found[1]).strip() if found else ""


def _address(text: str) -> str | None:
    found = _ADDRESS.search(text)
    return found.group() if found else None
