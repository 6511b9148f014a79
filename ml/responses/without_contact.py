"""The model of control groups, P(convert | not contacted), with which plans count the effect of a contact.

Two models (Hansotia and Rukstales, Incremental Value Modeling, 2002): the response model says P(convert | contacted so), this
one P(convert | not contacted); the difference is the effect of the contact. Both are trained, judged, kept and promoted alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from customer360.settings import Shop
from customer360.text import many
from ml.arrays import SingleFloats, Texts
from ml.datasets.targets import CONVERTED, ORGANIC_RESPONSE, target_of
from ml.datasets.training_sets import TrainingSet, TrainingSetError
from ml.fitting.class_model import ClassModel
from ml.frames import feature_matrix
from ml.responses.contact_rows import ResponseInputs
from ml.responses.features import organic_features
from ml.responses.training_set import TABLE, Question, training_set_of

# Measured on two simulated shops of 12,000 customers, three draws of controls each, by the log loss of 1,150 newer ones:
# worse than their mean are 4 of 17 models of 300 to 700 controls, 1 of 6 of 1,000, and none of 24 of 1,500 to 4,000.
MIN_CONTROLS = 1_500


@dataclass(frozen=True)
class EffectBasis:
    """Whether a plan may count the effect of a contact in place of the response, and why, in a sentence."""

    is_usable: bool
    reason: str


def build_organic_training_set(inputs: ResponseInputs, shop: Shop, known_at: datetime) -> TrainingSet:
    """Controls whose outcome is known by ``known_at`` (plain UTC), oldest first; the newest fifth judges.

    Raises ``FrameError`` on missing columns, ``TrainingSetError`` on fewer than ``MIN_CONTROLS`` controls or too few of them
    that converted.
    """
    inputs.check(shop)
    target = target_of(ORGANIC_RESPONSE, shop)
    rows = known_controls(inputs.touches, shop, known_at)
    if len(rows) < MIN_CONTROLS:
        raise TrainingSetError(_too_few(len(rows), shop))
    question = Question(target, organic_features(shop), "control", _groups)
    return training_set_of(rows, question, inputs, shop, np.ones(len(rows)))


def known_controls(touches: pd.DataFrame, shop: Shop, known_at: datetime) -> pd.DataFrame:
    """The rows of ``campaign_touch_history`` that were held back at a known time, of which the outcome is known by then."""
    window = timedelta(days=shop.campaigns.attribution_days)
    is_control = touches["is_control"].astype("boolean").fillna(value=False) & touches["is_time_known"].astype(bool)
    rows = touches[is_control & (touches["touched_at"] <= pd.Timestamp(known_at) - window)]
    return rows.sort_values(["touched_at", "touch_id"], ignore_index=True)


def effect_is_usable(touches: pd.DataFrame, shop: Shop, known_at: datetime, organic_version: str | None) -> EffectBasis:
    """Whether plans may count effects: there are ``MIN_CONTROLS``, and a model of them serves (``organic_version``)."""
    controls = len(known_controls(touches, shop, known_at))
    if controls < MIN_CONTROLS:
        return EffectBasis(False, _too_few(controls, shop))
    if organic_version is None:
        reason = f"there are {many(controls, 'control')}, but no model of customers without contact was promoted"
        return EffectBasis(False, f"{reason}; see the {ORGANIC_RESPONSE} model's newest decision")
    return EffectBasis(True, f"{many(controls, 'control')} say what customers do without contact ({organic_version})")


def without_predictions(model: ClassModel, customers: pd.DataFrame) -> SingleFloats:
    """P(convert | not contacted) of each customer, from the rows of ``ml.responses.scoring.rows_at``, in their order.

    Raises ``FrameError`` where they lack a feature of the model.
    """
    matrix = feature_matrix(customers, list(model.features), "customers of the plan")
    return model.probabilities(matrix)[:, model.categories.index(CONVERTED)].astype(np.float32)


def _too_few(controls: int, shop: Shop) -> str:
    days = many(shop.campaigns.attribution_days, "day")
    return (
        f"{TABLE} has {many(controls, 'control')} whose {days} (campaigns.attribution_days) have passed; at least "
        f"{MIN_CONTROLS:,} are needed to say what customers do without contact. Hold some back (holdout_share of a campaign)"
    )


def _groups(rows: pd.DataFrame, shop: Shop) -> pd.DataFrame:
    """By number of orders and contacts before: each group is judged by itself."""
    orders = rows["orders_365d"].to_numpy(np.float64)
    before = rows[[f"contacts_{channel}" for channel in shop.channels]].sum(axis=1).to_numpy(np.float64)
    names: Texts = np.array(["none", "1 or 2", "3 and more"], dtype=object)
    return pd.DataFrame(
        {
            "orders_before": np.where(
                np.isnan(orders), "unknown", names[np.searchsorted([1, 3], np.nan_to_num(orders), "right")]
            ),
            "contacts_before": names[np.searchsorted([1, 3], before, side="right")],
        }
    )
