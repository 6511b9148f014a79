"""What enters and leaves the API. A field that is not named here never leaves."""

from __future__ import annotations

from datetime import datetime

import msgspec

LARGEST = 3e38  # models read 32-bit floats
DEFAULT_COUNT, MOST_COUNT = 10, 50  # of recommendations
LONGEST_ID, LONGEST_TEXT = 256, 1024  # characters of an id that is decided on, and of a parameter
Value = str | int | float | bool | None


class Affinity(msgspec.Struct, frozen=True):
    """Probability that the customer buys next from a category within the label horizon; ``none``: buys nothing."""

    category_id: str
    probability: float


class Profile(msgspec.Struct, frozen=True):
    """A customer as of the end of the last slice. Money is in the shop's currency; ``affinities``: the most probable first."""

    customer_id: str
    as_of: datetime
    version: int
    may_personalise: bool
    segment: str | None
    recency_days: int | None
    frequency: int | None
    monetary: float | None
    label: str | None
    affinities: list[Affinity]
    model_version: str | None
    purchase_probability: float | None
    expected_spend: float | None
    churn_probability: float | None
    top_category_id: str | None
    reasons: list[str]
    reasons_as_of: str | None
    last_activity_at: str | None
    attributes: dict[str, Value]


class RecommendedProduct(msgspec.Struct, frozen=True):
    """A product to show. ``price``: in the shop's currency. ``score``: comparable within a list.

    ``source`` of the reason: `session`, `affinity` or `cold_start`.
    """

    product_id: str
    name: str | None
    category_id: str | None
    price: float | None
    score: float
    reason: str
    source: str


class Recommendations(msgspec.Struct, frozen=True):
    """Products to show now, the best first, by the version as of the end of the last slice and by the current session."""

    as_of: datetime
    version: int
    items: list[RecommendedProduct]


class RelatedProduct(msgspec.Struct, frozen=True):
    """A product that goes with another. ``score``: the larger, the more; comparable within a list."""

    product_id: str
    name: str | None
    category_id: str | None
    price: float | None
    score: float
    reason: str


class Related(msgspec.Struct, frozen=True):
    """What is viewed in the same visit as a product, and bought in the same order; the strongest first."""

    as_of: datetime
    version: int
    product_id: str
    also_viewed: list[RelatedProduct]
    also_bought: list[RelatedProduct]


class OfferAnswer(msgspec.Struct, frozen=True):
    """The offer to show. ``propensity``: the probability with which it was drawn.

    ``decision_id`` belongs into the events that say that the offer was shown and clicked.
    """

    as_of: datetime
    version: int
    offer_id: str
    name: str
    product_ids: list[str]
    reason: str
    policy_version: str
    propensity: float
    decision_id: str


class ScoreRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Features by name: numbers, true or false for numeric ones, text for others, or null. All that the champion reads."""

    features: dict[str, Value]


class Score(msgspec.Struct, frozen=True):
    """Probabilities of the champion for these features, with the category that its decision names and three reasons."""

    model_version: str
    label: str
    affinities: list[Affinity]
    top_category_id: str
    reasons: list[str]


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str


class Readiness(msgspec.Struct, frozen=True):
    """The store can be read: of which published version it is."""

    status: str
    version: int
    as_of: datetime
