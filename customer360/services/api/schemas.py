"""What enters and leaves the API. A field that is not named here never leaves."""

from __future__ import annotations

from datetime import datetime

import msgspec

LARGEST = 3e38  # models read 32-bit floats
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
