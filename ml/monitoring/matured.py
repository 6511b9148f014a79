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
from ml.arrays import Floats
from ml.bootstrap import RESAMPLES, Interval, mean_interval
from ml.measures import BINS

SCORES, LABELS = "customer_scores_daily", "realised_labels"
# A resample draws every row: of a million customers all 1,000 take 3.7 CPU seconds a day of scores, 100 take .4.
DRAWS, FEWEST_RESAMPLES = 100_000_000, 100


@dataclass(frozen=True)
class MaturedScores:
    """The kept scores of one day against what was bought within their label horizon.

    ``rows``: customers, ``buyers`` among them. ``log_loss``: nats a customer, with a 95% interval. ``prior_log_loss``: that of
    the realised shares of the classes, predicted for everyone; ``relative_error``: the standard error of their quotient.
    ``accuracy``: of the decisions, ``is_label``. ``unscored``: customers who bought from a category that the model did not know
    yet. They are left out of everything else, as are customers whose known_since is later.
    """

    as_of: datetime
    model_version: str
    rows: int
    buyers: int
    log_loss: Interval
    prior_log_loss: float
    relative_error: float
    accuracy: float
    calibration_error: float
    unscored: int


def matured_scores(connection: duckdb.DuckDBPyConnection, version: str | None = None, seed: int = 0) -> Iterator[MaturedScores]:
    """The days of scores that have realised labels, of a model version or of all: the newest first, judged when asked for.

    ``connection`` has the published tables customer_scores_daily (as_of, customer_id, category_id, probability, is_label,
    model_version) and realised_labels (as_of, customer_id, label); as_of is plain UTC. Empty where there are none yet. A day
    whose horizon saw no buyer at all has no labels, and is not judged; nor is one whose customers are all left out.
    """
    tables = connection.execute("select table_name from information_schema.tables").fetchall()
    if not {(SCORES,), (LABELS,)} <= set(tables):
        return
    moments = connection.execute(f"select distinct as_of from {LABELS} where label is not null order by as_of desc").fetchall()
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
        left join {LABELS} as l on l.as_of = $as_of and s.customer_id = l.customer_id
        where s.as_of = $as_of and (l.customer_id is null or l.label is not null)
    """
    known = f"select * from ({outcomes}) where list_contains($classes, label)"
    # Sorted, so that a seed draws the same losses whatever the order of the rows.
    found = connection.execute(
        f"""
        select -ln(greatest(probability, 1e-15)) as loss, list_position($classes, label) - 1 as place, is_label
        from ({known}) where category_id = label order by loss, place
        """,
        {**values, "classes": classes},
    ).fetchnumpy()
    losses, truth = np.asarray(found["loss"], dtype=np.float64), np.asarray(found["place"], dtype=np.int64)
    rows = len(losses)
    if not rows:
        return None
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
    customers = np.bincount(truth, minlength=len(classes))
    by_prior = -np.log(customers / rows, where=customers > 0, out=np.zeros(len(classes)))[truth]
    return MaturedScores(
        as_of=as_of,
        model_version=model_version,
        rows=rows,
        buyers=rows - int(customers[classes.index(NONE)]),
        log_loss=mean_interval(losses, seed, _resamples(rows)),
        prior_log_loss=float(by_prior.mean()),
        relative_error=_relative_error(losses, by_prior),
        accuracy=float(np.mean(found["is_label"])),
        calibration_error=float(error),
        unscored=int(unscored),
    )


def _relative_error(losses: Floats, by_prior: Floats) -> float:
    """The standard error of mean loss / prior's mean loss, a ratio of sums over the same customers (delta method); 0 / 0 is 0.

    A week with more buyers raises both sums; what is left is how far the losses lie from that many times the prior's.
    """
    mean = by_prior.mean()
    if not mean:
        return 0.0
    return float((losses - losses.mean() / mean * by_prior).std() / np.sqrt(len(losses)) / mean)


def _resamples(rows: int) -> int:
    return max(FEWEST_RESAMPLES, min(RESAMPLES, DRAWS // max(rows, 1)))
