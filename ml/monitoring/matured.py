"""Matured scores: the scores of a label horizon ago, judged by what customers then bought.

The kept scores of a day are seven rows a customer and may be millions: the database adds them up, and only one loss a customer
is read. The measures are those of ``ml.measures``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np

from customer360.settings import NONE
from ml.bootstrap import RESAMPLES, Interval, mean_interval
from ml.measures import BINS

SCORES, LABELS = "customer_scores_daily", "realised_labels"
# A resample draws every row: of a million customers all 1,000 take 3.7 CPU seconds a day of scores, 100 take .4.
DRAWS, FEWEST_RESAMPLES = 100_000_000, 100


@dataclass(frozen=True)
class MaturedScores:
    """The kept scores of one day against what was bought within their label horizon.

    ``rows``: customers. ``log_loss``: nats a customer, with a 95% interval. ``prior_log_loss``: that of the realised shares of
    the classes, predicted for everyone. ``accuracy``: of the decisions, ``is_label``. ``unscored``: customers who bought from a
    category that the model did not know yet; they are left out of everything else.
    """

    as_of: datetime
    model_version: str
    rows: int
    log_loss: Interval
    prior_log_loss: float
    accuracy: float
    calibration_error: float
    unscored: int


def matured_scores(connection: duckdb.DuckDBPyConnection, version: str | None = None, seed: int = 0) -> Iterator[MaturedScores]:
    """The days of scores that have realised labels, of a model version or of all: the newest first, judged when asked for.

    ``connection`` has the published tables customer_scores_daily (as_of, customer_id, category_id, probability, is_label,
    model_version) and realised_labels (as_of, customer_id, label); as_of is plain UTC. Empty where there are none yet. A day
    whose horizon saw no buyer at all has no labels, and is not judged; nor is one whose customers are all ``unscored``.
    """
    tables = connection.execute("select table_name from information_schema.tables").fetchall()
    if not {(SCORES,), (LABELS,)} <= set(tables):
        return
    moments = connection.execute(f"select distinct as_of from {LABELS} order by as_of desc").fetchall()
    for (moment,) in moments:
        classes, scored_by = connection.execute(
            f"select list(distinct category_id), max(model_version) from {SCORES} where as_of = $as_of", {"as_of": moment}
        ).fetchone() or (None, None)
        if classes and version in {None, scored_by}:
            judged = _judged(connection, moment, classes, scored_by, seed)
            if judged is not None:
                yield judged


def _judged(
    connection: duckdb.DuckDBPyConnection, as_of: datetime, classes: list[str], model_version: str, seed: int
) -> MaturedScores | None:
    values = {"as_of": as_of, "none": NONE}
    outcomes = f"""
        select s.category_id, s.probability, s.is_label, coalesce(l.label, $none) as label
        from {SCORES} as s
        left join (select customer_id, label from {LABELS} where as_of = $as_of) as l on s.customer_id = l.customer_id
        where s.as_of = $as_of
    """
    known = f"select * from ({outcomes}) where list_contains($classes, label)"
    # Sorted, so that a seed draws the same losses whatever the order of the rows.
    losses = connection.execute(
        f"select -ln(greatest(probability, 1e-15)) as loss from ({known}) where category_id = label order by loss",
        {**values, "classes": classes},
    ).fetchnumpy()["loss"]
    rows = len(losses)
    if not rows:
        return None
    counts = connection.execute(
        f"select count(*), count(*) filter (where is_label) from ({known}) where category_id = label group by label",
        {**values, "classes": classes},
    ).fetchall()
    (unscored,) = connection.execute(
        f"select count(*) from ({outcomes}) where category_id = $none and not list_contains($classes, label)",
        {**values, "classes": classes},
    ).fetchone() or (0,)
    (error,) = connection.execute(
        f"""
        select sum(abs(gap)) / sum(size) from (
            select sum(probability - (category_id = label)::integer) as gap, count(*) as size
            from ({known}) group by category_id, least(floor(probability * {BINS}), {BINS - 1})
        )
        """,
        {**values, "classes": classes},
    ).fetchone() or (float("nan"),)
    shares = np.array([count for count, _ in counts]) / rows
    return MaturedScores(
        as_of=as_of,
        model_version=model_version,
        rows=rows,
        log_loss=mean_interval(np.asarray(losses, dtype=np.float64), seed, _resamples(rows)),
        prior_log_loss=float(-(shares * np.log(shares)).sum()),
        accuracy=sum(hits for _, hits in counts) / rows,
        calibration_error=float(error),
        unscored=int(unscored),
    )


def _resamples(rows: int) -> int:
    return max(FEWEST_RESAMPLES, min(RESAMPLES, DRAWS // max(rows, 1)))
