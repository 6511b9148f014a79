"""E-mail addresses: one written form, and what makes two of them the same mailbox. No error quotes an address.

Domains may be in any script; the part before the @ is ASCII, since a server of the recipient's without SMTPUTF8 refuses others.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from email_validator import ValidatedEmail

PLAIN_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
MOST_LOCAL, MOST = 64, 254  # characters, RFC 5321


class AddressError(ValueError):
    """A text is no address that can be mailed. The message says why, without the text."""


def checked_address(text: str) -> str:
    """The address with its domain in lower-case ASCII (IDNA) and the part before the @ as given. Nothing is looked up.

    Raises ``AddressError`` where it breaks RFC 5321 or its domain is no public one.
    """
    address = text.strip()
    local, _, domain = address.rpartition("@")
    if len(local) <= MOST_LOCAL and PLAIN_LOCAL.fullmatch(local):
        canonical = f"{local}@{checked_domain(domain)}"  # a shop has far fewer domains than addresses
        if len(canonical) <= MOST:
            return canonical
    checked = _validated(address)
    return f"{checked.local_part}@{checked.ascii_domain}"


@lru_cache(maxsize=65_536)
def checked_domain(text: str) -> str:
    """The domain of an address in lower-case ASCII (IDNA). Raises ``AddressError``."""
    return _validated(f"a@{text}").ascii_domain


def address_key(address: str) -> str:
    """What two checked addresses share where they are one mailbox: their lower-case form; few servers tell case apart."""
    return address.lower()


def _validated(address: str) -> ValidatedEmail:
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415  80 ms that few commands need

    try:
        return validate_email(address, check_deliverability=False, allow_smtputf8=False, strict=True)
    except EmailNotValidError as error:
        reason = re.split(r"[:(]", str(error))[0].strip().rstrip(".")  # what follows quotes characters
        raise AddressError(reason) from None
