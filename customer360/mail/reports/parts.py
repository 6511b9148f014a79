"""A message taken apart: what was written for people, what for machines, and what is quoted of the original.

Nothing is raised for broken MIME: what cannot be taken apart is read as text, since a bounce with a wrong boundary still says
what it says. At most ``MOST_BYTES`` are read.
"""

from __future__ import annotations

import base64
import binascii
import email
import email.policy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from html import unescape

MOST_BYTES = 128 * 1024  # an answer says what it has to say first; what follows is the original with its pictures
MOST_TEXT, MOST_NOTICE = 64 * 1024, 16 * 1024  # characters that are searched
MOST_DEPTH, MOST_PARTS = 20, 200
REPORTS = {"message/delivery-status", "message/global-delivery-status"}
HEADERS = {"text/rfc822-headers", "message/global-headers", "message/rfc822-headers"}
_QUOTED = re.compile(
    r"^[ \t>]*(-{2,80}.{0,60}\b(copy|original|returned|unsent|headers?|message (headers?|follows))\b.{0,60}-*$|"
    r"original message (headers:?|follows\.?)|"
    r"message headers follow|included is a copy of the message header|urspr.ngliche (nachricht|kopfzeilen)|"
    r"en-t.tes de message d.origine|encabezados de mensajes originales|(received|return-path|dkim-signature): )",
    re.IGNORECASE | re.MULTILINE,
)
_TAG = re.compile(r"<[A-Za-z/!][^<>@]*>")
_UNSEEN = re.compile(r"<(/?)(?:style|script|head)\b[^<>]*>", re.IGNORECASE)
MOST_HEADER = 4_000  # characters of a header that are read


@dataclass
class Parts:
    """``headers`` of the answer itself, names in lower case; ``notice``: its text for people.

    ``fields``: of RFC 3464, ``feedback``: of RFC 5965. ``original``: what is quoted of the mail that is answered.
    """

    headers: dict[str, list[str]]
    is_report: bool = False
    notice: str = ""
    fields: str = ""
    feedback: str = ""
    original: str = ""
    count: int = field(default=0, repr=False)

    def header(self, name: str) -> str:
        """The first value of a header, unfolded and decoded, or nothing."""
        return next(iter(self.headers.get(name, ())), "")

    @property
    def text(self) -> str:
        """All that was read."""
        own = "\n".join(value for values in self.headers.values() for value in values)
        return "\n".join((own, self.notice, self.fields, self.feedback, self.original))


def parts_of(content: bytes) -> Parts:
    """The parts of a message."""
    cut = content[:MOST_BYTES]
    if b"\n" not in cut:  # lines that end as on old Macs
        cut = cut.replace(b"\r", b"\n")
    try:
        message = email.message_from_bytes(cut, policy=email.policy.compat32)
        parts = Parts(_headers(message), is_report=message.get_content_type() == "multipart/report")
        _collect(message, parts, depth=0, is_original=False)
    except (RecursionError, LookupError, ValueError, TypeError, AttributeError, AssertionError, MessageError):  # its own faults
        text = cut.decode("utf-8", "replace")
        head, _, body = text.replace("\r\n", "\n").partition("\n\n")
        parts = Parts(_headers(email.message_from_string(head[:65_536])), notice=body)
    quoted = _QUOTED.search(parts.notice[:MOST_TEXT])
    if quoted:
        parts.original = parts.notice[quoted.start() :] + parts.original
        parts.notice = parts.notice[: quoted.start()]
    parts.notice, parts.fields, parts.feedback = (
        parts.notice[:MOST_NOTICE],
        parts.fields[:MOST_TEXT],
        parts.feedback[:MOST_TEXT],
    )
    return parts


def _collect(message: Message, parts: Parts, *, depth: int, is_original: bool) -> None:
    """Sort what is in a message into the parts."""
    parts.count += 1
    kind = message.get_content_type()
    if parts.count > MOST_PARTS:
        return
    if kind in HEADERS or (is_original and not message.is_multipart()):
        parts.original += "\n" + _body(message)
    elif kind in REPORTS and not is_original:
        parts.fields += "\n" + _body(message)
    elif kind == "message/feedback-report" and not is_original:
        parts.feedback += "\n" + _body(message)
    elif message.is_multipart():
        for inner in _inner(message) if depth < MOST_DEPTH else ():
            is_mail = kind in {"message/rfc822", "message/global"}
            # A bounce that was passed on as an attachment is read like one that was not.
            is_quoted = is_original or (is_mail and inner.get_content_type() != "multipart/report")
            if is_mail and is_quoted:
                parts.original += "\n" + _header_text(inner)
            _collect(inner, parts, depth=depth + 1, is_original=is_quoted)
    else:
        _collect_text(message, kind, parts)


def _collect_text(message: Message, kind: str, parts: Parts) -> None:
    if kind == "text/html" and not parts.notice.strip():  # of text and HTML that say the same the text is read
        parts.notice += "\n" + _seen(_body(message))
    elif kind != "text/html" and message.get_content_maintype() in {"text", "multipart", "message"}:
        parts.notice += "\n" + _body(message)


def _seen(html: str) -> str:
    """What a person sees of HTML, roughly: without tags, styles and scripts."""
    pieces = _UNSEEN.split(html)
    kept = pieces[0] + "".join(text for is_end, text in zip(pieces[1::2], pieces[2::2], strict=True) if is_end)
    return unescape(_TAG.sub(" ", kept))


def _inner(message: Message) -> Iterator[Message]:
    for part in message.get_payload():
        if isinstance(part, Message):
            yield part


def _body(message: Message) -> str:
    """The text of a part, decoded as far as it can be; of a report its groups of fields."""
    payload = message.get_payload()
    if isinstance(payload, list):
        text = "\n\n".join(part.as_string() if isinstance(part, Message) else f"{part}" for part in payload)
        if f"{message.get('content-transfer-encoding', '')}".strip().lower() != "base64":
            return text
        try:
            return base64.b64decode(re.sub(r"[^A-Za-z0-9+/=]", "", text)).decode("utf-8", "replace")
        except (ValueError, binascii.Error):
            return text
    content = message.get_payload(decode=True)
    if not isinstance(content, bytes):
        return f"{payload or ''}"
    try:
        return content.decode(f"{message.get_content_charset() or 'utf-8'}")
    except (LookupError, ValueError):
        return content.decode("utf-8", "replace")


def _headers(message: Message) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in message.items():
        found.setdefault(name.lower(), []).append(_decoded(f"{value}"[:MOST_HEADER]))
    return found


def _header_text(message: Message) -> str:
    return "\n".join(f"{name}: {value}" for name, value in message.items()) + "\n"


def _decoded(value: str) -> str:
    flat = re.sub(r"\s*[\r\n]+\s*", " ", value)
    try:
        return f"{make_header(decode_header(flat))}"
    except (LookupError, ValueError, TypeError, binascii.Error, MessageError):
        return flat
