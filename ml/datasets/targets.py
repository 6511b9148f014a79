"""What a model predicts: its classes, the class of a row, how far ahead it looks, and which rows have a class at all.

Training set, baselines, evaluation, store and jobs are the same for every target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from customer360.lake.warehouse.cutoffs import cutoffs_needed
from customer360.settings import NONE, Shop
from ml.arrays import Booleans, Texts
from ml.datasets.bands import BAND_NAMES, Bands

AFFINITY, SPEND, CHURN = MODELS = ("affinity", "spend", "churn")  # of customers at a moment, who all read the same features
RESPONSE, ORGANIC_RESPONSE = "response", "organic_response"  # of contacts, and of those who were held back from them
PRODUCT = "product"  # of customers and products that they may buy
CHOSEN = (*MODELS, PRODUCT)  # of which a baseline serves until trees or a blend beat it
EVERY_MODEL = (*CHOSEN, RESPONSE, ORGANIC_RESPONSE)
BOUGHT = "bought"
CONVERTED, NOT_CONVERTED = "converted", "not converted"
CHURNED, ACTIVE = "churned", "active"
WAIT_DAYS = 2  # after a window has passed, until its late lines are in; as in set_training_cutoffs


def _all_rows(frame: pd.DataFrame) -> Booleans:
    return np.ones(len(frame), dtype=bool)


@dataclass(frozen=True)
class Target:
    """A model's question. Functions take rows of ``training_features``; of the response model, of touches.

    Attributes:
        name: of the model, in the store and on the command line.
        purpose: what its probabilities are, and are not, for the model card.
        classes: every class that it publishes, in order. ``positives``: those that lift and AUC are about.
        horizon_days: how far after a cut-off, or a contact, its outcome reaches; ``horizon_field`` is its field of shop.yaml.
        label: the class of each row; where the outcome is an amount, its band.
        is_known: whether the outcome of a row's cut-off is known yet. ``has_class``: whether the row is one to learn from.
        is_banded: its outcome is an amount (``spend``), its classes are bands.
        is_needed: without it nothing is served, so that a training which cannot make it has failed.

    """

    name: str
    purpose: str
    classes: tuple[str, ...]
    positives: tuple[str, ...]
    horizon_days: int
    horizon_field: str
    label: Callable[[pd.DataFrame, Bands | None], Texts]
    is_known: Callable[[pd.DataFrame], Booleans] = _all_rows
    has_class: Callable[[pd.DataFrame], Booleans] = _all_rows
    is_banded: bool = False
    is_needed: bool = False

    @property
    def negatives(self) -> list[int]:
        """Positions in ``classes`` of those that are not ``positives``."""
        return [place for place, name in enumerate(self.classes) if name not in self.positives]

    def cutoffs_needed(self, shop: Shop) -> int:
        """Weekly cut-offs until one that is known can be judged on and one a horizon before it be trained on."""
        return cutoffs_needed(self.horizon_days, shop.label_horizon_days)

    def history_needed(self, shop: Shop) -> timedelta:
        """Time from the first slice's start to the last one's end until ``cutoffs_needed`` have their history."""
        weeks = self.cutoffs_needed(shop) - 1
        return timedelta(days=shop.training.min_history_days + shop.label_horizon_days + WAIT_DAYS + 7 * weeks)


def target_of(name: str, shop: Shop) -> Target:
    """The target of the model of that name. Raises ``KeyError`` for a name that is not in ``EVERY_MODEL``."""
    made = {
        **{AFFINITY: _affinity, SPEND: _spend, CHURN: _churn, PRODUCT: _product},
        **{RESPONSE: _response, ORGANIC_RESPONSE: _organic_response},
    }
    return made[name](shop)


def _affinity(shop: Shop) -> Target:
    """Which category a customer buys from next, "none" included; every customer known at a cut-off has a class."""
    return Target(
        name=AFFINITY,
        purpose=(
            "The probability that a customer's next purchases within the label horizon are mostly of each category, or that "
            "there are none. It ranks customers and categories; it does not estimate what a contact would change."
        ),
        classes=(*shop.category_ids, NONE),
        positives=tuple(shop.category_ids),
        horizon_days=shop.label_horizon_days,
        horizon_field="label_horizon_days",
        label=lambda frame, _: frame["label"].to_numpy(dtype=object),
        is_needed=True,
    )


def _spend(shop: Shop) -> Target:
    """How much those who buy spend within the label horizon, in bands; who buys nothing has none."""

    def band(frame: pd.DataFrame, bands: Bands | None) -> Texts:
        if bands is None:
            raise ValueError("an amount has no class without bands")
        return bands.labels(frame["spend"].to_numpy(np.float64))

    return Target(
        name=SPEND,
        purpose=(
            "The probability of each band of net spend within the label horizon, of customers who buy. With the bands' means "
            "it gives the spend to expect given a purchase; the probability of a purchase is that of affinity."
        ),
        classes=BAND_NAMES,
        positives=BAND_NAMES[-1:],
        horizon_days=shop.label_horizon_days,
        horizon_field="label_horizon_days",
        label=band,
        has_class=lambda frame: (frame["spend"] > 0).to_numpy(dtype=bool),
        is_banded=True,
    )


def _churn(shop: Shop) -> Target:
    """Whether a customer orders nothing within the churn horizon; known once that has passed."""
    return Target(
        name=CHURN,
        purpose=(
            "The probability that a customer orders nothing within the churn horizon, whether or not there ever was an order. "
            "It does not estimate what a contact would change."
        ),
        classes=(CHURNED, ACTIVE),
        positives=(CHURNED,),
        horizon_days=shop.churn_horizon_days,
        horizon_field="churn_horizon_days",
        label=lambda frame, _: np.where(frame["is_churned"].astype(bool), CHURNED, ACTIVE).astype(object),
        is_known=lambda frame: frame["is_churned"].notna().to_numpy(dtype=bool),
    )


def _product(shop: Shop) -> Target:
    """Whether a customer buys a product within the label horizon; rows are the customer's candidates."""
    return Target(
        name=PRODUCT,
        purpose=(
            "The probability that a customer buys a product within the label horizon. It ranks products for a customer; it "
            "does not estimate what a recommendation would change."
        ),
        classes=(BOUGHT, NONE),
        positives=(BOUGHT,),
        horizon_days=shop.label_horizon_days,
        horizon_field="label_horizon_days",
        label=lambda frame, _: np.where(frame["is_bought"].astype(bool), BOUGHT, NONE).astype(object),
    )


def _conversion(touches: pd.DataFrame, _: Bands | None) -> Texts:
    return np.where(touches["is_converted"].astype(bool), CONVERTED, NOT_CONVERTED).astype(object)


def _organic_response(shop: Shop) -> Target:
    """Whether a customer who is not contacted orders within the attribution window all the same."""
    return Target(
        name=ORGANIC_RESPONSE,
        purpose=(
            "The probability that a customer converts who is not contacted, learned from control groups alone. The "
            "response model's probability less this is the effect of a contact, and what a plan counts where it is known."
        ),
        classes=(CONVERTED, NOT_CONVERTED),
        positives=(CONVERTED,),
        horizon_days=shop.campaigns.attribution_days,
        horizon_field="campaigns.attribution_days",
        label=_conversion,
    )


def _response(shop: Shop) -> Target:
    """Whether a contact converts: an order within the attribution window, whatever brought it."""
    return Target(
        name=RESPONSE,
        purpose=(
            "The probability that a customer converts who is contacted in a campaign through a channel, on a day of the week "
            "and in a daypart. It is what follows a contact, not what the contact causes: without contact some convert too."
        ),
        classes=(CONVERTED, NOT_CONVERTED),
        positives=(CONVERTED,),
        horizon_days=shop.campaigns.attribution_days,
        horizon_field="campaigns.attribution_days",
        label=_conversion,
    )
