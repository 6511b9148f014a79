"""Evaluation of the uplift, P(convert | contacted) less P(convert | not contacted), as a ranking of customers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from customer360.settings import Shop
from customer360.text import many
from ml.arrays import Floats
from ml.datasets.targets import CONVERTED
from ml.effects.qini import Qini, qini
from ml.fitting.class_model import ClassModel
from ml.frames import feature_matrix
from ml.responses.contact_rows import ResponseInputs, contact_rows
from ml.responses.training_set import known_contacts, unseen
from ml.responses.without_contact import known_controls

SEED = 360
MIN_JUDGED = 100  # contacts, and as many controls; with fewer the interval is too wide to use


@dataclass(frozen=True)
class Trained:
    """A model, the last moment that it was trained on and the first of those that judged it (plain UTC)."""

    model: ClassModel
    trained_until: datetime
    judged_from: datetime


def judge_effect(
    inputs: ResponseInputs, shop: Shop, known_at: datetime, response: Trained | None, without: Trained
) -> Qini | str:
    """The Qini of ranking by P(convert | contacted) less P(convert | not contacted), on touches that neither model has seen.

    The score of a touch must not depend on whether it was made: contacts and controls are both scored at their own day and
    daypart by the mean over the channels, weighted by each channel's share of contacts. Only campaigns with a control group
    count: the contacts of others were not drawn at random. Returns the reason as a sentence where there is nothing to judge.
    """
    if response is None:
        return "the effect was not judged: no response model serves yet"
    made, held_back = known_contacts(inputs.touches, shop, known_at), known_controls(inputs.touches, shop, known_at)
    both = pd.concat([made[made["campaign_id"].isin(held_back["campaign_id"])], held_back], ignore_index=True)
    is_new = unseen(both, response.trained_until, response.judged_from) & unseen(
        both, without.trained_until, without.judged_from
    )
    rows = both[is_new].reset_index(drop=True)
    is_control = rows["is_control"].astype(bool).to_numpy()
    contacts, controls = int((~is_control).sum()), int(is_control.sum())
    if min(contacts, controls) < MIN_JUDGED:
        return (
            f"the effect was not judged: {many(contacts, 'contact')} and {many(controls, 'control')} were seen by neither "
            f"model, and {MIN_JUDGED} of each are needed"
        )
    scores = effect_scores(rows, inputs, shop, response.model, without.model)
    return qini(
        scores,
        ~is_control,
        rows["is_converted"].to_numpy(dtype=bool),
        seed=SEED,
        customers=rows["customer_id"].to_numpy(dtype=object),
    )


def effect_scores(
    touches: pd.DataFrame, inputs: ResponseInputs, shop: Shop, response: ClassModel, without: ClassModel
) -> Floats:
    """Predicted uplift of each touch: what a contact of its customer adds at its day and daypart, by what was known before."""
    shares = touches.loc[~touches["is_control"].astype(bool), "channel"].value_counts(normalize=True)
    values = contact_rows(touches, inputs, shop)
    contacted = np.zeros(len(touches))
    for channel in shop.channels:
        if channel in shares:
            contacted += shares[channel] * _converted(response, values.assign(channel=channel))
    return contacted - _converted(without, values)


def _converted(model: ClassModel, values: pd.DataFrame) -> Floats:
    matrix = feature_matrix(values, list(model.features), "touches to judge")
    return np.asarray(model.probabilities(matrix)[:, model.categories.index(CONVERTED)], dtype=np.float64)
