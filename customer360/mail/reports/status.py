"""What a status code (RFC 3463, RFC 5248) and the text beside it say about an address."""

from __future__ import annotations

import re

from customer360.mail.reports.words import (
    BLOCKED,
    BUSY,
    DISABLED,
    EXPIRED,
    FULL,
    GONE,
    LOOPS,
    MEANINGS,
    NO_DOMAIN,
    TOO_LARGE,
    Meaning,
)

_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?!\.?\d)")
_REPLY = re.compile(r"(?<![\d.:#/-])([45]\d\d)(?:[ -]|$)(?!\d+\b)", re.MULTILINE)
EXACT = {
    **dict.fromkeys(("1.0", "1.1", "1.6", "1.10", "2.0", "4.300"), GONE),
    **dict.fromkeys(("1.2", "1.3", "4.4", "4.310"), NO_DOMAIN),
    **dict.fromkeys(("2.1",), DISABLED),
    **dict.fromkeys(("2.2", "3.1"), FULL),
    **dict.fromkeys(("2.3", "3.4"), TOO_LARGE),
    **dict.fromkeys(("4.7", "4.1", "4.2"), EXPIRED),
    **dict.fromkeys(("4.6",), LOOPS),
    **dict.fromkeys(("6.0", "6.1", "6.2", "6.3", "6.6", "6.7"), BLOCKED),
}
UNCLEAR = {
    "0.0",
    "1.0",
    "2.0",
    "3.0",
    "4.0",
    "5.0",
    "5.1",
    "5.2",
    "5.3",
    "5.4",
    "5.5",
    "4.1",
    "4.4",
}  # what the text says counts


def status_in(text: str) -> str | None:
    """The first status of a failure in a text, such as 5.1.1; of a plain reply code the class, such as 5.0.0; None without."""
    failures = [match for match in _ENHANCED.finditer(text) if match[1] in "45"]
    telling = [match for match in failures if match.group(2, 3) != ("0", "0")] or failures
    if telling:
        return telling[0][0]
    reply = _REPLY.search(text)
    return f"{reply[1][0]}.0.0" if reply else None


def meaning_of(status: str | None, text: str) -> Meaning | None:
    """What became of a mail that was given up. None where neither the code nor the text says that it was.

    A code of a temporary failure is one, whatever the text says. A full mailbox is full whatever the code; where a code is too
    general the text counts, and what remains unclear is soft: it costs one more mail, not a customer.
    """
    words = next((meaning for pattern, meaning in MEANINGS if pattern.search(text)), None)
    if status is None:
        return words
    level, _, detail = status.partition(".")
    if level == "4":
        known = words if words is not None and words.kind == "soft" else EXACT.get(detail, BUSY)
        return Meaning("soft", (known if known.kind == "soft" else BUSY).reason, status)
    if words is FULL or (words is not None and (detail in UNCLEAR or detail not in EXACT)):
        if detail.startswith("7.") and words is not GONE and words is not DISABLED and words is not FULL:
            words = BLOCKED
        return Meaning(words.kind, words.reason, status)
    if detail.startswith("7."):
        return Meaning("soft", BLOCKED.reason, status)
    return Meaning(*(EXACT[detail][:2] if detail in EXACT else ("soft", "the server gave no clear reason")), status)
