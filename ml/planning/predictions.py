"""Predictions for plans: P(each customer converts), by channel, weekday and daypart, and what of it the contact adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.campaigns.drafts import MEASURED
from customer360.settings import Shop
from ml.arrays import Floats, SingleFloats
from ml.effects.evidence import Evidence
from ml.frames import FrameError

# On what the values of a plan rest. ``INCREMENTAL``: mostly on measured effects; the others mostly on the prior, and why.
Basis = Literal[
    "incremental",
    "prior: no contacts with known outcome",
    "prior: too few contacts with known outcome",
    "prior: contacts, but no controls",
    "prior: too few controls",
]
INCREMENTAL: Basis = MEASURED
NO_CONTACTS: Basis = "prior: no contacts with known outcome"
FEW_CONTACTS: Basis = "prior: too few contacts with known outcome"
NO_CONTROLS: Basis = "prior: contacts, but no controls"
FEW_CONTROLS: Basis = "prior: too few controls"
MIN_CONTACTS = 100  # with fewer, the reason is that there are too few of them, and not the controls
MOSTLY = 0.5  # of the weight: with less the plan rests on the prior


def basis_of(evidence: Evidence, weight: float) -> Basis:
    """What a campaign's values rest on, by the weight of what was measured in the estimate of the effect."""
    if weight >= MOSTLY:
        return INCREMENTAL
    if not evidence.contacts:
        return NO_CONTACTS
    if evidence.contacts < MIN_CONTACTS:
        return FEW_CONTACTS
    return FEW_CONTROLS if evidence.controls else NO_CONTROLS


@dataclass(frozen=True)
class Predicted:
    """Probabilities of one campaign, a row a customer, in the order of the ids that were asked for.

    ``conversion``: float32, customers x channels x 7 weekdays (Monday first) x dayparts, channels and dayparts in the order
    of shop.yaml: P(an order within the attribution window | contacted so). What the contact adds of it is ``effect_share`` of
    it less ``without`` (float32, by customer): with a share of 1 that is P(the same | not contacted).

    ``evidence_weight``: of measured effects, 0 (the prior alone) to 1; ``basis`` says what of. ``relative_error``: one standard
    error of the mean conversion as a share of it, where it was judged; ``effect_error``: that of the mean effect, as a share of
    the mean conversion.
    """

    conversion: SingleFloats
    without: SingleFloats
    model_version: str | None
    basis: Basis = INCREMENTAL
    relative_error: float | None = None
    effect_share: float = 1.0
    effect_error: float = 0.0
    evidence_weight: float = 1.0

    @property
    def unknown_share(self) -> float:
        """How little of the effect is known: 1 where nothing was measured, 0 where measurements weigh ``MOSTLY`` or more."""
        return max(0.0, 1 - self.evidence_weight / MOSTLY)

    def effects(self, conversion: Floats, rows: slice) -> Floats:
        """What contacts add to the probability of an order; ``conversion``: that of these rows, of any options."""
        without = self.without[rows].reshape(-1, *[1] * (conversion.ndim - 1))
        return self.effect_share * conversion - without

    def check(self, customers: int, shop: Shop) -> None:
        """Raise ``FrameError`` on another shape, and on what is no probability."""
        expected = (customers, len(shop.channels), 7, len(shop.dayparts))
        if self.conversion.shape != expected:
            raise FrameError(
                f"predictions have the shape {self.conversion.shape}, not customers x channels x 7 x dayparts {expected}"
            )
        if self.without.shape != (customers,):
            raise FrameError(f"predictions.without has the shape {self.without.shape}, not one entry a customer ({customers},)")
        for name, values in (("conversion", self.conversion), ("without", self.without)):
            if values.size and not (values.min() >= 0 and values.max() <= 1):
                raise FrameError(
                    f"predictions.{name} holds values that are no probabilities; judge the model again before it plans"
                )


# A campaign and the customers' ids (any order) -> what to expect of them. The planner asks for those who may be contacted.
Predict = Callable[[Campaign, "pd.Index[str]"], Predicted]
