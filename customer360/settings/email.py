"""Settings of e-mail: sender, links, consent, and rates by mailbox provider."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from customer360.mail.addresses import checked_address, checked_domain
from customer360.settings.fields import WITHOUT_SLASH, Identifier, Strict, matching

Address = Annotated[str, AfterValidator(checked_address)]
Domain = Annotated[str, AfterValidator(checked_domain)]
LinkDomain = Annotated[str, AfterValidator(lambda text: text if text == "localhost" else checked_domain(text))]
SingleLine = Annotated[
    str, AfterValidator(str.strip), matching(r"[^\x00-\x1f\x7f]+", "write it on a single line, without control characters")
]


class ProviderRate(Strict):
    """How much one mailbox provider is sent: messages a second, and at most so many a day."""

    per_second: Annotated[float, Field(gt=0, le=100_000)] | None = None
    per_day: Annotated[int, Field(ge=1)] | None = None


class WarmUp(Strict):
    """What a provider gets in the first ``days`` of a new sender: ``first_day`` messages, each day ``growth`` times as many."""

    first_day: Annotated[int, Field(ge=1)] = 500
    growth: Annotated[float, Field(gt=1, le=3)] = 1.5
    days: Annotated[int, Field(ge=1, le=90)] = 30


class EmailRates(Strict):
    """Rates by mailbox provider (``gmail``, ``microsoft``, ... or a domain); ``default`` is that of each other one."""

    default: ProviderRate = ProviderRate()
    providers: dict[Annotated[str, Field(pattern=r"^[a-z0-9.-]+$")], ProviderRate] = {}
    warm_up: WarmUp | None = None

    def of(self, provider: str) -> ProviderRate:
        """The rate of a provider."""
        return self.providers.get(provider, self.default)

    def is_limited(self, provider: str) -> bool:
        """Whether anything limits a provider."""
        return self.warm_up is not None or self.of(provider) != ProviderRate()

    def most_on_day(self, provider: str, age: int) -> int | None:
        """Messages that a provider gets on a day, ``age`` days after its first; None for any number."""
        limits = [self.of(provider).per_day]
        if self.warm_up and age < self.warm_up.days:
            limits.append(int(self.warm_up.first_day * self.warm_up.growth**age))
        return min((limit for limit in limits if limit is not None), default=None)


class Sender(Strict):
    """The name and the address that messages come from."""

    name: SingleLine
    address: Address


class Email(Strict):
    """What e-mail of the shop has in common; without it the shop keeps no customer's address.

    ``public_url`` is where customers reach the api, under which links to unsubscribe and to count clicks lie; links lead to
    the hosts ``link_domains`` alone. Bounces go to addresses of ``return_path_domain``, and stops by mail to
    ``unsubscribe_mailto``. ``topics`` are what a customer may choose among on the preference page, by name their title.
    Who opted in on the public page and did nothing with a mail for ``consent_months`` has to opt in again.
    """

    sender: Sender
    reply_to: Address | None = None
    postal_address: Annotated[str, AfterValidator(str.strip), Field(min_length=1)]
    public_url: Annotated[
        str,
        matching(
            r"(https://[A-Za-z0-9.-]+|https?://(localhost|127\.0\.0\.1|\[::1\]))(:\d{1,5})?(/[A-Za-z0-9._~/-]*)?",
            "write https://host, the public address of the api; http is for localhost alone",
        ),
        WITHOUT_SLASH,
    ]
    link_domains: Annotated[list[LinkDomain], Field(min_length=1)]
    return_path_domain: Domain
    unsubscribe_mailto: Address
    open_tracking: bool = False
    languages: Annotated[list[Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")]], Field(min_length=1)] = ["en"]
    topics: dict[Identifier, SingleLine] = {}
    test_addresses: list[Address] = []
    consent_months: Annotated[int, Field(ge=1, le=120)] | None = None
    rates: EmailRates = EmailRates()
