"""Addresses to which answers to one mail come back (VERP), signed so that nobody else can answer for its contact.

``b+<contact_key>-<mac>@<return_path_domain>`` takes bounces, ``<name>+<contact_key>-<mac>@<domain>`` mailto unsubscribes. The MAC
is HMAC-SHA256 (RFC 2104) cut to 80 bits, in base32, so that servers that change letter case do no harm.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence

BOUNCES = "b"
MAC_BYTES = 10
_TAGGED = re.compile(r"([^+@\s]+)\+([a-z0-9]{8,40})-([a-z2-7]{16})@\S+", re.IGNORECASE)


def return_path(secret: str, contact_key: str, domain: str) -> str:
    """The envelope's sender of a contact's mail. ``contact_key``: 8 to 40 of a to z and 0 to 9; else ``ValueError``."""
    return _tagged(secret, BOUNCES, contact_key, domain)


def unsubscribe_address(secret: str, contact_key: str, mailto: str) -> str:
    """The address of List-Unsubscribe by mail: that of the shop, tagged with the contact."""
    name, _, domain = mailto.partition("@")
    return _tagged(secret, name, contact_key, domain)


def read_return_path(address: str, secrets: Sequence[str]) -> str | None:
    """The contact key that an address was signed for by one of the secrets; None for all others, forged ones too."""
    found = _TAGGED.fullmatch(address.strip().strip("<>"))
    if found is None:
        return None
    name, contact_key, mac = (part.lower() for part in found.groups())
    is_signed = any(hmac.compare_digest(_mac(secret, name, contact_key), mac) for secret in secrets)
    return contact_key if is_signed else None


def is_tagged(address: str) -> bool:
    """Whether an address has the form of a signed one, whoever signed it."""
    return _TAGGED.fullmatch(address.strip().strip("<>")) is not None


def _tagged(secret: str, name: str, contact_key: str, domain: str) -> str:
    address = f"{name}+{contact_key}-{_mac(secret, name, contact_key)}@{domain}"
    if contact_key != contact_key.lower() or not is_tagged(address):
        raise ValueError("a contact key has 8 to 40 characters of a to z and 0 to 9")
    if len(address.partition("@")[0]) > 64:  # RFC 5321, 4.5.3.1.1
        raise ValueError(f"{name}+... is too long before its @: choose a shorter name")
    return address


def _mac(secret: str, name: str, contact_key: str) -> str:
    digest = hmac.new(secret.encode(), f"return path\0{name.lower()}\0{contact_key}".encode(), hashlib.sha256).digest()
    return base64.b32encode(digest[:MAC_BYTES]).decode().lower()
