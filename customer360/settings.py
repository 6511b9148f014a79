"""Typed settings: a shop's ``shop.yaml``, and the environment variables for the shop and its data folder.

dbt and ``ml`` both take categories, windows and attributes from here; nothing is declared twice.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from text_unidecode import unidecode

from customer360.errors import OperatorError
from customer360.mail.addresses import checked_address, checked_domain
from customer360.text import nearest

REPOSITORY = Path(__file__).resolve().parents[1]
OTHER = "other"
NONE = "none"
PERSONALISATION = "personalisation"
MAIL_CHANNEL = "email"  # the channel of the mail queue
OUTCOMES = ("label", "weight", "spend", "is_churned")  # columns of training_features after the features

# Names as Python's zoneinfo has them, by their lower-case form: DuckDB knows 40 more (PST, IST), and takes either letter case.
TIME_ZONES = {name.lower(): name for name in sorted(available_timezones() - {"localtime", "Factory"})}

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
REFERENCE_NAMES = (
    *("customers", "products", "categories", "purchases", "offers", "campaigns", "campaign_touches", "suppressions"),
)
WHITESPACE = "whitespace"


class SettingsError(OperatorError, ValueError):
    """A setting is missing or wrong. The message names the file, the field and the remedy."""


def known_zone(text: str) -> str:
    """The IANA name of a time zone, in its own letter case. Raises ``ValueError`` for other names."""
    name = TIME_ZONES.get(text.strip().lower())
    if name is None:
        raise ValueError(f"{text!r} is not an IANA time zone such as Europe/Amsterdam")
    return name


TimeZone = Annotated[str, AfterValidator(known_zone)]


def matching(pattern: str, remedy: str) -> AfterValidator:
    """A validator of texts that match ``pattern`` as a whole; for others the error is the ``remedy``."""

    def match(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(remedy)
        return value

    return AfterValidator(match)


def one_of(names: tuple[str, ...], kind: str) -> AfterValidator:
    """A validator of texts that are among ``names``; the error calls others no ``kind``."""

    def find(value: str) -> str:
        if value not in names:
            raise ValueError(f"there is no such {kind}; there are {', '.join(names)}")
        return value

    return AfterValidator(find)


class AttributeType(StrEnum):
    """Types that a customer attribute may have."""

    TEXT = "text"
    INTEGER = "integer"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    DATE = "date"


class Strict(BaseModel):
    """Unknown fields are errors: a misspelt setting must not be ignored. Errors do not repeat values: one may be a password."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Attribute(Strict):
    """A customer attribute: a column of ``landing/reference/customers`` that features and BI may use."""

    type: AttributeType = AttributeType.TEXT
    description: str = ""
    personal: bool = False
    feature: bool = True


class TopCategories(Strict):
    """The K categories with the highest revenue in the history; the rest is "other".

    Lines of the categories ``exclude`` and of the products ``exclude_products``, such as postage, count in orders and revenue
    and belong to no category: nobody prefers them, and no model recommends them.
    """

    top: Annotated[int, Field(ge=1, le=50)] = 10
    exclude: list[str] = []
    exclude_products: list[str] = []


class Rfm(Strict):
    """Recency, frequency, monetary: the window in shop-local days and the grid that names the segments."""

    window_days: Annotated[int, Field(ge=1, le=1100)] = 365
    segment_grid: str = "standard"


class Training(Strict):
    """How many weekly cut-offs make a training set, the history that one needs before it, and minutes to tune settings.

    A contact whose channel and time were drawn at random counts as ``randomised_weight`` others for the response model.
    """

    cutoffs: Annotated[int, Field(ge=2, le=26)] = 8
    min_history_days: Annotated[int, Field(ge=1)] = 14
    tuning_minutes: Annotated[float, Field(ge=0, le=60)] = 0
    randomised_weight: Annotated[float, Field(gt=0, le=1000)] = 1


class Daypart(Strict):
    """Local hours [from, to)."""

    start: Annotated[int, Field(ge=0, le=23, alias="from")]
    end: Annotated[int, Field(ge=1, le=24, alias="to")]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"it ends after it starts; got from {self.start} to {self.end}")
        return self


class FrequencyCap(Strict):
    """At most ``contacts`` on any ``days`` consecutive days, in the customer's time zone."""

    contacts: Annotated[int, Field(ge=1)]
    days: Annotated[int, Field(ge=1, le=366)]


class PriorEffect(Strict):
    """What a contact adds to the share of customers who order, as documented campaigns have it: used while nothing is measured.

    ``mean`` and ``standard_deviation`` of that difference of shares, in a test whose customers without contact ordered at
    ``base_rate``; ``ml.effects.prior`` carries them over to a shop's own base rate. The defaults: Hillstrom, the MineThatData
    e-mail analytics challenge, 2008. 64,000 customers at random; within two weeks .57% of those without an e-mail ordered,
    1.25% and .88% of those with one of two e-mails, so .68 and .31 percentage points more: .5 on average.

    Where only this is known, up to ``largest_holdout_share`` is held out, as much as finds the effect four times out of five,
    and ``exploration_share`` gets a combination that is drawn at random; a campaign's own shares count where they are larger.
    """

    mean: Annotated[float, Field(ge=-0.5, le=0.5)] = 0.005
    standard_deviation: Annotated[float, Field(gt=0, le=0.5)] = 0.005
    base_rate: Annotated[float, Field(gt=0, lt=1)] = 0.0057
    largest_holdout_share: Annotated[float, Field(ge=0, le=0.5)] = 0.5
    exploration_share: Annotated[float, Field(ge=0, le=1)] = 0.5


class Webhook(Strict):
    """Where the contacts of a channel are posted; ``secret`` names the environment variable with the key of signatures."""

    webhook: Annotated[
        str,
        matching(
            r"(https://[A-Za-z0-9.-]+|https?://(localhost|127\.0\.0\.1|\[::1\]))(:\d{1,5})?(/\S*)?",
            "write https://host/path, the address of the tool; http is for localhost alone",
        ),
    ]
    secret: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None


class CampaignRules(Strict):
    """Limits of every campaign; a campaign's own file may be stricter, not laxer.

    A customer converts by an order within ``attribution_days`` x 24 hours after the contact. ``global_holdout_share`` of the
    customers is contacted by no campaign; ``global_holdout_salt`` draws them (the ledger keeps the salt that was used first).
    ``days_ahead``: a plan reaches from the day after it is made so many days. ``capacity_per_day``: contacts by channel that
    all campaigns share, such as the calls that a call centre makes. Caps and the gap count the contacts of all campaigns.
    ``prior_effect``: what is supposed of contacts until campaigns with a control group have measured it. ``hand_over``: by
    channel the tool that its contacts are posted to.
    """

    attribution_days: Annotated[int, Field(ge=1, le=90)] = 3
    global_holdout_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    global_holdout_salt: Annotated[str, Field(min_length=1)] = "customer360"
    days_ahead: Annotated[int, Field(ge=1, le=28)] = 7
    minimum_gap_days: Annotated[int, Field(ge=0, le=366)] = 2
    frequency_cap: FrequencyCap | None = None
    capacity_per_day: dict[Identifier, Annotated[int, Field(ge=0)]] = {}
    prior_effect: PriorEffect = PriorEffect()
    hand_over: dict[Identifier, Webhook] = {}


class OfferRules(Strict):
    """How an offer is chosen; see docs/offers.md.

    An offer is shown for affinity where that to its products among the customer's ``top_products`` most likely ones exceeds
    ``threshold``. ``exploration_share`` of the decisions draw any offer that the customer may see: others are judged by it.
    ``policy``: `auto` lets what was learned of logged decisions serve once it wins; `priority_list` keeps to the list.
    """

    top_products: Annotated[int, Field(ge=1, le=20)] = 3
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.8
    exploration_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    policy: Literal["auto", "priority_list"] = "auto"


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


class PostgresSource(Strict):
    """Where a reference table is in PostgreSQL: a table or a query, read by the account that an environment variable holds.

    With a ``cursor`` only rows from its last value on are read, less ``overlap_minutes``, and all of them every
    ``full_every_days``.
    """

    dsn: Annotated[
        str,
        matching(
            r"[A-Za-z_][A-Za-z0-9_]*",
            "give the name of an environment variable, such as SHOP_POSTGRES_DSN, and put the connection string into it: "
            "no password belongs into shop.yaml",
        ),
    ]
    table: (
        Annotated[
            str,
            matching(
                r"[^.]+(\.[^.]+)?",
                "write table or schema.table, as PostgreSQL stores the names, without quotes; else give a query",
            ),
        ]
        | None
    ) = None
    query: Annotated[str, Field(min_length=1), AfterValidator(lambda text: text.strip().rstrip(";"))] | None = None
    cursor: Annotated[str, Field(min_length=1)] | None = None
    overlap_minutes: Annotated[int, Field(ge=0, le=10_080)] = 15
    full_every_days: Annotated[int, Field(ge=1, le=366)] = 7
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60

    @model_validator(mode="after")
    def _table_or_query(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError("give either a table or a query")
        useless = self.model_fields_set & {"overlap_minutes", "full_every_days"}
        if self.cursor is None and useless:
            raise ValueError(f"{' and '.join(sorted(useless))} mean nothing without a cursor: every load reads the whole table")
        return self

    @property
    def title(self) -> str:
        """The source, for messages; it holds no secret."""
        return f"{self.table or 'a query'} in PostgreSQL ({self.dsn})"


WITHOUT_SLASH = AfterValidator(lambda url: url.rstrip("/"))
StoreUrl = Annotated[
    str,
    matching(
        r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._=-]*)*/?",
        "write s3://bucket or s3://bucket/prefix, in letters, digits and . _ = -",
    ),
    WITHOUT_SLASH,
]
KeyVariable = Annotated[  # with an underscore, because a key of AWS would pass for a name without one
    str,
    matching(
        r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+",
        "give the name of an environment variable, such as SHOP_S3_SECRET_KEY, and put the key into it: "
        "no key belongs into shop.yaml",
    ),
]


class ObjectStorage(Strict):
    """An S3-compatible store for landing, for the published versions, or for both.

    Credentials are given by the names of environment variables; without them the usual chain of AWS is asked (its own
    environment variables, ``~/.aws``, the machine's or container's role).
    """

    landing: StoreUrl | None = None
    publish: StoreUrl | None = None
    endpoint: (
        Annotated[
            str,
            matching(
                r"https?://[A-Za-z0-9.-]+(:\d{1,5})?/?",
                "write the store's address as https://host or http://host:port, without anything else",
            ),
            WITHOUT_SLASH,
        ]
        | None
    ) = None
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None = None
    addressing: Literal["path", "virtual"] | None = None
    access_key: KeyVariable | None = None
    secret_key: KeyVariable | None = None
    session_token: KeyVariable | None = None
    delete_old_landing: bool = True
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 30

    @model_validator(mode="after")
    def _of_one_piece(self) -> Self:
        if self.landing is None and self.publish is None:
            raise ValueError("give landing, publish or both, as s3://bucket/prefix")
        if (self.access_key is None) != (self.secret_key is None) or (self.session_token and not self.access_key):
            raise ValueError("give access_key and secret_key together, or neither for the usual chain of AWS")
        if self.landing and self.publish:
            ours, theirs = f"{self.publish}/", f"{self.landing}/"
            if ours.startswith(theirs) or theirs.startswith(ours):
                raise ValueError("landing and publish must not lie inside one another")
        return self


Address = Annotated[str, AfterValidator(checked_address)]
Domain = Annotated[str, AfterValidator(checked_domain)]
LinkDomain = Annotated[str, AfterValidator(lambda text: text if text == "localhost" else checked_domain(text))]
SingleLine = Annotated[
    str, AfterValidator(str.strip), matching(r"[^\x00-\x1f\x7f]+", "write it on a single line, without control characters")
]


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


class ReferenceSource(Strict):
    """Where a reference table comes from, if not from files in ``landing/reference``."""

    postgres: PostgresSource


class ColumnRule(Strict):
    """How a column that a file does not have is made of those that it has; exactly one of the fields.

    ``multiply``: the product of two columns of numbers. ``join``: their texts with ``-`` between. ``value``: the same text in
    every row. ``number_within``: 1, 2, ... in the order of the file among the rows that are equal in these columns. ``fill``: a
    column that is empty in all but the first of the rows that are equal in the columns ``within``.
    """

    multiply: Annotated[list[str], Field(min_length=2, max_length=2)] | None = None
    join: Annotated[list[str], Field(min_length=1)] | None = None
    value: str | None = None
    number_within: Annotated[list[str], Field(min_length=1)] | None = None
    fill: str | None = None
    within: Annotated[list[str], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _single(self) -> Self:
        if len(self.model_fields_set - {"within"}) != 1 or (self.fill is None) != (self.within is None):
            raise ValueError(
                "give a column's name, or exactly one of multiply, join, value, number_within, and fill with within"
            )
        return self

    @property
    def names(self) -> list[str]:
        """The columns of the file that are read."""
        filled = [self.fill, *(self.within or [])] if self.fill is not None else []
        return filled or self.multiply or self.join or self.number_within or []


class SourceOptions(Strict):
    """How the files of one table, of the history or of clicks are written, where that differs from the contract's form.

    ``delimiter``, ``quote``, ``escape``, ``encoding``, ``skip_lines``, ``header``, ``decimal`` and ``thousands`` are of CSV
    alone. ``skip_lines`` are titles above the header; ``header`` names the columns of files without one. ``date_format`` is
    strptime's, ISO 8601 is read beside it. ``time_zone`` is that of times without an offset. ``float_ids``: 17850.0 is 17850.
    ``distinct``: the rows are those of another table; the last row of a key counts, and rows without a key are left out.
    """

    delimiter: str = ","
    quote: Annotated[str, Field(max_length=1)] = '"'
    escape: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    encoding: str = "utf-8"
    skip_lines: Annotated[int, Field(ge=0, le=1000)] = 0
    header: list[str] | None = None
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'"] | None = None
    date_format: str | list[str] | None = None
    time_zone: TimeZone | None = None
    float_ids: bool = False
    distinct: bool = False
    columns: dict[str, str | ColumnRule] = {}

    @field_validator("delimiter")
    @classmethod
    def _known_delimiter(cls, value: str) -> str:
        value = {"tab": "\t", "\\t": "\t"}.get(value, value)
        if value != WHITESPACE and (len(value) != 1 or value in '\r\n"'):
            raise ValueError(f"write one character such as ';', or tab, or {WHITESPACE} for any number of blanks")
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            name = codecs.lookup(value).name
            "".encode(name)
        except LookupError:
            raise ValueError(f"{value!r} is no encoding; write utf-8, utf-16, windows-1252, iso-8859-15, ...") from None
        return "utf-8" if name == "utf-8-sig" else name

    @field_validator("date_format")
    @classmethod
    def _day_is_complete(cls, value: str | list[str] | None) -> str | list[str] | None:
        for form in [value] if isinstance(value, str) else value or []:
            parts = ("%d", "%-d"), ("%m", "%-m", "%b", "%B"), ("%Y", "%y")
            if not all(any(part in form for part in alternatives) for alternatives in parts):
                raise ValueError(f"{form!r} needs day (%d), month (%m or %b) and year (%Y or %y), as in %d.%m.%Y %H:%M")
        return value

    @model_validator(mode="after")
    def _signs_differ(self) -> Self:
        if self.thousands == self.decimal:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}")
        return self

    @property
    def date_formats(self) -> list[str]:
        """The formats that are tried in turn."""
        return [self.date_format] if isinstance(self.date_format, str) else self.date_format or []


class Shop(Strict):
    """A shop as ``shops/<name>/shop.yaml`` describes it."""

    name: Identifier
    title: str
    time_zone: TimeZone
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    slice_minutes: int = 15
    slices_start: datetime
    slices_end: datetime | None = None
    live: bool = True
    grace_minutes: Annotated[int, Field(ge=0, le=60)] = 2
    categories: Annotated[list[str], Field(min_length=1)] | TopCategories
    attributes: dict[Identifier, Attribute] = {}
    reference: dict[Annotated[str, one_of(REFERENCE_NAMES, "reference table")], ReferenceSource] = {}
    max_share_set_aside: Annotated[float, Field(ge=0, le=1)] = 0.05
    sources: dict[Annotated[str, one_of(("clicks", "history", *REFERENCE_NAMES), "source")], SourceOptions] = {}
    windows_days: list[int] = [3, 10, 30]
    label_horizon_days: Annotated[int, Field(ge=1, le=90)] = 7
    churn_horizon_days: Annotated[int, Field(le=365)] = 28
    rfm: Rfm = Rfm()
    training: Training = Training()
    channels: Annotated[list[Identifier], Field(min_length=1)]
    dayparts: dict[Identifier, Daypart]
    campaigns: CampaignRules = CampaignRules()
    offers: OfferRules = OfferRules()
    adapter: Identifier | None = None
    serving: bool = False
    object_storage: ObjectStorage | None = None
    email: Email | None = None
    resolved_categories: list[str] | None = Field(default=None, exclude=True)

    @field_validator("slice_minutes")
    @classmethod
    def _slice_fits_the_hour(cls, value: int) -> int:
        if value < 1 or value > 1440 or (60 % value and value % 60):
            raise ValueError(f"slice_minutes is a divisor of 60, or a multiple of 60 up to 1440; got {value}")
        if value > 60 and 1440 % value:
            raise ValueError(f"slice_minutes above 60 must divide a day (1440); got {value}")
        return value

    @field_validator("slices_start", "slices_end")
    @classmethod
    def _utc(cls, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("give the time zone, as in 2026-04-30T16:00:00Z")
        return value.astimezone(UTC)

    @field_validator("categories")
    @classmethod
    def _plain_categories(cls, value: list[str] | TopCategories) -> list[str] | TopCategories:
        if isinstance(value, list):
            if len(set(value)) != len(value):
                raise ValueError("a category is listed twice")
            if NONE in value:
                raise ValueError(f"{NONE!r} is reserved for customers who buy nothing")
        return value

    @field_validator("attributes")
    @classmethod
    def _free_names(cls, value: dict[str, Attribute]) -> dict[str, Attribute]:
        taken = [name for name in value if name in (*OUTCOMES, "known_since")]
        if taken:
            raise ValueError(
                f"{', '.join(taken)}: training_features or customers has such a column of its own; name the attribute otherwise"
            )
        return value

    @field_validator("sources")
    @classmethod
    def _whole_orders(cls, value: dict[str, SourceOptions]) -> dict[str, SourceOptions]:
        refused = [name for name in ("clicks", "history", "purchases") if name in value and value[name].distinct]
        if refused:
            raise ValueError(f"distinct would delete lines of orders from {', '.join(refused)}; number them by number_within")
        return value

    @field_validator("windows_days")
    @classmethod
    def _ascending_windows(cls, value: list[int]) -> list[int]:
        if not value or value != sorted(set(value)) or value[0] < 1:
            raise ValueError("windows_days are whole days in ascending order, such as [3, 10, 30]")
        return value

    @model_validator(mode="after")
    def _channels_of_rules(self) -> Self:
        for rule in ("capacity_per_day", "hand_over"):
            unknown = [name for name in getattr(self.campaigns, rule) if name not in self.channels]
            if unknown:
                raise ValueError(f"campaigns.{rule}: {', '.join(unknown)} is no channel; there are {', '.join(self.channels)}")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        start_minutes = self.slices_start.hour * 60 + self.slices_start.minute
        if start_minutes % self.slice_minutes or self.slices_start.second or self.slices_start.microsecond:
            raise ValueError(f"slices_start {self.slices_start} is not the start of a {self.slice_minutes}-minute slice")
        if self.slices_end is not None and self.slices_end <= self.slices_start:
            raise ValueError("slices_end lies before slices_start")
        if self.churn_horizon_days <= self.label_horizon_days:
            raise ValueError(
                f"churn_horizon_days ({self.churn_horizon_days}) must exceed label_horizon_days ({self.label_horizon_days}); "
                "set it to the days without an order after which a customer counts as lost, at most 365"
            )
        if PERSONALISATION in self.channels:
            raise ValueError(f"{PERSONALISATION} is no channel: consent_{PERSONALISATION} is the consent of the services")
        hours: set[int] = set()
        for name, daypart in self.dayparts.items():
            span = set(range(daypart.start, daypart.end))
            if hours & span:
                raise ValueError(f"daypart {name!r} overlaps another one")
            hours |= span
        named: dict[str, str] = {}
        for category in self.category_ids:
            other = named.setdefault(slug(category), category)
            if other != category:
                raise ValueError(
                    f"the categories {other!r} and {category!r} give the same column name, {slug(category)}; leave one out, "
                    "which makes it 'other', or rename it in the data"
                )
        return self

    @model_validator(mode="after")
    def _mailed(self) -> Self:
        if self.email is not None and "email" not in self.channels:
            raise ValueError("email says how messages are sent, and channels lacks email; add it, or take the block out")
        if self.email is not None and "email" in self.attributes:
            raise ValueError("attributes.email: with the block email, customers have such a column of their own; take it out")
        return self

    @property
    def landing_url(self) -> str | None:
        """Landing's URL in an object store; None for a folder."""
        return self.object_storage.landing if self.object_storage else None

    @property
    def slice_width(self) -> timedelta:
        """Length of a slice."""
        return timedelta(minutes=self.slice_minutes)

    @property
    def grace(self) -> timedelta:
        """Time after a live slice's end in which its producers may still finish."""
        return timedelta(minutes=self.grace_minutes)

    @property
    def zone(self) -> ZoneInfo:
        """The shop's time zone, for local dates and dayparts."""
        return ZoneInfo(self.time_zone)

    @cached_property
    def category_ids(self) -> list[str]:
        """Categories that have columns of their own, then "other". Without the reserved "none"."""
        named = self.categories if isinstance(self.categories, list) else self.resolved_categories or []
        return [category for category in named if category != OTHER] + [OTHER]

    @property
    def needs_categories(self) -> bool:
        """True while "top K by revenue" has not been resolved from data yet."""
        return isinstance(self.categories, TopCategories) and self.resolved_categories is None


def slug(text: str) -> str:
    """A category's id as part of a column name: in Latin letters of lower case, everything else folded into ``_``."""
    return re.sub(r"[^a-z0-9]+", "_", unidecode(text).lower()).strip("_") or "blank"


def load_shop(path: Path, resolved_categories: list[str] | None = None) -> Shop:
    """Read and validate one ``shop.yaml``.

    Raises ``SettingsError`` naming the file, the field, what is wrong and what to do.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path} line {line} is not UTF-8; save the file in UTF-8") from error
    except FileNotFoundError as error:
        known = sorted(p.parent.name for p in path.parents[1].glob("*/shop.yaml"))
        raise SettingsError(f"{path} does not exist; the shops here are: {', '.join(known) or 'none'}") from error
    return _validated(path, text, None if resolved_categories is None else tuple(resolved_categories))


@lru_cache(maxsize=16)
def _validated(path: Path, text: str, resolved_categories: tuple[str, ...] | None) -> Shop:
    """Parsing takes 50 ms, and a run needs the shop about 20 times."""
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}{_yaml_fault(error)}") from error
    if not isinstance(loaded, dict):
        raise SettingsError(f"{path} holds no settings; see docs/your-data.md for an example")
    resolved = None if resolved_categories is None else list(resolved_categories)
    values: dict[str, Any] = {**loaded, "resolved_categories": resolved}
    try:
        return Shop.model_validate(values)
    except ValidationError as error:
        lines = dict.fromkeys(f"  {line}" for line in setting_faults(error))
        raise SettingsError(f"{path} is not a valid shop:\n" + "\n".join(lines) + "\nSee docs/your-data.md.") from error


def _yaml_fault(error: yaml.YAMLError) -> str:
    """The line that is not YAML, and the remedy, for the end of a sentence that begins with the file."""
    mark, problem = getattr(error, "problem_mark", None), str(getattr(error, "problem", ""))
    where = f" line {mark.line + 1}" if mark else ""
    if "\\t" in problem:
        return f"{where} is not valid YAML: it is indented by a tab; use blanks"
    if "mapping values" in problem:
        return f"{where} is not valid YAML: quote a text that holds a colon, or end the line before it"
    return f"{where} is not valid YAML: close every quote and bracket, indent alike, and quote texts with : # {{ }} [ ] & * ! %"


def setting_faults(error: ValidationError) -> Iterator[str]:
    """One line for each fault: the setting, and what is wrong in words of this product."""
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"] if not _is_of_a_union(part)) or "(whole file)"
        if fault["type"] == "extra_forbidden":
            near = nearest(str(fault["loc"][-1]), {name for model in Strict.__subclasses__() for name in model.model_fields})
            yield f"{place}: there is no such setting" + (f" (did you mean {near}?)" if near else "")
        elif fault["type"] == "missing":
            yield f"{place}: it is missing"
        elif fault["type"] not in {"string_type", "list_type"} or len(fault["loc"]) == 1:
            yield f"{place}: {fault['msg'].removeprefix('Value error, ').replace('Input should be', 'it must be')}"


def _is_of_a_union(part: int | str) -> bool:
    """True for what names one of several types that a setting may have."""
    return isinstance(part, str) and ("[" in part or part in {"str", "TopCategories", "ColumnRule"})


class _Below:
    """A path of a place, by its parts below the root."""

    def __init__(self, *parts: str) -> None:
        self.parts = parts

    def __get__(self, place: Place, owner: type[Place]) -> Path:
        return place.root.joinpath(*self.parts)


class Place(Strict):
    """Where one shop's data lie. Every path of the product comes from here; see ``docs/your-data.md``."""

    root: Path

    landing: ClassVar = _Below("landing")  # files as producers wrote them
    raw: ClassVar = _Below("raw")  # validated slices and reference versions as Parquet
    quarantine: ClassVar = _Below("quarantine")  # lines and files that break the contract, with their reasons
    warehouse: ClassVar = _Below("warehouse.duckdb")  # the DuckDB file that only runs may open
    models: ClassVar = _Below("models")  # model versions and champion pointers
    plans: ClassVar = _Below("plans")  # campaign plans, one folder a plan
    campaigns: ClassVar = _Below("campaigns")  # the campaign ledger, approved plans and the outbox
    recommendations: ClassVar = _Below("recommendations")  # product_affinity, as of the newest day
    lifetime: ClassVar = _Below("lifetime")  # customer_lifetime and lifetime_backtest, as of the newest day
    mail: ClassVar = _Below("mail")  # the mail queue, the log of its transport, and the keys of links and addresses
    offers: ClassVar = _Below("offers")  # what the offers brought, and the policy that serves, as of the newest day
    reports: ClassVar = _Below("reports")  # drift reports and plots
    serving: ClassVar = _Below("serving")  # the services' store, their keys and the collector's spool
    desk: ClassVar = _Below("desk")  # the desk's own database and key, and the campaign files that were written in it
    published: ClassVar = _Below("published")  # versions for readers; ``current`` points at the newest
    categories_file: ClassVar = _Below("raw", "categories.json")  # the resolved "top K" categories, frozen once known
    dbt_target: ClassVar = _Below("dbt")  # dbt's manifest, logs and compiled SQL
    scratch: ClassVar = _Below(".tmp")  # what connections spill, and files that a process makes and removes


class Settings(Strict):
    """One shop and its place."""

    shop: Shop
    place: Place
    shop_folder: Path

    @property
    def campaign_folder(self) -> Path:
        """Where the shop's campaign files lie."""
        return self.shop_folder / "campaigns"

    @property
    def made_campaign_folder(self) -> Path:
        """Where campaign files lie that people made in the desk."""
        return self.place.campaigns / "definitions"

    @property
    def message_folder(self) -> Path:
        """Where the shop's messages lie, a folder each."""
        return self.shop_folder / "messages"

    @property
    def made_message_folder(self) -> Path:
        """Where messages lie that people made in the desk."""
        return self.place.campaigns / "messages"

    @classmethod
    def from_environment(cls, environment: dict[str, str] | None = None) -> Settings:
        """``SHOP`` (folder under ``shops/``, or a path; default ``synthetic``) and ``DATA_DIR`` (default ``./data``)."""
        values = dict(os.environ) if environment is None else environment
        name = values.get("SHOP") or "synthetic"
        folder = Path(name).absolute() if "/" in name or name == "." else REPOSITORY / "shops" / name
        return cls.load(folder, cls.place_from(values).root)

    @staticmethod
    def place_from(environment: Mapping[str, str]) -> Place:
        """The place that ``DATA_DIR`` names; default ``./data``."""
        return Place(root=Path(environment.get("DATA_DIR") or REPOSITORY / "data").resolve())

    @classmethod
    def load(cls, shop_folder: Path, data_dir: Path) -> Settings:
        """Settings of the shop in ``shop_folder``, with its data in ``data_dir``."""
        place = Place(root=data_dir)
        return cls(
            shop=load_shop(shop_folder / "shop.yaml", read_resolved_categories(place)),
            place=place,
            shop_folder=shop_folder,
        )


def read_resolved_categories(place: Place) -> list[str] | None:
    """The frozen "top K" categories of a place, or None before they were resolved."""
    if not place.categories_file.exists():
        return None
    categories = json.loads(place.categories_file.read_text(encoding="utf-8"))["categories"]
    return [str(category) for category in categories]
