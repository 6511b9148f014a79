"""A rendered message as the bytes that are sent: headers, plain text and HTML, in quoted-printable by C code.

The result has CRLF line ends and ASCII alone. What stands in headers is checked: a line end in a name or subject is refused,
since it would begin a header of its own.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Protocol

CONTROLS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_date = lru_cache(maxsize=8)(format_datetime)  # messages of a batch have one
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_WORD_BYTES = 39  # of text in an encoded word, so that it and a header's name stay below 76 characters (RFC 2047)
_LINE = 900  # characters of an unfolded header; RFC 5322 ends lines at 998


class HeaderError(ValueError):
    """A value cannot stand in a header. The message names the header, not the value."""


class Content(Protocol):
    """What a template gives: see ``customer360.mail.rendering``."""

    @property
    def subject(self) -> str:
        """The subject."""

    @property
    def html(self) -> str:
        """The HTML part."""

    @property
    def text(self) -> str:
        """The plain text."""


@dataclass(frozen=True)
class Headers:
    """The headers of one message besides the subject. Addresses are checked ones, ``date`` is aware.

    ``unsubscribe_mailto`` and ``unsubscribe_url`` make List-Unsubscribe and its one-click form (RFC 2369, RFC 8058).
    ``feedback_id``: campaign, variant, kind and sender by colons, as Gmail's Postmaster Tools group complaints.
    """

    sender_name: str
    sender: str
    to: str
    message_id: str
    date: datetime
    unsubscribe_mailto: str
    unsubscribe_url: str
    feedback_id: str
    reply_to: str | None = None


def mime_message(content: Content, headers: Headers) -> bytes:
    """The message. Raises ``HeaderError`` on a line end or another control character in a header."""
    boundary = f"=_{binascii.crc32(headers.message_id.encode()):08x}"  # "=_" occurs in no quoted-printable text
    fields = [
        ("From", f"{_phrase('From', headers.sender_name)} <{_plain('From', headers.sender)}>"),
        ("To", _plain("To", headers.to)),
        ("Reply-To", _plain("Reply-To", headers.reply_to) if headers.reply_to else ""),
        ("Subject", _words("Subject", content.subject)),
        ("Date", _date(headers.date)),
        ("Message-ID", _plain("Message-ID", headers.message_id)),
        ("List-Unsubscribe", _unsubscribe(headers)),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ("Feedback-ID", _plain("Feedback-ID", headers.feedback_id)),
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/alternative; boundary="{boundary}"'),
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields if value)
    parts = b"".join(
        b"--%b\r\nContent-Type: text/%b; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n%b\r\n"
        % (boundary.encode(), kind, _quoted(text))
        for kind, text in ((b"plain", content.text), (b"html", content.html))
    )
    return head.encode("ascii" if headers.to.isascii() else "utf-8") + b"\r\n" + parts + b"--%b--\r\n" % boundary.encode()


def _quoted(text: str) -> bytes:
    """Quoted-printable with CRLF line ends, which hides no control character but tab."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return binascii.b2a_qp(lines.encode(), istext=True).replace(b"\n", b"\r\n")


def _unsubscribe(headers: Headers) -> str:
    mailto = _plain("List-Unsubscribe", headers.unsubscribe_mailto)
    url = _plain("List-Unsubscribe", headers.unsubscribe_url)
    if any(sign in mailto + url for sign in "<> ,"):
        raise HeaderError("List-Unsubscribe: an address has < > , or a blank")
    return f"<mailto:{mailto}>,\r\n <{url}>"


def _plain(name: str, value: str) -> str:
    if CONTROLS.search(value):
        raise HeaderError(f"{name} has a line end or another control character")
    if len(value) > _LINE:
        raise HeaderError(f"{name} has {len(value):,} characters; a line of a mail has at most 998")
    return value


def _phrase(name: str, text: str) -> str:
    """A display name: plain, quoted, or as encoded words."""
    if not text.isascii():
        return _words(name, text)
    _plain(name, text)
    return text if _ATOMS.fullmatch(text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _words(name: str, text: str) -> str:
    """Unstructured text, folded; in encoded words where it is not ASCII (RFC 2047)."""
    _plain(name, text)
    if text.isascii() and "=?" not in text:
        return "\r\n ".join(_folded(text))
    pieces, piece = [], ""
    for character in text:
        if len((piece + character).encode()) > _WORD_BYTES:
            pieces.append(piece)
            piece = ""
        piece += character
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(part.encode()).decode()}?=" for part in [*pieces, piece])


def _folded(text: str) -> list[str]:
    """The text in lines of at most 66 characters where its blanks allow that."""
    lines, line = [], ""
    for word in text.split(" "):
        if line.strip() and len(line) + len(word) > 66:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]
