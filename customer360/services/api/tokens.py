"""Signed texts that a browser holds and cannot change: who its visitor is, and which customer the shop says it is.

Both are HMAC-SHA256 (RFC 2104) of a payload that says when it ends; both secrets can be exchanged while the API serves.

- Visitor token: ``<secret's id>.<visitor id>.<end>.<signature>``, made and read here alone.
- Customer token: ``<customer id in base64url>.<end>.<signature>``, made by the shop's server where a customer has signed in.

Ends are seconds since 1970, signatures are hexadecimal.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from customer360.lake.atomic import exclusive, write_text
from customer360.settings import Place, SettingsError

SHORTEST_SECRET = 32  # characters
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
    return f"{payload}.{_signature(secret, payload)}"


def read_customer(token: str, accepted: Sequence[str], now: float) -> tuple[str, None] | tuple[None, Refusal]:
    """The customer whom the shop vouches for by one of the accepted secrets, or why the token does not count."""
    if not accepted:
        return None, "no-secret"
    payload, _, signature = token.rpartition(".")
    if not any(_is_signed(secret, payload, signature) for secret in accepted):
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
    payload = f"{_id(accepted[0])}.{visitor_id}.{ends_at}"
    return f"{payload}.{_signature(accepted[0], payload)}"


def read_visitor(token: str, accepted: Sequence[str], now: float) -> VisitorToken | None:
    """The visitor of a token; None for one that is not signed by an accepted secret, or has ended."""
    payload, _, signature = token.rpartition(".")
    secret_id, _, more = payload.partition(".")
    signers = [secret for secret in accepted if _id(secret) == secret_id]
    if not signers or not _is_signed(signers[0], payload, signature):
        return None
    visitor_id, _, end = more.rpartition(".")
    return VisitorToken(visitor_id, int(end), signers[0] == accepted[0]) if int(end) > now else None


def visitor_secrets_file(place: Place) -> Path:
    """Where the secrets of visitor tokens are kept: one a line, the newest first."""
    return Path(place.serving) / "visitor_secrets"


def make_visitor_secret(file: Path, *, forget: bool = False) -> None:
    """Sign with a new secret from the next second on. Tokens of earlier ones stay good, unless those are forgotten."""
    with exclusive(file.with_name(".visitor_secrets.lock")):
        earlier = [] if forget or not file.exists() else read_secrets(file)
        write_text(file, "\n".join([secrets.token_urlsafe(32), *earlier]) + "\n", mode=0o600)


def read_secrets(file: Path) -> list[str]:
    """The secrets of a file, one a line. Raises ``SettingsError`` on a short one, none, and a file that cannot be read."""
    try:
        return parse_secrets(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: its secrets cannot be read ({type(error).__name__})") from error


def parse_secrets(text: str, where: str) -> list[str]:
    """Secrets by white space. Raises ``SettingsError`` that names ``where``, never a secret."""
    found = text.split()
    if not found or min(map(len, found)) < SHORTEST_SECRET:
        raise SettingsError(f"{where}: a secret has at least {SHORTEST_SECRET} characters; openssl rand -hex 32 makes one")
    return found


def _id(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


def _signature(secret: str, payload: str) -> str:
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def _is_signed(secret: str, payload: str, signature: str) -> bool:
    return hmac.compare_digest(_signature(secret, payload).encode(), signature.encode())
