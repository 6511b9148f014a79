"""The training set: what ``training_features`` says before the last cut-off, and the last cut-off to validate on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.features import Feature, feature_list
from customer360.settings import NONE, OUTCOMES, Shop
from ml.frames import feature_matrix, require_columns
from ml.segments import customer_groups

TABLE = "training_features"
MIN_TRAINING_ROWS = 200
MIN_VALIDATION_ROWS = 50
FOLDS = 5

Labels = npt.NDArray[np.object_]
Weights = npt.NDArray[np.float64]


class TrainingSetError(ValueError):
    """There is nothing honest to train on. The message says what is missing and what to do."""


@dataclass(frozen=True)
class Split:
    """Masks of the training rows: those that are fitted first, and those that the choices are then made on."""

    fitted: npt.NDArray[np.bool_]
    tuned: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TrainingSet:
    """Rows are customers at a cut-off. ``validation`` is the last cut-off; ``train`` holds the ones before it.

    ``tuning`` splits the training rows: on those that a split tunes on, the number of trees, the calibration and the decisions
    are chosen, so that the validation cut-off judges what it had no part in. These are the newest training cut-off, after those
    whose labels were known by then; with a single training cut-off, each fifth of the customers after the others. Where
    cut-offs weigh less because something changed after them, each fifth of the customers at those that weigh most.

    ``validation_groups``: segment and number of orders of each validation row, by which the model is judged too.

    ``train_weights``: how much each training row counts when a model is fitted, above 0. Rows that choose or judge count alike:
    that is how they are served.

    ``categories`` are every class that ``customer_scores`` will have, in shop order, "none" last. ``fingerprint`` is a sha256
    of features, labels, weights and cut-offs: equal data in any row order give the same one.
    """

    features: tuple[Feature, ...]
    categories: tuple[str, ...]
    train: pd.DataFrame
    train_labels: Labels
    train_weights: Weights
    tuning: tuple[Split, ...]
    validation: pd.DataFrame
    validation_labels: Labels
    validation_groups: pd.DataFrame
    train_cutoffs: tuple[datetime, ...]
    validation_cutoff: datetime
    fingerprint: str


def build_training_set(frame: pd.DataFrame, shop: Shop) -> TrainingSet:
    """Split ``training_features`` (customer x cut-off, ``as_of`` in UTC) by time.

    A cut-off whose label window reaches past the validation cut-off is left out: its labels would tell part of the validation's
    (purging; Lopez de Prado, Advances in Financial Machine Learning, 2018, ch. 7). With weekly cut-offs and h = 7 days none is.

    Raises ``FrameError`` on missing or extra columns, ``TrainingSetError`` on too few rows or cut-offs and on unknown labels.
    """
    features = tuple(feature_list(shop))
    names = [feature.name for feature in features]
    require_columns(frame, TABLE, ["cutoff_no", "as_of", "customer_id", *names, *OUTCOMES], exact=True)
    categories = (*shop.category_ids, NONE)
    unknown = sorted(set(frame["label"].dropna().astype(str)) - set(categories))
    if unknown or frame["label"].isna().any():
        raise TrainingSetError(f"{TABLE}.label holds {unknown or 'NULL'}; it is one of {', '.join(categories)}")
    if not (frame["weight"] > 0).all():
        raise TrainingSetError(f"{TABLE}.weight is above 0 for every row; run training_job to have it built again")
    ordered = frame.sort_values(["cutoff_no", "customer_id"], ascending=[False, True], ignore_index=True)
    is_last = (ordered["cutoff_no"] == 1).to_numpy()
    if not is_last.any():
        raise TrainingSetError(f"{TABLE} has no cutoff_no 1, the latest cut-off; run training_job once there is enough history")
    validation_cutoff: datetime = ordered.loc[is_last, "as_of"].iloc[0].to_pydatetime()
    horizon = timedelta(days=shop.label_horizon_days)
    is_train = ~is_last & (ordered["as_of"] + horizon <= validation_cutoff).to_numpy()
    _require_rows(int(is_train.sum()), int(is_last.sum()), shop)
    matrix = feature_matrix(ordered, features, TABLE)
    labels = ordered["label"].to_numpy(dtype=object)
    if len(set(labels[is_train])) < 2:
        raise TrainingSetError(f"every training label is {labels[is_train][0]!r}; there is nothing to tell apart yet")
    return TrainingSet(
        features=features,
        categories=categories,
        train=matrix[is_train].reset_index(drop=True),
        train_labels=labels[is_train],
        train_weights=ordered.loc[is_train, "weight"].to_numpy(np.float64),
        tuning=_tuning(ordered[is_train], horizon),
        validation=matrix[is_last].reset_index(drop=True),
        validation_labels=labels[is_last],
        validation_groups=customer_groups(matrix[is_last], shop),
        train_cutoffs=tuple(moment.to_pydatetime() for moment in sorted(ordered.loc[is_train, "as_of"].unique())),
        validation_cutoff=validation_cutoff,
        fingerprint=_fingerprint(matrix, ordered),
    )


def _tuning(train: pd.DataFrame, horizon: timedelta) -> tuple[Split, ...]:
    weights = train["weight"].to_numpy(np.float64)
    if (weights < weights.max()).any():  # rows of before a change do not say how to decide after it
        is_new = weights == weights.max()
        return tuple(Split(split.fitted, split.tuned & is_new) for split in fold_splits(train["customer_id"]))
    newest = train["as_of"].max()
    before = Split((train["as_of"] + horizon <= newest).to_numpy(), (train["as_of"] == newest).to_numpy())
    return (before,) if before.fitted.any() else fold_splits(train["customer_id"])


def fold_splits(customer_ids: pd.Series[str]) -> tuple[Split, ...]:
    """Each fifth of the customers after the others, by a hash of their ids."""
    fold = pd.util.hash_pandas_object(customer_ids.astype(str), index=False).to_numpy() % FOLDS
    return tuple(Split(fold != number, fold == number) for number in range(FOLDS))


def _require_rows(train: int, validation: int, shop: Shop) -> None:
    if train == 0:
        raise TrainingSetError(
            f"{TABLE} needs two cut-offs that are {shop.label_horizon_days} days (label_horizon_days) apart; "
            "load more history, or raise training.cutoffs in shop.yaml"
        )
    if train < MIN_TRAINING_ROWS or validation < MIN_VALIDATION_ROWS:
        raise TrainingSetError(
            f"{TABLE} has {train} rows to train on and {validation} to validate on; "
            f"at least {MIN_TRAINING_ROWS} and {MIN_VALIDATION_ROWS} are needed"
        )


def _fingerprint(matrix: pd.DataFrame, ordered: pd.DataFrame) -> str:
    digest = hashlib.sha256("|".join(matrix.columns).encode())
    keys = ordered[["customer_id", "as_of", "label", "weight"]].astype({"customer_id": str, "label": str, "weight": float})
    for part in (matrix, keys):
        digest.update(pd.util.hash_pandas_object(part, index=False, categorize=False).to_numpy().tobytes())
    return digest.hexdigest()
