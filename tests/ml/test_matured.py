"""Matured scores: the database's figures are those of ``ml.measures`` on the same rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import cast

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from customer360.lake.warehouse.frames import replace_table
from ml.bootstrap import mean_interval
from ml.measures import row_losses, score
from ml.monitoring.matured import matured_scores
from ml.monitoring.performance import MATURED_TO_PRIOR, matured_measures
from ml.versions.model_store import LoadedModel

NOON = datetime.fromisoformat("2026-05-01T12:00")
CLASSES = ["books", "music", "none"]


@pytest.fixture
def published() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def keep(
    connection: duckdb.DuckDBPyConnection,
    days: dict[datetime, np.ndarray],
    named: dict[datetime, np.ndarray],
    labels: list[tuple[datetime, str, str]],
) -> None:
    """Scores of customers C0, C1, ... (rows) by class (columns), rows shuffled; and the labels of those who bought."""
    frames = []
    for as_of, probabilities in days.items():
        rows, classes = probabilities.shape
        frame = pd.DataFrame(
            {
                "customer_id": np.repeat([f"C{number}" for number in range(rows)], classes),
                "category_id": np.tile(CLASSES, rows),
                "probability": probabilities.ravel(),
                "is_label": (np.arange(classes) == named[as_of][:, None]).ravel(),
                "model_version": f"v{as_of:%d}",
                "as_of": as_of,
            }
        )
        frames.append(frame.sample(frac=1, random_state=1))
    bought = pd.DataFrame(labels, columns=["as_of", "customer_id", "label"])
    for table, content in (("customer_scores_daily", pd.concat(frames)), ("realised_labels", bought)):
        replace_table(connection, table, pa.Table.from_pandas(content, preserve_index=False))


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_the_measures_on_the_same_rows(published: duckdb.DuckDBPyConnection, seed: int) -> None:
    chance = np.random.default_rng(seed)
    days, named, labels, expected = {}, {}, [], {}
    for day in range(3):
        as_of = NOON + timedelta(days=day)
        # tenths, 0 and 1 among them: on the borders of the calibration's bins
        tenths = chance.multinomial(10, [0.3, 0.2, 0.5], 200) / 10
        probabilities = np.vstack([tenths, chance.dirichlet([2, 1, 3], 300)])
        truth, decisions = chance.integers(0, 3, (2, len(probabilities)))
        days[as_of], named[as_of] = probabilities, decisions
        labels += [(as_of, f"C{row}", CLASSES[k]) for row, k in enumerate(truth) if CLASSES[k] != "none"]
        shares = np.bincount(truth, minlength=3) / len(truth)
        constant = np.tile(shares, (len(truth), 1))
        expected[as_of] = (score(probabilities, truth, decisions), score(constant, truth)["log_loss"], truth)
    labels.append((NOON, "a stranger to the scores", "books"))
    keep(published, days, named, labels)

    found = list(matured_scores(published, seed=7))
    assert [(day.as_of, day.model_version) for day in found] == [(as_of, f"v{as_of:%d}") for as_of in reversed(days)]
    for day in found:
        measures, prior, truth = expected[day.as_of]
        assert (day.rows, day.unscored) == (500, 0)
        assert day.log_loss.estimate == pytest.approx(measures["log_loss"])
        assert day.accuracy == pytest.approx(measures["accuracy"])
        assert day.calibration_error == pytest.approx(measures["calibration_error"])
        assert day.prior_log_loss == pytest.approx(prior)
        interval = mean_interval(np.sort(row_losses(days[day.as_of], truth)), seed=7)
        assert (day.log_loss.low, day.log_loss.high) == pytest.approx((interval.low, interval.high))
    (of_version,) = matured_scores(published, f"v{NOON:%d}", seed=7)
    assert (of_version.as_of, of_version.rows) == (NOON, found[-1].rows)
    assert of_version.log_loss.estimate == pytest.approx(found[-1].log_loss.estimate)
    assert of_version.calibration_error == pytest.approx(found[-1].calibration_error)


class Counting:
    """A connection that counts the passes over a day's losses."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection, self.passes = connection, 0

    def execute(self, query: str, *values: object) -> duckdb.DuckDBPyConnection:
        self.passes += "as loss" in query
        return self.connection.execute(query, *values)


def test_only_the_newest_day_is_judged_where_only_that_is_asked_for(published: duckdb.DuckDBPyConnection) -> None:
    days = {NOON + timedelta(days=day): np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]) for day in range(8)}
    labels = [(as_of, "C0", "books") for as_of in days]
    keep(published, days, {as_of: np.array([0, 2]) for as_of in days}, labels)
    counting = Counting(published)
    newest = next(matured_scores(counting))  # type: ignore[arg-type]
    assert (newest.as_of, counting.passes) == (NOON + timedelta(days=7), 1)


def test_the_figures_of_three_customers_are_those_worked_out_by_hand(published: duckdb.DuckDBPyConnection) -> None:
    """C0 bought books (.5), C1 nothing (.8), C2 from a category that the model does not know: it is left out."""
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.2, 0.6]])
    labels = [(NOON, "C0", "books"), (NOON, "C2", "garden")]
    keep(published, {NOON: probabilities}, {NOON: np.array([1, 2, 2])}, labels)
    (judged,) = matured_scores(published)
    assert (judged.rows, judged.unscored, judged.accuracy) == (2, 1, 0.5)
    assert judged.log_loss.estimate == pytest.approx(-np.log(0.5 * 0.8) / 2)
    assert judged.prior_log_loss == pytest.approx(np.log(2))
    # by class: books |.5 - 1| and .1, music .25 and .1, none .25 and |.8 - 1|; each is alone in its bin
    assert judged.calibration_error == pytest.approx((0.5 + 0.1 + 0.25 + 0.1 + 0.25 + 0.2) / 6)


def test_a_day_whose_customers_all_bought_from_unknown_categories_is_not_judged(published: duckdb.DuckDBPyConnection) -> None:
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    keep(published, {NOON: probabilities}, {NOON: np.array([1, 2])}, [(NOON, "C0", "garden"), (NOON, "C1", "pets")])
    assert list(matured_scores(published)) == []


def test_where_all_bought_the_same_no_multiple_of_the_priors_loss_is_reported(published: duckdb.DuckDBPyConnection) -> None:
    """The loss of their own shares is 0."""
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    labels = [(NOON, "C0", "books"), (NOON, "C1", "books")]
    keep(published, {NOON: probabilities}, {NOON: np.array([1, 2])}, labels)
    (judged,) = matured_scores(published)
    assert judged.prior_log_loss == 0
    metrics = {"model": {"log_loss": 0.4}, "prior": {"log_loss": 0.8}}
    loaded = SimpleNamespace(manifest=SimpleNamespace(metrics=metrics, rows_validation=50))
    measures = {measured.column: measured.value for measured in matured_measures(judged, cast("LoadedModel", loaded), {})}
    assert measures.keys() == {"matured_log_loss", "matured_calibration_error"}
    assert measures["matured_log_loss"] == pytest.approx(-np.log(0.5 * 0.1) / 2)
    varied = replace(judged, prior_log_loss=0.5)
    (relative,) = (
        measured
        for measured in matured_measures(varied, cast("LoadedModel", loaded), {})
        if measured.column == MATURED_TO_PRIOR
    )
    assert relative.value == pytest.approx(-np.log(0.5 * 0.1))  # half of it in multiples of .5


def test_labels_without_scores_and_places_without_either_are_no_days(published: duckdb.DuckDBPyConnection) -> None:
    assert list(matured_scores(published)) == []
    keep(published, {NOON: np.array([[0.2, 0.2, 0.6]])}, {NOON: np.array([2])}, [(NOON - timedelta(days=1), "C0", "books")])
    assert list(matured_scores(published)) == []
