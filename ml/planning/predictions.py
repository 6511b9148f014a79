"""Predictions for plans: the probability that each customer converts, by channel, weekday and daypart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.settings import Shop
from ml.arrays import SingleFloats
from ml.frames import FrameError

Basis = Literal["incremental", "predicted response"]
INCREMENTAL: Basis = "incremental"
RESPONSE: Basis = "predicted response"


@dataclass(frozen=True)
class Predicted:
    """Probabilities of one campaign, a row a customer, in the order of the ids that were asked for.

    ``conversion``: float32, customers x channels x 7 weekdays (Monday first) x dayparts, channels and dayparts in the order
    of shop.yaml: P(an order within the attribution window | contacted so). ``without``: float32, P(the same | not contacted),
    where a control group taught it; then ``basis`` is "incremental" and a contact is worth the difference.
    ``relative_error``: one standard error of the mean prediction as a share of it, where it was judged.
    """

    conversion: SingleFloats
    without: SingleFloats | None
    model_version: str | None
    basis: Basis
    relative_error: float | None = None

    def check(self, customers: int, shop: Shop) -> None:
        """Raise ``FrameError`` on another shape, on what is no probability, and where basis and ``without`` disagree."""
        expected = (customers, len(shop.channels), 7, len(shop.dayparts))
        if self.conversion.shape != expected:
            raise FrameError(
                f"predictions have the shape {self.conversion.shape}, not customers x channels x 7 x dayparts {expected}"
            )
        if (self.without is not None) != (self.basis == INCREMENTAL):
            raise FrameError(
                f"predictions on the basis {self.basis!r} have {'' if self.without is not None else 'no '}P(not contacted)"
            )
        for name, values in (("conversion", self.conversion), ("without", self.without)):
            if values is not None and values.size and not (values.min() >= 0 and values.max() <= 1):
                raise FrameError(
                    f"predictions.{name} holds values that are no probabilities; judge the model again before it plans"
                )
        if self.without is not None and self.without.shape != (customers,):
            raise FrameError(f"predictions.without has the shape {self.without.shape}, not one entry a customer ({customers},)")


# A campaign and the customers' ids (any order) -> what to expect of them. The planner asks for those who may be contacted.
Predict = Callable[[Campaign, "pd.Index[str]"], Predicted]
