"""A shop as its ``shop.yaml`` describes it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator
from text_unidecode import unidecode

from customer360.settings.campaigns import CampaignRules, Daypart, OfferRules
from customer360.settings.email import Email
from customer360.settings.fields import Identifier, Strict, TimeZone, one_of
from customer360.settings.files import SourceOptions
from customer360.settings.stores import ObjectStorage, PublishTo, ReferenceSource

OTHER = "other"
NONE = "none"
PERSONALISATION = "personalisation"
MAIL_CHANNEL = "email"  # the channel of the mail queue
OUTCOMES = ("label", "weight", "spend", "is_churned")  # columns of training_features after the features
REFERENCE_NAMES = (
    *("customers", "products", "categories", "purchases", "offers", "campaigns", "campaign_touches", "suppressions"),
)


class AttributeType(StrEnum):
    """Types that a customer attribute may have."""

    TEXT = "text"
    INTEGER = "integer"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    DATE = "date"


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
    publish_to: PublishTo | None = None
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
