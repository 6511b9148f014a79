"""SPF, DKIM and aligned DMARC are checked by answers that a test gives, and mail waits for them or for a person."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import pytest

from customer360.decisions import Request
from customer360.mail.dns_checks import check_dns, dns_check_file, keep_check, keep_override, may_send_to_all
from customer360.settings import Email, Place, Settings
from tests.support.random_shop import EMAIL as BLOCK
from tests.support.random_shop import small_shop

NOW = datetime(2026, 5, 4, tzinfo=UTC)
EMAIL = Email.model_validate(BLOCK)
KEY = base64.b64encode(b"k" * 294).decode()
GOOD = {
    "bounces.shop.example": "v=spf1 ip4:192.0.2.7 -all",
    "k1._domainkey.shop.example": f"v=DKIM1; k=rsa; p={KEY[:200]}|{KEY[200:]}",
    "_dmarc.shop.example": "v=DMARC1; p=reject; rua=mailto:d@shop.example",
    "shop.example": "hello",
}


class Zone(dns.resolver.Resolver):
    """A resolver that knows TXT records by name; ``|`` parts strings of a record."""

    def __init__(self, records: dict[str, str]) -> None:
        super().__init__(configure=False)
        self._records = records

    def resolve(self, qname: Any, rdtype: Any = "A", *_: Any, **__: Any) -> dns.resolver.Answer:
        name = f"{qname}".rstrip(".").lower()
        kind = dns.rdatatype.RdataType.make(rdtype)
        if kind != dns.rdatatype.TXT or name not in self._records:
            raise dns.resolver.NXDOMAIN(qnames=[dns.name.from_text(name)], responses={})
        strings = " ".join(f'"{part}"' for part in self._records[name].replace(";", "\\;").split("|"))
        question = f"id 1\nopcode QUERY\nrcode NOERROR\nflags QR\n;QUESTION\n{name}. IN TXT\n;ANSWER\n"
        answer = dns.message.from_text(f"{question}{name}. 300 IN TXT {strings}\n")
        return dns.resolver.Answer(dns.name.from_text(name), kind, dns.rdataclass.IN, answer)  # type: ignore[arg-type]


def faults(records: dict[str, str], email: Email = EMAIL, selector: str | None = "k1") -> dict[str, str]:
    return {finding.name: finding.words for finding in check_dns(email, selector, Zone(records)) if not finding.is_good}


def without(name: str) -> dict[str, str]:
    return {other: record for other, record in GOOD.items() if other != name}


def test_a_domain_with_all_records_passes() -> None:
    assert faults(GOOD) == {}


@pytest.mark.parametrize(
    ("records", "missing"),
    [
        (without("bounces.shop.example"), {"SPF"}),
        ({**GOOD, "bounces.shop.example": "v=spf1 +all"}, {"SPF"}),
        ({**GOOD, "bounces.shop.example": "v=spf1 ip4:nonsense -all"}, {"SPF"}),
        (without("k1._domainkey.shop.example"), {"DKIM"}),
        ({**GOOD, "k1._domainkey.shop.example": "v=DKIM1; p="}, {"DKIM"}),
        ({**GOOD, "k1._domainkey.shop.example": "v=DKIM1; p=" + base64.b64encode(b"k" * 162).decode()}, {"DKIM"}),
        ({**GOOD, "k1._domainkey.shop.example": "v=DKIM1; p=???"}, {"DKIM"}),
        (without("_dmarc.shop.example"), {"DMARC"}),
        ({**GOOD, "_dmarc.shop.example": "v=DMARC1; p=perhaps"}, {"DMARC"}),
        ({"_dmarc.shop.example": GOOD["_dmarc.shop.example"], "shop.example": ""}, {"SPF", "DKIM", "alignment"}),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(records: dict[str, str], missing: set[str]) -> None:
    assert faults(records).keys() == missing
    assert all(finding.remedy for finding in check_dns(EMAIL, "k1", Zone(records)) if not finding.is_good)


def test_a_return_path_of_another_domain_is_aligned_by_dkim_alone() -> None:
    email = Email.model_validate({**BLOCK, "return_path_domain": "relay.example.net"})
    records = {**GOOD, "relay.example.net": "v=spf1 ip4:192.0.2.7 -all"}
    assert faults(records, email) == {}
    del records["k1._domainkey.shop.example"]
    assert faults(records, email).keys() == {"DKIM", "alignment"}


def test_mail_to_all_waits_for_the_check_or_a_person(tmp_path: Path) -> None:
    settings = Settings(shop=small_shop(email=BLOCK), place=Place(root=tmp_path), shop_folder=tmp_path)
    assert not may_send_to_all(settings)
    keep_check(settings.place, EMAIL, check_dns(EMAIL, "k1", Zone({})), NOW)
    assert not may_send_to_all(settings)
    keep_override(settings.place, EMAIL, Request("the relay is the provider's", NOW, "Ada"))
    assert may_send_to_all(settings)
    other = Settings(
        shop=small_shop(email={**BLOCK, "return_path_domain": "relay.example.net"}), place=settings.place, shop_folder=tmp_path
    )
    assert not may_send_to_all(other)
    dns_check_file(settings.place).unlink()
    keep_check(settings.place, EMAIL, check_dns(EMAIL, "k1", Zone(GOOD)), NOW)
    assert may_send_to_all(settings)


def test_a_relay_that_signs_by_itself_is_aligned_by_spf_alone() -> None:
    records = without("k1._domainkey.shop.example")
    assert faults(records, selector=None) == {}
    assert faults({**records, "bounces.shop.example": "v=spf1 +all"}, selector=None).keys() == {"SPF", "alignment"}
