"""Whether the DNS lets a shop's mail be believed: SPF of the return path, DKIM of the sender, DMARC aligned with one of them.

Mailbox providers refuse or hide bulk mail without them, so that mail to more than the test addresses waits for a check that
passes, or for a person who says why it need not. Both are kept in ``DATA_DIR/mail/dns_check.json``, for the domains that were
checked: with other domains in shop.yaml they no longer count.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from customer360.decisions import Request
from customer360.lake.atomic import exclusive, write_text
from customer360.settings import Email, Place, Settings

if TYPE_CHECKING:
    from dns.resolver import Resolver

SHORTEST_KEY = 200  # bytes of a published RSA key: 1024 bits have 162, 2048 have 294


class Finding(msgspec.Struct, frozen=True):
    """What was found of one record: ``is_good``, in words, and what to do where it is not."""

    name: str
    is_good: bool
    words: str
    remedy: str = ""


class Override(msgspec.Struct, frozen=True):
    """A person's decision to send without a check that passes."""

    by: str
    reason: str
    at: datetime


class Check(msgspec.Struct, frozen=True):
    """The newest check of these domains, and the override of them, if any."""

    domains: list[str]
    checked_at: datetime | None
    findings: list[Finding]
    override: Override | None = None

    @property
    def is_passed(self) -> bool:
        """Whether there is nothing to mend."""
        return bool(self.findings) and all(finding.is_good for finding in self.findings)


def dns_check_file(place: Place) -> Path:
    """Where the newest check is kept."""
    return Path(place.mail) / "dns_check.json"


def may_send_to_all(settings: Settings) -> bool:
    """Whether mail may go to others than the test addresses: the check of the domains passed, or a person overrode it."""
    email = settings.shop.email
    check = read_check(settings.place, email) if email else None
    return check is not None and (check.is_passed or check.override is not None)


def read_check(place: Place, email: Email) -> Check | None:
    """The check that is kept for these domains, if any."""
    try:
        check = msgspec.json.decode(dns_check_file(place).read_bytes(), type=Check)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return check if check.domains == _domains(email) else None


def keep_check(place: Place, email: Email, findings: list[Finding], at: datetime) -> Check:
    """Keep what was found; an override of the same domains stays."""
    with _locked(place):
        before = read_check(place, email)
        return _write(place, Check(_domains(email), at, findings, before.override if before else None))


def keep_override(place: Place, email: Email, request: Request) -> Check:
    """Keep a person's decision to send to all whatever the check says."""
    with _locked(place):
        before = read_check(place, email) or Check(_domains(email), None, [])
        override = Override(request.by, request.reason_line, request.at)
        return _write(place, Check(before.domains, before.checked_at, before.findings, override))


def check_dns(email: Email, selector: str | None, resolver: Resolver | None = None) -> list[Finding]:
    """What the DNS says now of the shop's domains. ``selector``: of DKIM, None where the relay signs with a key of its own.

    ``resolver``: who is asked in place of the machine's resolver.
    """
    from checkdmarc.dmarc import check_dmarc  # noqa: PLC0415 (a second, which other commands need not wait for)
    from checkdmarc.spf import check_spf  # noqa: PLC0415
    from checkdmarc.utils import DNS_CACHE, get_base_domain  # noqa: PLC0415

    DNS_CACHE.clear()
    sender, path = email.sender.address.partition("@")[2], email.return_path_domain
    spf = _spf(path, check_spf(path, resolver=resolver))
    dkim = _dkim(sender, selector, resolver)
    result = check_dmarc(sender, resolver=resolver)
    is_strict = _tag(result, "aspf") == "s"
    is_spf_aligned = path == sender or (not is_strict and get_base_domain(path) == get_base_domain(sender))
    aligned = [
        name
        for name, is_aligned in (("SPF", spf.is_good and is_spf_aligned), ("DKIM", dkim.is_good and selector is not None))
        if is_aligned
    ]
    return [spf, dkim, _dmarc(sender, result), _alignment(sender, path, aligned)]


def _spf(domain: str, result: Any) -> Finding:
    if not result.get("valid"):
        remedy = f'publish a TXT record at {domain}, such as "v=spf1 ip4:<address of the relay> -all"'
        return Finding("SPF", False, f"{domain}: {result.get('error', 'no valid record')}", remedy)
    lets_all = "+all" in f"{result['record']}".split() or "all" in f"{result['record']}".split()
    if lets_all:
        return Finding("SPF", False, f"{domain}: the record lets the whole world send", "end it with -all or ~all")
    return Finding("SPF", True, f"{domain}: {result['record']}")


def _dkim(domain: str, selector: str | None, resolver: Resolver | None) -> Finding:
    if selector is None:
        return Finding("DKIM", True, "the relay signs with a key of its own, which is not checked here")
    from checkdmarc.utils import DNSException, get_txt_records  # noqa: PLC0415

    name = f"{selector}._domainkey.{domain}"
    try:
        fault = _key_fault(get_txt_records(name, resolver=resolver))
    except DNSException as error:
        fault = next(iter(f"{error}".splitlines()), "the DNS does not answer")
    if fault is None:
        return Finding("DKIM", True, f"{name}: one key is published")
    remedy = f'publish the public key, of at least 2048 bits, as a TXT record at {name}: "v=DKIM1; k=rsa; p=<base64>"'
    return Finding("DKIM", False, f"{name}: {fault}", remedy)


def _key_fault(records: list[str]) -> str | None:
    """What is wrong with a published key (RFC 6376, 3.6.1), or None."""
    tags = [dict(part.strip().split("=", 1) for part in record.split(";") if "=" in part) for record in records]
    keys = [tag for tag in tags if "p" in tag]
    if len(keys) != 1:
        return f"{len(keys)} keys are published, not one"
    try:
        size = len(base64.b64decode("".join(keys[0]["p"].split()), validate=True))
    except binascii.Error:
        return "the key is no base64"
    if not size:
        return "the key is revoked (its p= is empty)"
    return "the key is shorter than 2048 bits" if size < SHORTEST_KEY and keys[0].get("k", "rsa") == "rsa" else None


def _dmarc(domain: str, result: Any) -> Finding:
    if not result.get("valid"):
        remedy = f'publish a TXT record at _dmarc.{domain}: "v=DMARC1; p=none; rua=mailto:dmarc@{domain}"'
        return Finding("DMARC", False, f"{domain}: {result.get('error', 'no valid record')}", remedy)
    return Finding("DMARC", True, f"{result['location']}: p={_tag(result, 'p')}")


def _alignment(sender: str, path: str, aligned: list[str]) -> Finding:
    """DMARC passes where SPF or DKIM passes for a domain that belongs to that of the sender (RFC 9989)."""
    if aligned:
        return Finding("alignment", True, f"{sender} is aligned by {' and '.join(aligned)}")
    remedy = f"let return_path_domain be a subdomain of {sender} with SPF, or sign with DKIM for {sender}"
    return Finding("alignment", False, f"neither SPF of {path} nor DKIM is aligned with {sender}", remedy)


def _tag(result: Any, name: str) -> str:
    return f"{result.get('tags', {}).get(name, {}).get('value', '')}"


def _domains(email: Email) -> list[str]:
    return [email.sender.address.partition("@")[2], email.return_path_domain]


def _locked(place: Place) -> Any:
    file = dns_check_file(place)
    file.parent.mkdir(parents=True, exist_ok=True)
    return exclusive(file.with_name(".dns_check.lock"))


def _write(place: Place, check: Check) -> Check:
    write_text(dns_check_file(place), msgspec.json.format(msgspec.json.encode(check), indent=2).decode() + "\n")
    return check
