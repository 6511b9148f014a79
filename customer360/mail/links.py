"""Links of messages: each carries a token, signed by HMAC-SHA256, of the contact, its customer and campaign, and the target.

A token is ``<secret's id>.<fields>.<signature>``: a JSON array in base64url, and 128 bits in hexadecimal. It does not end: a
link to unsubscribe must work for as long as the message may be read. Secrets can be exchanged while links are read and made.

Nothing is redirected to what no token of ours names, and tokens are only made for targets of the shop's ``link_domains``.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from customer360.loopback import is_loopback
from customer360.secret_files import made_secrets, secret_id, signature
from customer360.settings import Place

# By kind of link its letter in tokens, and in addresses: {public_url}/m/<letter>/<token>.
KINDS = {"click": "c", "open": "o", "unsubscribe": "u", "preferences": "p", "opt_in": "i"}
SIGNED_DIGITS = 32
_NAMES = {letter: kind for kind, letter in KINDS.items()}
_PLAIN = re.compile(r"""[!#-;=?-\[\]_a-z~]+""")  # an URL without blanks, quotes, angle brackets, backslashes, controls


@dataclass(frozen=True)
class LinkToken:
    """What a link says; ``target``: where a click leads, empty for the other kinds."""

    kind: str
    contact_key: str
    customer_id: str
    campaign_id: str
    target: str = ""


def link_secrets_file(place: Place) -> Path:
    """Where the secrets of links are kept: one a line, the newest first."""
    return Path(place.mail) / "link_secrets"


def link_secrets(place: Place) -> list[str]:
    """The secrets of links, made on first use. Raises ``SettingsError`` where their file cannot be used."""
    return made_secrets(link_secrets_file(place))


def sign_link(secrets: Sequence[str], token: LinkToken) -> str:
    """The signed text of a token, by the first of the secrets."""
    return _signed(secrets, token.kind, token.contact_key, token.customer_id, token.campaign_id, token.target)


def _signed(secrets: Sequence[str], kind: str, *values: str) -> str:
    fields = [KINDS[kind], *values]
    encoded = base64.urlsafe_b64encode(msgspec.json.encode(fields)).rstrip(b"=").decode()
    payload = f"{secret_id(secrets[0])}.{encoded}"
    return f"{payload}.{signature(secrets[0], payload)[:SIGNED_DIGITS]}"


def read_link(text: str, secrets: Sequence[str]) -> LinkToken | None:
    """The token of a link; None for one that no secret signed. The caller compares its kind with the page's."""
    payload, _, signed = text.rpartition(".")
    signer, _, fields = payload.partition(".")
    if not any(secret_id(secret) == signer and _is_signed(secret, payload, signed) for secret in secrets):
        return None
    try:
        letter, *values = msgspec.json.decode(base64.urlsafe_b64decode(fields + "=" * (-len(fields) % 4)), type=list[str])
        return LinkToken(_NAMES[letter], *values)
    except (ValueError, TypeError, KeyError, binascii.Error, msgspec.DecodeError):
        return None


def link_url(public_url: str, kind: str, text: str) -> str:
    """Where the public service answers to a signed link."""
    return f"{public_url}/m/{KINDS[kind]}/{text}"


def is_allowed_target(url: str, domains: Collection[str]) -> bool:
    """Whether a link may lead there: https (http on this machine alone), and the host is one of the domains, spelt exactly.

    Subdomains are domains of their own: one that is forgotten and taken over by others must not be a target.
    """
    if not _PLAIN.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    return is_safe and host in domains and port != 0 and "@" not in parts.netloc


class Links(Protocol):
    """The addresses that a message's links have."""

    def click(self, target: str) -> str:
        """The link that leads to a target."""

    def page(self, kind: str) -> str:
        """The link of another kind."""


@dataclass(frozen=True)
class ContactLinks:
    """The links of a contact, signed."""

    secrets: Sequence[str]
    public_url: str
    contact_key: str
    customer_id: str
    campaign_id: str

    def click(self, target: str) -> str:
        """The link that counts a click and leads to a target."""
        return self._url("click", target)

    def page(self, kind: str) -> str:
        """The link to unsubscribe, to preferences, or of the picture that counts an opening."""
        return self._url(kind, "")

    def _url(self, kind: str, target: str) -> str:
        text = _signed(self.secrets, kind, self.contact_key, self.customer_id, self.campaign_id, target)
        return link_url(self.public_url, kind, text)


@dataclass(frozen=True)
class PreviewLinks:
    """Links of a preview: they lead to their targets, count nothing, and those who see them stop nobody's messages."""

    public_url: str

    def click(self, target: str) -> str:
        """The target itself."""
        return target

    def page(self, kind: str) -> str:
        """An address at which the public service says that the link is not valid."""
        return link_url(self.public_url, kind, "preview")


def _is_signed(secret: str, payload: str, signed: str) -> bool:
    return hmac.compare_digest(signature(secret, payload)[:SIGNED_DIGITS].encode(), signed.encode())
