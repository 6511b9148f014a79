"""The training set of a target: rows of ``training_features`` before the last cut-off, and that cut-off to validate on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pandas as pd

from customer360.features import Feature, feature_list
from customer360.settings import OUTCOMES, Shop
from ml.arrays import Booleans, Floats, Texts
from ml.datasets.bands import Bands, quantile_bands, steadied
from ml.datasets.segments import customer_groups
from ml.datasets.targets import AFFINITY, WAIT_DAYS, Target, target_of
from ml.frames import feature_matrix, require_columns

TABLE = "training_features"
MIN_TRAINING_ROWS = 200
MIN_VALIDATION_ROWS = 50
FOLDS = 5
JUDGED_CUTOFFS = 3  # at most; each earlier one costs one more fit, on fewer rows


class TrainingSetError(ValueError):
    """The rows cannot train and judge a model. The message says what is missing and what to do."""


@dataclass(frozen=True)
class Split:
    """Masks of the training rows: those that are fitted first, and those that the choices are then made on."""

    fitted: Booleans
    tuned: Booleans


@dataclass(frozen=True)
class Amounts:
    """What banded labels were made from: the bands, and the amount of each training and validation row."""

    bands: Bands
    train: Floats
    validation: Floats


@dataclass(frozen=True)
class TrainingSet:
    """Rows are customers at a cut-off. ``validation`` is the last known cut-off; ``train`` holds the ones before it.

    ``tuning`` splits the training rows: on those that a split tunes on, the number of trees, the calibration and the decisions
    are chosen, so that the validation cut-off judges what it had no part in. These are the newest training cut-off, after those
    whose labels were known by then; with a single training cut-off, each fifth of the customers after the others. Where
    cut-offs weigh less because something changed after them, each fifth of the customers at those that weigh most.

    ``validation_groups``: groups of each validation row (``ml.datasets.segments``), by which the model is judged too.

    ``train_weights``: how much each training row counts when a model is fitted, above 0. Rows that choose or judge count alike:
    that is how they are served.

    ``validation_customers``: whose row each validation row is; rows of one customer at several cut-offs are alike.

    ``earlier``: the sets whose last cut-off is one of the two before this one, the newest first, with the rows that were known
    then: on each of them a model of its own is judged. A set has some where its rows weigh alike and each of them keeps two
    cut-offs to learn from, of which the newest chooses.

    ``judged_on``: the validation rows in words, where they are no cut-off: rows may be contacts, each at its own moment.

    ``categories`` are every class of the target. ``amounts`` there are where its classes are bands. ``fingerprint`` is a sha256
    of features, labels, weights and cut-offs: equal data in any row order give the same one.
    """

    target: Target
    features: tuple[Feature, ...]
    train: pd.DataFrame
    train_labels: Texts
    train_weights: Floats
    tuning: tuple[Split, ...]
    validation: pd.DataFrame
    validation_labels: Texts
    validation_groups: pd.DataFrame
    train_cutoffs: tuple[datetime, ...]
    validation_cutoff: datetime
    fingerprint: str
    amounts: Amounts | None = None
    judged_on: str = ""
    validation_customers: Texts = field(default_factory=lambda: np.empty(0, dtype=object))
    earlier: tuple[TrainingSet, ...] = ()

    @property
    def categories(self) -> tuple[str, ...]:
        """Every class of the target, in its order."""
        return self.target.classes


def build_training_set(frame: pd.DataFrame, shop: Shop, target: Target | None = None) -> TrainingSet:
    """Split ``training_features`` (customer x cut-off, ``as_of`` in UTC) by time, for a target (default: affinity).

    A cut-off whose window reaches past the validation cut-off is left out: its labels would hold part of the validation's
    (purging; Lopez de Prado, Advances in Financial Machine Learning, 2018, ch. 7). With weekly cut-offs and h = 7 days none is.

    Raises ``FrameError`` on missing or extra columns, ``TrainingSetError`` on too few rows or cut-offs and on unknown labels.
    """
    target = target or target_of(AFFINITY, shop)
    features = tuple(feature_list(shop))
    require_columns(frame, TABLE, ["cutoff_no", "as_of", "customer_id", *[f.name for f in features], *OUTCOMES], exact=True)
    if not (frame["weight"] > 0).all():
        raise TrainingSetError(f"{TABLE}.weight is above 0 for every row; run training_job to have it built again")
    if not (frame["cutoff_no"] == 1).any():
        raise TrainingSetError(f"{TABLE} has no cutoff_no 1, the latest cut-off; run training_job once there is enough history")
    ordered = frame[target.is_known(frame)].sort_values(
        ["cutoff_no", "customer_id"], ascending=[False, True], ignore_index=True
    )
    latest = _judged_at_last(ordered, shop, target)
    return replace(latest, earlier=tuple(_earlier(ordered, shop, target)))


def _earlier(ordered: pd.DataFrame, shop: Shop, target: Target) -> Iterator[TrainingSet]:
    if ordered["weight"].nunique() > 1:  # the rows from before a dated change cannot judge
        return
    for number in sorted(ordered["cutoff_no"].unique())[1:JUDGED_CUTOFFS]:
        try:
            found = _judged_at_last(ordered[ordered["cutoff_no"] >= number].reset_index(drop=True), shop, target)
        except TrainingSetError:  # too few rows that long ago
            return
        if len(found.train_cutoffs) < 2 or len(found.tuning) != 1:
            return
        yield found


def _judged_at_last(ordered: pd.DataFrame, shop: Shop, target: Target) -> TrainingSet:
    """``ordered``: rows whose outcome is known, the oldest cut-off first; the last one judges."""
    features, horizon = tuple(feature_list(shop)), timedelta(days=target.horizon_days)
    is_last, has_class = (ordered["cutoff_no"] == ordered["cutoff_no"].min()).to_numpy(), target.has_class(ordered)
    if not is_last.any():
        raise TrainingSetError(f"{TABLE} has no cut-off of which {_days(target)} and 2 more have passed; load more history")
    validation_cutoff: datetime = ordered.loc[is_last, "as_of"].iloc[0].to_pydatetime()
    is_train = has_class & ~is_last & (ordered["as_of"] + horizon <= validation_cutoff).to_numpy()
    is_judge = has_class & is_last
    _require_rows(int(is_train.sum()), int(is_judge.sum()), target)
    matrix = feature_matrix(ordered, features, TABLE)
    amounts = _amounts(ordered, is_train, is_judge) if target.is_banded else None
    labels = target.label(ordered, amounts.bands if amounts else None)
    _require_labels(labels, is_train, target)
    return TrainingSet(
        target=target,
        features=features,
        train=matrix[is_train].reset_index(drop=True),
        train_labels=labels[is_train],
        train_weights=ordered.loc[is_train, "weight"].to_numpy(np.float64),
        tuning=_tuning(ordered[is_train], horizon),
        validation=matrix[is_judge].reset_index(drop=True),
        validation_labels=labels[is_judge],
        # Everyone of the cut-off has a place in its ranks, also who has no class.
        validation_groups=customer_groups(matrix[is_last], shop)[has_class[is_last]].reset_index(drop=True),
        train_cutoffs=tuple(moment.to_pydatetime() for moment in sorted(ordered.loc[is_train, "as_of"].unique())),
        validation_cutoff=validation_cutoff,
        fingerprint=fingerprint_of(matrix[has_class], ordered[has_class], labels[has_class]),
        amounts=amounts,
        validation_customers=ordered.loc[is_judge, "customer_id"].to_numpy(dtype=object),
    )


def _amounts(ordered: pd.DataFrame, is_train: Booleans, is_judge: Booleans) -> Amounts:
    """The bands are those of the training rows: what is judged has no part in them."""
    spend = ordered["spend"].to_numpy(np.float64)
    learned, customers = spend[is_train], ordered.loc[is_train, "customer_id"].to_numpy(dtype=object)
    return Amounts(steadied(quantile_bands(learned), learned, customers), learned, spend[is_judge])


def _tuning(train: pd.DataFrame, horizon: timedelta) -> tuple[Split, ...]:
    weights = train["weight"].to_numpy(np.float64)
    if (weights < weights.max()).any():  # decisions after a change are not chosen on rows from before it
        is_new = weights == weights.max()
        return tuple(Split(split.fitted, split.tuned & is_new) for split in fold_splits(train["customer_id"]))
    newest = train["as_of"].max()
    before = Split((train["as_of"] + horizon <= newest).to_numpy(), (train["as_of"] == newest).to_numpy())
    return (before,) if before.fitted.any() else fold_splits(train["customer_id"])


def fold_splits(customer_ids: pd.Series[str]) -> tuple[Split, ...]:
    """Each fifth of the customers after the others, by a hash of their ids."""
    fold = pd.util.hash_pandas_object(customer_ids.astype(str), index=False).to_numpy() % FOLDS
    return tuple(Split(fold != number, fold == number) for number in range(FOLDS))


def _require_rows(train: int, validation: int, target: Target) -> None:
    if train == 0:
        raise TrainingSetError(
            f"{TABLE} needs two cut-offs that are {_days(target)} apart; "
            "load more history, or raise training.cutoffs in shop.yaml"
        )
    if train < MIN_TRAINING_ROWS or validation < MIN_VALIDATION_ROWS:
        raise TrainingSetError(
            f"{TABLE} has {train} rows to train on and {validation} to validate on; "
            f"at least {MIN_TRAINING_ROWS} and {MIN_VALIDATION_ROWS} are needed"
        )


def _require_labels(labels: Texts, is_train: Booleans, target: Target) -> None:
    is_missing = pd.isna(pd.Series(labels, dtype=object)).to_numpy()
    unknown = sorted(set(labels[~is_missing].astype(str)) - set(target.classes))
    if unknown or is_missing.any():
        raise TrainingSetError(f"{TABLE}.label holds {unknown or 'NULL'}; it is one of {', '.join(target.classes)}")
    if len(set(labels[is_train])) < 2:
        raise TrainingSetError(f"every training label is {labels[is_train][0]!r}; there is nothing to learn yet")


def _days(target: Target) -> str:
    return f"{target.horizon_days} days ({target.horizon_field})"


def fingerprint_of(matrix: pd.DataFrame, ordered: pd.DataFrame, labels: Texts) -> str:
    """``ordered``: customer_id, as_of, weight and spend of the rows of ``matrix``. ``labels`` apart: they may be bands."""
    digest = hashlib.sha256("|".join(matrix.columns).encode())
    types = {"customer_id": str, "weight": float, "spend": float, "label": str}
    keys = ordered[["customer_id", "as_of", "weight", "spend"]].assign(label=labels).astype(types)
    for part in (matrix, keys):
        digest.update(pd.util.hash_pandas_object(part, index=False, categorize=False).to_numpy().tobytes())
    return digest.hexdigest()


def customers_at_cutoffs(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Of each cut-off (as_of, oldest first): ``customers`` in its rows, and how many of today's were ``not_yet_known`` at it.

    ``connection`` has the published tables training_features and customer_features.
    """
    return connection.execute(
        f"""
        select cutoffs.as_of, count(rows.customer_id) as customers,
            count(*) filter (where rows.customer_id is null) as not_yet_known
        from (select distinct as_of from {TABLE}) as cutoffs
        cross join customer_features as present
        left join {TABLE} as rows on rows.as_of = cutoffs.as_of and rows.customer_id = present.customer_id
        group by cutoffs.as_of order by cutoffs.as_of
        """
    ).df()


def training_outlook(frame: pd.DataFrame, shop: Shop, target: Target, first_slice: datetime | None) -> dict[str, str]:
    """For a model that waits for history: the cut-offs there are and those needed, the rows, and when there will be enough.

    ``frame``: ``training_features``. ``first_slice``: start of the oldest slice (UTC), None where there is none.
    """
    needed, found = target.cutoffs_needed(shop), int(frame["cutoff_no"].nunique())
    is_known = target.is_known(frame)
    known = int(frame.loc[is_known, "cutoff_no"].nunique())
    result = {"cutoffs": f"{found}, of which {known} are {target.horizon_days} days and 2 more ago; {needed} are needed"}
    if needed > shop.training.cutoffs:
        result["to_do"] = f"raise training.cutoffs in shop.yaml from {shop.training.cutoffs} to {needed}"
    if first_slice is not None:
        moment = first_slice + target.history_needed(shop)
        reached = " (there is)" if found >= needed else ""
        result["enough_history_from"] = f"{moment:%Y-%m-%d %H:%M} UTC{reached}"
    learned = frame[is_known & target.has_class(frame)]
    if not learned.empty:
        result |= _rows_outlook(learned, target, max(shop.training.cutoffs, 2))
    return result


def _rows_outlook(learned: pd.DataFrame, target: Target, cutoffs: int) -> dict[str, str]:
    """Customers with a class at the last known cut-off, those needed there, and when they come at the pace of the cut-offs."""
    rows = learned.groupby("as_of").size().sort_index()
    needed = max(MIN_VALIDATION_ROWS, -(-MIN_TRAINING_ROWS // (cutoffs - 1)))
    found = int(rows.iloc[-1])
    result = {
        "customers": f"{found} to learn from at the last known cut-off; {needed} at each of {cutoffs} cut-offs are enough"
    }
    weeks = (rows.index[-1] - rows.index[0]) / timedelta(weeks=1)
    pace = (found - int(rows.iloc[0])) / weeks if weeks else 0.0
    if found >= needed:
        return result
    if pace <= 0:
        return {**result, "enough_customers_from": "not at the present pace: there are no more of them from week to week"}
    # A cut-off judges or trains when its outcome is known; the oldest of them has to have as many.
    wait = timedelta(weeks=float(np.ceil((needed - found) / pace)) + cutoffs - 1, days=target.horizon_days + WAIT_DAYS)
    moment = rows.index[-1] + wait
    return {**result, "enough_customers_from": f"about {moment:%Y-%m-%d}, at {pace:.1f} more a week"}
