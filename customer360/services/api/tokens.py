"""Signed texts that a browser holds and cannot change: who its visitor is, and which customer the shop says it is.

Both are HMAC-SHA256 (RFC 2104) of a payload that says when it ends; both secrets can be exchanged while the API serves.

- Visitor token: ``<secret's id>.<visitor id>.<end>.<signature>``, made and read here alone.
- Customer token: ``<customer id in base64url>.<end>.<signature>``, made by the shop's server where a customer has signed in.

Ends are seconds since 1970, signatures are hexadecimal.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from customer360.secret_files import is_signed, secret_id, signature
from customer360.settings import Place

LONGEST_CUSTOMER_TOKEN = 24 * 3600  # seconds ahead: a customer who signs out is not one for ever
Refusal = Literal["forged", "expired", "too-long", "no-secret"]


class VisitorToken(NamedTuple):
    """A visitor, until when (seconds since 1970), and whether the newest secret signed it."""

    visitor_id: str
    ends_at: int
    is_newest: bool


def sign_customer(secret: str, customer_id: str, ends_at: int) -> str:
    """The token with which a shop's server vouches for a customer."""
    payload = f"{base64.urlsafe_b64encode(customer_id.encode()).rstrip(b'=').decode()}.{ends_at}"
    return f"{payload}.{signature(secret, payload)}"


def read_customer(token: str, accepted: Sequence[str], now: float) -> tuple[str, None] | tuple[None, Refusal]:
    """The customer whom the shop vouches for by one of the accepted secrets, or why the token does not count."""
    if not accepted:
        return None, "no-secret"
    payload, _, signed = token.rpartition(".")
    if not any(is_signed(secret, payload, signed) for secret in accepted):
        return None, "forged"
    try:
        encoded, _, end = payload.partition(".")
        customer_id = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
        ends_at = int(end)
    except (ValueError, binascii.Error):
        return None, "forged"
    if ends_at <= now:
        return None, "expired"
    return (None, "too-long") if ends_at > now + LONGEST_CUSTOMER_TOKEN else (customer_id, None)


def sign_visitor(accepted: Sequence[str], visitor_id: str, ends_at: int) -> str:
    """The token of a visitor, by the first of the accepted secrets, which is the newest."""
    payload = f"{secret_id(accepted[0])}.{visitor_id}.{ends_at}"
    return f"{payload}.{signature(accepted[0], payload)}"


def read_visitor(token: str, accepted: Sequence[str], now: float) -> VisitorToken | None:
    """The visitor of a token; None for one that is not signed by an accepted secret, or has ended."""
    payload, _, signed = token.rpartition(".")
    signer, _, more = payload.partition(".")
    signers = [secret for secret in accepted if secret_id(secret) == signer]
    if not signers or not is_signed(signers[0], payload, signed):
        return None
    visitor_id, _, end = more.rpartition(".")
    return VisitorToken(visitor_id, int(end), signers[0] == accepted[0]) if int(end) > now else None


def visitor_secrets_file(place: Place) -> Path:
    """Where the secrets of visitor tokens are kept: one a line, the newest first."""
    return Path(place.serving) / "visitor_secrets"
