"""Realised performance: of yesterday's buyers at once, of complete days of scores a label horizon later.

Labels mature after a horizon; the buyers of the last 24 hours are known at once. ``surprise_of_buyers`` is minus the logarithm
of P(bought category) / P(any purchase) by the scores before. It rises on the first day on which browsing no longer predicts
what is bought, also where the distributions of features and scores do not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pandas as pd

from customer360.lake.engine import literal
from customer360.settings import NONE
from ml.arrays import Floats
from ml.fitting.baselines import PRIOR
from ml.fitting.calibration import FLOOR
from ml.monitoring.matured import MaturedScores
from ml.monitoring.samples import PERFORMANCE
from ml.monitoring.thresholds import Limit, Measured
from ml.versions.model_store import LoadedModel

SURPRISE = "surprise_of_buyers"
MATURED_LOSS, MATURED_TO_PRIOR, MATURED_CALIBRATION = "matured_log_loss", "matured_loss_to_prior", "matured_calibration_error"
MIN_BUYERS = 30
STANDARD_ERRORS = 4.0
LONGEST = timedelta(days=3)  # older scores do not know the day's browsing


@dataclass(frozen=True)
class Surprise:
    """Mean over ``buyers`` of minus the logarithm of their category's share of the probability to buy, in nats."""

    value: float
    buyers: int


def surprise_of_buyers(connection: duckdb.DuckDBPyConnection, as_of: datetime, day_no: int = 0) -> Surprise | None:
    """Of the buyers of the 24 hours before ``as_of``, which are day ``day_no``, by the newest kept scores before these hours.

    None without such scores of the last three days, or with fewer than 30 buyers. A buyer of several categories counts with
    the one of the highest spend, ties by category id.
    """
    start = as_of - timedelta(days=1)
    (scored,) = connection.execute(
        "select max(as_of) from customer_scores_daily where as_of <= ? and as_of >= ?", [start, start - LONGEST]
    ).fetchone() or (None,)
    if scored is None:
        return None
    losses = connection.execute(
        f"""
        with bought as (
            select customer_id, category_id from monitoring_activity where day_no = {day_no} and spend > 0
            qualify row_number() over (partition by customer_id order by spend desc, category_id) = 1
        )
        select -ln(greatest(s.probability, {FLOOR}) / greatest(1 - n.probability, {FLOOR})) as loss
        from bought as b
        inner join customer_scores_daily as s
            on b.customer_id = s.customer_id and b.category_id = s.category_id and s.as_of = timestamp '{scored}'
        inner join customer_scores_daily as n
            on b.customer_id = n.customer_id and n.category_id = {literal(NONE)} and n.as_of = timestamp '{scored}'
        where b.category_id <> '(none)'
        order by b.customer_id
        """
    ).fetchnumpy()["loss"]
    return Surprise(float(np.mean(losses)), len(losses)) if len(losses) >= MIN_BUYERS else None


def surprise_limit(judged: pd.DataFrame, loaded: LoadedModel, buyers: int) -> Limit | None:
    """The threshold for that number of buyers, from rows that the model never saw: a feature matrix with ``label``.

    Four standard errors above the mean of the buyers among them. None with fewer than 30.
    """
    losses = conditional_losses(judged, loaded)
    if len(losses) < MIN_BUYERS:
        return None
    threshold = float(losses.mean() + STANDARD_ERRORS * losses.std() / np.sqrt(buyers))
    return Limit(threshold, f"{len(losses)} buyers of the cut-off that judged the model", is_learned=True)


def matured_measures(matured: MaturedScores, loaded: LoadedModel, limits: Mapping[tuple[str, str], Limit]) -> list[Measured]:
    """Rows of a day of scores that has matured: log loss, the same in multiples of the prior's, and calibration error.

    The second has a threshold from the start: half of the gain over the prior is lost that the cut-off showed which judged the
    model, and four standard errors more, so that few customers raise no alarm by chance. The prior is that of the same days, so
    that a week with more buyers is no drift. There is no such multiple of fewer than 30 customers who bought, or did not.
    ``limits``: of earlier reports.
    """
    manifest = loaded.manifest
    expected = manifest.served_metrics["log_loss"] / manifest.metrics[PRIOR]["log_loss"]
    half = Limit(
        1 - (1 - expected) / 2 + STANDARD_ERRORS * matured.relative_error,
        "half of the gain over the prior when the model was judged, and 4 standard errors",
        is_learned=True,
    )
    measures = {
        MATURED_LOSS: ("nats a customer", matured.log_loss.estimate, limits.get((PERFORMANCE, MATURED_LOSS))),
        MATURED_CALIBRATION: ("share", matured.calibration_error, limits.get((PERFORMANCE, MATURED_CALIBRATION))),
    }
    if min(matured.buyers, matured.rows - matured.buyers) >= MIN_BUYERS:
        relative = matured.log_loss.estimate / matured.prior_log_loss
        measures[MATURED_TO_PRIOR] = ("multiples of the prior's", relative, half)
    rows, judging = matured.rows, manifest.rows_validation
    return [
        Measured(PERFORMANCE, name, method, value, limit, rows, judging) for name, (method, value, limit) in measures.items()
    ]


def conditional_losses(judged: pd.DataFrame, loaded: LoadedModel) -> Floats:
    """Minus the logarithm of the label's share of the probability to buy, of the rows whose label is a category."""
    rows = judged[judged["label"] != NONE]
    if not len(rows):
        return np.empty(0)
    categories = loaded.model.categories
    shares = loaded.model.probabilities(rows.drop(columns="label"))
    own = shares[np.arange(len(rows)), [categories.index(str(label)) for label in rows["label"]]]
    buying = 1 - shares[:, categories.index(NONE)]
    return np.asarray(-np.log(np.maximum(own, FLOOR) / np.maximum(buying, FLOOR)), dtype=np.float64)
