"""The training set of the model of products: candidates of customers at weekly cut-offs, the newest of which judges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pandas as pd

from customer360.settings import Shop
from customer360.text import many
from ml.arrays import Texts
from ml.datasets.targets import BOUGHT, WAIT_DAYS, Target
from ml.datasets.training_sets import Split, TrainingSet, TrainingSetError, fingerprint_of, fold_splits
from ml.frames import feature_matrix
from ml.recommendations.candidates import FEATURES, TABLE, bought_within, candidate_rows, know_until

CUTOFFS, JUDGED = 5, 2  # weekly ones that are made, and of these those that judge
MOST_ROWS = 80_000  # of a cut-off: customers are drawn by a hash of their ids
MIN_BOUGHT = 50  # candidates that were bought, at the cut-offs that train, and a fifth of it at the one that judges
HISTORY: Texts = np.array(["none", "1", "2 to 4", "5 to 19", "20 and more"], dtype=object)


@dataclass(frozen=True)
class CandidateRows:
    """Candidates at cut-offs, oldest first: customer_id, product_id, as_of (plain UTC), ``FEATURES``, is_bought."""

    frame: pd.DataFrame


def read_candidates(connection: duckdb.DuckDBPyConnection, shop: Shop, as_of: datetime) -> CandidateRows:
    """The candidates at up to ``CUTOFFS`` weekly cut-offs whose horizon had passed two days before ``as_of`` (plain UTC).

    A cut-off has ``training.min_history_days`` of interactions before it. ``connection`` has interactions and products.
    """
    horizon = timedelta(days=shop.label_horizon_days)
    (first,) = connection.execute(f"select min(happened_at) from {TABLE}").fetchone() or (None,)
    newest = as_of - horizon - timedelta(days=WAIT_DAYS)
    moments = [newest - timedelta(weeks=week) for week in range(CUTOFFS)]
    known = [m for m in moments if first is not None and m >= first + timedelta(days=shop.training.min_history_days)]
    frames = list(_at_cutoffs(connection, known[::-1], horizon))
    return CandidateRows(pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["customer_id", "as_of"]))


def _at_cutoffs(connection: duckdb.DuckDBPyConnection, moments: list[datetime], horizon: timedelta) -> Iterator[pd.DataFrame]:
    for moment in moments:
        known = know_until(connection, moment)
        rows = candidate_rows(connection, known, 0, max(1, known.customers * 80 // MOST_ROWS))
        bought = bought_within(connection, moment, horizon / timedelta(days=1)).assign(is_bought=True)
        found = rows.merge(bought, on=["customer_id", "product_id"], how="left")
        yield found.assign(as_of=pd.Timestamp(moment), is_bought=found["is_bought"].eq(True))


def build_product_training_set(candidates: CandidateRows, target: Target) -> TrainingSet:
    """Split by time: the last cut-off judges, the ones whose horizon had passed by then train, the newest of these tunes.

    Raises ``TrainingSetError`` where fewer than two cut-offs, or too few bought candidates, would train or judge.
    """
    moments = sorted(candidates.frame["as_of"].unique())
    latest = _judged_at(candidates.frame, target, moments)
    return replace(latest, earlier=tuple(_earlier(candidates.frame, target, moments)))


def _earlier(frame: pd.DataFrame, target: Target, moments: list[pd.Timestamp]) -> Iterator[TrainingSet]:
    for last in range(len(moments) - 1, len(moments) - JUDGED, -1):
        try:
            found = _judged_at(frame, target, moments[:last])
        except TrainingSetError:  # too few rows that long ago
            return
        if len(found.train_cutoffs) > 1:
            yield found


def _judged_at(frame: pd.DataFrame, target: Target, moments: list[pd.Timestamp]) -> TrainingSet:
    horizon = pd.Timedelta(days=target.horizon_days)
    training = [moment for moment in moments[:-1] if moment + horizon <= moments[-1]] if moments else []
    if not training:
        raise TrainingSetError(
            f"{TABLE} has {many(len(moments), 'weekly cut-off')} with enough history before and "
            f"{many(target.horizon_days, 'day')} and {WAIT_DAYS} more after; two that are that far apart are needed"
        )
    rows = frame[frame["as_of"].isin([*training, moments[-1]])].reset_index(drop=True)
    is_judge = (rows["as_of"] == moments[-1]).to_numpy()
    labels = target.label(rows, None)
    bought = [int((labels[mask] == BOUGHT).sum()) for mask in (~is_judge, is_judge)]
    if bought[0] < MIN_BOUGHT or bought[1] < MIN_BOUGHT // 5:
        raise TrainingSetError(
            f"{TABLE}: of the candidates {bought[0]} were bought at the cut-offs that train and {bought[1]} at the one that "
            f"judges; at least {MIN_BOUGHT} and {MIN_BOUGHT // 5} are needed"
        )
    matrix = feature_matrix(rows, FEATURES, TABLE)
    keys = rows[["customer_id", "as_of"]].assign(weight=1.0, spend=0.0)
    train = rows[~is_judge]
    newest = train["as_of"].max()
    split = Split((train["as_of"] + horizon <= newest).to_numpy(), (train["as_of"] == newest).to_numpy())
    orders = rows.loc[is_judge, "orders"].fillna(0).to_numpy(np.float64)
    return TrainingSet(
        target=target,
        features=FEATURES,
        train=matrix[~is_judge].reset_index(drop=True),
        train_labels=labels[~is_judge],
        train_weights=np.ones(len(train)),
        tuning=(split,) if split.fitted.any() else fold_splits(train["customer_id"]),
        validation=matrix[is_judge].reset_index(drop=True),
        validation_labels=labels[is_judge],
        validation_groups=pd.DataFrame({"orders": HISTORY[np.searchsorted([1, 2, 5, 20], orders, side="right")]}),
        train_cutoffs=tuple(moment.to_pydatetime() for moment in training),
        validation_cutoff=moments[-1].to_pydatetime(),
        fingerprint=fingerprint_of(matrix, keys, labels),
        validation_customers=rows.loc[is_judge, "customer_id"].to_numpy(dtype=object),
    )
