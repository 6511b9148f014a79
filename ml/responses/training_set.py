"""The training set of the response model: past contacts, the newest of which judge it.

A contact's outcome is known when its attribution window has passed; contacts with an open window are left out. So are contacts
whose window reaches into the time of the judging ones (purging; Lopez de Prado, Advances in Financial Machine Learning, 2018,
ch. 7).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from customer360.features import Feature
from customer360.settings import Shop
from customer360.text import many
from ml.arrays import Booleans, Floats, Texts
from ml.datasets.targets import CONVERTED, RESPONSE, Target, target_of
from ml.datasets.training_sets import (
    FOLDS,
    MIN_TRAINING_ROWS,
    MIN_VALIDATION_ROWS,
    Split,
    TrainingSet,
    TrainingSetError,
    fingerprint_of,
    fold_splits,
)
from ml.frames import feature_matrix
from ml.responses.contact_history import contacts
from ml.responses.contact_rows import ResponseInputs, contact_rows, daypart_names
from ml.responses.features import response_features

TABLE = "campaign_touch_history"
JUDGED_SHARE = 1 / FOLDS
MIN_CONVERSIONS = 20  # among the rows to train on; a quarter of them among those that judge
# Where purging removes more than this share of the older contacts, the split is by customer instead of by time.
MOST_PURGED = 0.5


@dataclass(frozen=True)
class _Parts:
    """Masks of the training and of the judging rows, the splits of the training rows, and a description of the judging rows."""

    is_train: Booleans
    is_judge: Booleans
    tuning: tuple[Split, ...]
    judged_on: str


@dataclass(frozen=True)
class Question:
    """A target of touches: its features, the name of a row, and the groups by which the model is judged."""

    target: Target
    features: tuple[Feature, ...]
    noun: str
    groups: Callable[[pd.DataFrame, Shop], pd.DataFrame]


def build_response_training_set(
    inputs: ResponseInputs, shop: Shop, known_at: datetime, touch_ids: pd.Series[str] | None = None
) -> TrainingSet:
    """Contacts with known channel and time whose outcome is known by ``known_at`` (plain UTC), oldest first.

    The newest fifth judges; of the others whose outcome was known by then, the newest fifth chooses trees, calibration and
    family. Randomised contacts weigh ``training.randomised_weight`` where trees are fitted. With ``touch_ids`` only these
    touches are rows; the history is that of all.

    Raises ``FrameError`` on missing columns, ``TrainingSetError`` on too few contacts or conversions.
    """
    inputs.check(shop)
    target, features = target_of(RESPONSE, shop), response_features(shop)
    rows = known_contacts(inputs.touches, shop, known_at)
    if touch_ids is not None:
        rows = rows[rows["touch_id"].isin(touch_ids)].reset_index(drop=True)
    if len(rows) < MIN_TRAINING_ROWS + MIN_VALIDATION_ROWS:
        raise TrainingSetError(
            f"{TABLE} has {many(len(rows), 'contact')} with known channel and time whose {many(target.horizon_days, 'day')} "
            f"({target.horizon_field}) have passed; at least {MIN_TRAINING_ROWS + MIN_VALIDATION_ROWS} are needed"
        )
    weights = np.where(rows["is_randomised"].astype(bool), shop.training.randomised_weight, 1.0)
    return training_set_of(rows, Question(target, features, "contact", _groups), inputs, shop, weights)


def training_set_of(rows: pd.DataFrame, question: Question, inputs: ResponseInputs, shop: Shop, weights: Floats) -> TrainingSet:
    """The training set of these touches, oldest first, with the weight of each.

    Raises ``TrainingSetError`` where too few of them would train or judge, or too few of those converted.
    """
    target, features = question.target, question.features
    window = timedelta(days=target.horizon_days)
    labels = target.label(rows, None)
    parts = _out_of_time(rows, window, question.noun) or _held_out(rows, window, question.noun)
    _require_outcomes(labels, parts, question.noun)
    values = contact_rows(rows, inputs, shop)
    matrix = feature_matrix(values, features, TABLE)
    keys = rows.assign(as_of=rows["touched_at"], weight=weights, spend=0.0)
    train, judged = rows[parts.is_train], rows[parts.is_judge]
    return TrainingSet(
        target=target,
        features=features,
        train=matrix[parts.is_train].reset_index(drop=True),
        train_labels=labels[parts.is_train],
        train_weights=weights[parts.is_train],
        tuning=parts.tuning,
        validation=matrix[parts.is_judge].reset_index(drop=True),
        validation_labels=labels[parts.is_judge],
        validation_groups=question.groups(values[parts.is_judge], shop),
        train_cutoffs=(train["touched_at"].min().to_pydatetime(), train["touched_at"].max().to_pydatetime()),
        validation_cutoff=judged["touched_at"].min().to_pydatetime(),
        fingerprint=fingerprint_of(matrix, keys, labels),
        judged_on=parts.judged_on,
    )


def known_contacts(touches: pd.DataFrame, shop: Shop, known_at: datetime) -> pd.DataFrame:
    """Contacts of known channel, day and daypart whose outcome is known by ``known_at`` (plain UTC), oldest first."""
    made, latest = contacts(touches), pd.Timestamp(known_at) - timedelta(days=shop.campaigns.attribution_days)
    is_known = made["is_time_known"].astype(bool) & made["channel"].isin(shop.channels) & made["day_of_week"].notna()
    is_known &= pd.notna(daypart_names(made["local_hour"], shop))
    rows = made[is_known & (made["touched_at"] <= latest)]
    return rows.sort_values(["touched_at", "touch_id"], ignore_index=True)


def _out_of_time(rows: pd.DataFrame, window: timedelta, noun: str) -> _Parts | None:
    """None where purging would take most of the older contacts."""
    moments = rows["touched_at"]
    judge_from = _newest_from(moments)
    is_judge = (moments >= judge_from).to_numpy()
    is_train = (moments + window <= judge_from).to_numpy()
    if is_train.sum() < max(MIN_TRAINING_ROWS, (1 - MOST_PURGED) * (~is_judge).sum()):
        return None
    train = moments[is_train]
    tune_from = _newest_from(train)
    fitted, tuned = (train + window <= tune_from).to_numpy(), (train >= tune_from).to_numpy()
    if fitted.sum() < (1 - MOST_PURGED) * (~tuned).sum():
        return None
    judged_on = f"the newest fifth of the {noun}s, those from {judge_from:%Y-%m-%d %H:%M} (UTC) on"
    return _Parts(is_train, is_judge, (Split(fitted, tuned),), judged_on)


def _held_out(rows: pd.DataFrame, window: timedelta, noun: str) -> _Parts:
    """Each fifth of the customers judges, or tunes, what the others taught: no row of theirs had a part in it."""
    splits = fold_splits(rows["customer_id"])
    is_judge = splits[0].tuned
    days = (rows["touched_at"].max() - rows["touched_at"].min()).days + 1
    judged_on = (
        f"the {noun}s of a fifth of the customers: all lie within {many(days, 'day')}, too close together for a window of "
        f"{many(window.days, 'day')} between older and newer ones"
    )
    return _Parts(~is_judge, is_judge, fold_splits(_salted(rows.loc[~is_judge, "customer_id"])), judged_on)


def unseen(touches: pd.DataFrame, trained_until: datetime, judged_from: datetime) -> Booleans:
    """The touches that a model had no part of, by the last of its training rows and the first of its judging ones (plain UTC).

    Those from the first judging one on; where customers were held out, theirs.
    """
    if trained_until < judged_from:
        return (touches["touched_at"] >= judged_from).to_numpy(dtype=bool)
    return fold_splits(touches["customer_id"])[0].tuned


def _salted(customer_ids: pd.Series[str]) -> pd.Series[str]:
    """Ids that hash to folds of their own: of the folds of the plain ids, one is missing here."""
    return "tuning:" + customer_ids.astype(str)


def _newest_from(moments: pd.Series[pd.Timestamp]) -> pd.Timestamp:
    """The moment (``moments`` ascend) from which on the newest fifth lies."""
    return moments.iloc[int((1 - JUDGED_SHARE) * len(moments))]


def _require_outcomes(labels: Texts, parts: _Parts, noun: str) -> None:
    counts = [(int(mask.sum()), int((labels[mask] == CONVERTED).sum())) for mask in (parts.is_train, parts.is_judge)]
    needed = ((MIN_TRAINING_ROWS, MIN_CONVERSIONS), (MIN_VALIDATION_ROWS, MIN_CONVERSIONS // 4))
    found = zip(counts, needed, strict=True)
    if any(rows < least or hits < least_hits or hits == rows for (rows, hits), (least, least_hits) in found):
        (train, train_hits), (judged, judged_hits) = counts
        raise TrainingSetError(
            f"{TABLE} has {many(train, noun)} ({train_hits} converted) to train on and {many(judged, noun)} "
            f"({judged_hits} converted) to judge; at least {MIN_TRAINING_ROWS} ({MIN_CONVERSIONS}) and {MIN_VALIDATION_ROWS} "
            f"({MIN_CONVERSIONS // 4}) are needed, and not all converted"
        )


def _groups(rows: pd.DataFrame, shop: Shop) -> pd.DataFrame:
    """By channel, kind of campaign and number of contacts before: each group is judged by itself."""
    before = rows[[f"contacts_{channel}" for channel in shop.channels]].sum(axis=1).to_numpy(np.float64)
    names: Texts = np.array(["none", "1 or 2", "3 and more"], dtype=object)
    return pd.DataFrame(
        {
            "channel": rows["channel"].to_numpy(dtype=object),
            "campaign_kind": rows["campaign_kind"].astype("object").where(rows["campaign_kind"].notna(), "unknown").to_numpy(),
            "contacts_before": names[np.searchsorted([1, 3], before, side="right")],
        }
    )
