"""Addresses to which answers to one mail come back (VERP), signed so that nobody else can answer for its contact.

``b+<contact_key>-<mac>@<return_path_domain>`` takes bounces, ``<name>+<contact_key>-<mac>@<domain>`` mailto unsubscribes, and
``<m+<contact_key>-<mac>@<domain>>`` is the Message-ID: whatever of the mail an answer quotes, it names the contact. The MAC is
HMAC-SHA256 (RFC 2104) cut to 80 bits, in base32, so that servers that change letter case do no harm.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from typing import NamedTuple

BOUNCES, MESSAGE_IDS = "b", "m"
MAC_BYTES = 10
_NAME = r"[A-Za-z0-9._%=-]{1,40}"
_TAGGED = re.compile(rf"(?<![A-Za-z0-9._%=-])({_NAME})\+([a-z0-9]{{8,40}})-([a-z2-7]{{16}})@[A-Za-z0-9.-]+", re.IGNORECASE)


def return_path(secret: str, contact_key: str, domain: str) -> str:
    """The envelope's sender of a contact's mail. ``contact_key``: 8 to 40 of a to z and 0 to 9; else ``ValueError``."""
    return _tagged(secret, BOUNCES, contact_key, domain)


def unsubscribe_address(secret: str, contact_key: str, mailto: str) -> str:
    """The address of List-Unsubscribe by mail: that of the shop, tagged with the contact."""
    name, _, domain = mailto.partition("@")
    return _tagged(secret, name, contact_key, domain)


def message_id(secret: str, contact_key: str, domain: str) -> str:
    """The Message-ID of a contact's mail, the same for each attempt as long as the secret is the same."""
    return f"<{_tagged(secret, MESSAGE_IDS, contact_key, domain)}>"


class Tag(NamedTuple):
    """A tagged address in a text: the name before its +, and the contact key where one of our secrets signed it."""

    name: str
    contact_key: str | None


def tags(text: str, secrets: Sequence[str]) -> list[Tag]:
    """All tagged addresses in a text, in order; whoever made them."""
    found = []
    for name, contact_key, mac in (match.group(1, 2, 3) for match in _TAGGED.finditer(text)):
        name, contact_key = name.lower(), contact_key.lower()  # noqa: PLW2901
        is_signed = any(hmac.compare_digest(_mac(secret, name, contact_key), mac.lower()) for secret in secrets)
        found.append(Tag(name, contact_key if is_signed else None))
    return found


def read_return_path(address: str, secrets: Sequence[str]) -> str | None:
    """The contact key that an address was signed for by one of the secrets; None for all others, forged ones too."""
    found = tags(address, secrets)
    return found[0].contact_key if len(found) == 1 else None


def _tagged(secret: str, name: str, contact_key: str, domain: str) -> str:
    address = f"{name}+{contact_key}-{_mac(secret, name, contact_key)}@{domain}"
    if contact_key != contact_key.lower() or not _TAGGED.fullmatch(address):
        raise ValueError("a contact key has 8 to 40 characters of a to z and 0 to 9")
    if len(address.partition("@")[0]) > 64:  # RFC 5321, 4.5.3.1.1
        raise ValueError(f"{name}+... is too long before its @: choose a shorter name")
    return address


def _mac(secret: str, name: str, contact_key: str) -> str:
    digest = hmac.digest(secret.encode(), f"return path\0{name.lower()}\0{contact_key}".encode(), "sha256")
    return base64.b32encode(digest[:MAC_BYTES]).decode().lower()
