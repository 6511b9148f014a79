"""Matured scores: the database's figures are those of ``ml.measures`` on the same rows."""

from __future__ import annotations

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
from ml.monitoring.matured import MaturedScores, matured_scores
from ml.monitoring.performance import MATURED_TO_PRIOR, matured_measures
from ml.monitoring.thresholds import Measured
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
    labels: list[tuple[datetime, str, str | None]],
) -> None:
    """Scores of customers C0, C1, ... (rows) by class (columns), rows shuffled; and labels, None: not known yet."""
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


def test_who_was_not_known_yet_is_not_judged(published: duckdb.DuckDBPyConnection) -> None:
    """C1 is known only since a later moment: neither a purchase nor the lack of one judges the scores of before."""
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.2, 0.6]])
    keep(published, {NOON: probabilities}, {NOON: np.array([1, 2, 2])}, [(NOON, "C0", "books"), (NOON, "C1", None)])
    (judged,) = matured_scores(published)
    assert (judged.rows, judged.buyers, judged.unscored, judged.accuracy) == (2, 1, 0, 0.5)
    assert judged.log_loss.estimate == pytest.approx(-np.log(0.5 * 0.6) / 2)
    # by class: books |.5 - 1| and .2, music .25 and .2 (one bin), none .25 and |.6 - 1|
    assert judged.calibration_error == pytest.approx((0.5 + 0.2 + 0.45 + 0.25 + 0.4) / 6)

    keep(published, {NOON: probabilities}, {NOON: np.array([1, 2, 2])}, [(NOON, f"C{row}", None) for row in range(3)])
    assert list(matured_scores(published)) == []


def manifest_of(serves: str, **log_losses: float) -> LoadedModel:
    metrics = {name: {"log_loss": loss} for name, loss in log_losses.items()}
    manifest = SimpleNamespace(metrics=metrics, served_metrics=metrics[serves], rows_validation=50)
    return cast("LoadedModel", SimpleNamespace(manifest=manifest))


def measured_by_name(judged: MaturedScores, loaded: LoadedModel) -> dict[str, Measured]:
    return {measured.column: measured for measured in matured_measures(judged, loaded, {})}


def test_where_all_bought_the_same_no_multiple_of_the_priors_loss_is_reported(published: duckdb.DuckDBPyConnection) -> None:
    """The loss of their own shares is 0."""
    probabilities = np.tile([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], (50, 1))
    keep(published, {NOON: probabilities}, {NOON: np.ones(100, dtype=int)}, [(NOON, f"C{row}", "books") for row in range(100)])
    (judged,) = matured_scores(published)
    assert (judged.prior_log_loss, judged.relative_error) == (0, 0)
    measures = measured_by_name(judged, manifest_of("model", model=0.4, prior=0.8))
    assert measures.keys() == {"matured_log_loss", "matured_calibration_error"}
    assert measures["matured_log_loss"].value == pytest.approx(-np.log(0.5 * 0.1) / 2)


def test_the_multiple_of_the_priors_loss_waits_for_thirty_buyers_and_thirty_others(
    published: duckdb.DuckDBPyConnection,
) -> None:
    def judged_with(buyers: int, rows: int) -> MaturedScores:
        probabilities = np.tile([0.5, 0.25, 0.25], (rows, 1))
        labels = [(NOON, f"C{row}", "books") for row in range(buyers)]
        keep(published, {NOON: probabilities}, {NOON: np.zeros(rows, dtype=int)}, labels)
        return next(matured_scores(published))

    loaded = manifest_of("model", model=0.4, prior=0.8)
    has_multiple = [
        MATURED_TO_PRIOR in measured_by_name(judged_with(buyers, rows), loaded)
        for buyers, rows in ((29, 200), (30, 200), (30, 59), (30, 60))
    ]
    assert has_multiple == [False, True, False, True]


@pytest.mark.full
@pytest.mark.parametrize("days", [80, pytest.param(300, marks=pytest.mark.exhaustive)])
def test_scores_as_good_as_when_they_were_judged_raise_no_alarm_by_chance(
    published: duckdb.DuckDBPyConnection, days: int
) -> None:
    """Scores are the true probabilities: half of the gain over the prior is lost by chance on some days, none alarms."""
    chance = np.random.default_rng(1)
    half_lost = 0
    for _ in range(days):
        buys = chance.choice([0.1, 0.4], 250, p=[0.7, 0.3])
        probabilities = np.column_stack([buys * 0.5, buys * 0.5, 1 - buys])
        labels = [(NOON, f"C{row}", chance.choice(["books", "music"])) for row in np.flatnonzero(chance.random(250) < buys)]
        keep(published, {NOON: probabilities}, {NOON: np.zeros(250, dtype=int)}, labels)
        (judged,) = matured_scores(published)
        loaded = manifest_of("blend", blend=expected_loss([0.1, 0.4]), model=0.1, prior=expected_loss([0.19, 0.19]))
        relative = measured_by_name(judged, loaded)[MATURED_TO_PRIOR]
        half_lost += relative.value > (1 + expected_loss([0.1, 0.4]) / expected_loss([0.19, 0.19])) / 2
        assert relative.limit is not None
        assert relative.value < relative.limit.threshold
    assert half_lost > days / 15


def expected_loss(rates: list[float]) -> float:
    """Of buyers with these rates, 70% with the first: category by a coin."""
    shares = np.column_stack([np.array(rates) / 2, np.array(rates) / 2, 1 - np.array(rates)])
    return float(np.dot([0.7, 0.3], -(shares * np.log(shares)).sum(axis=1)))


def test_scores_that_no_longer_tell_raise_an_alarm(published: duckdb.DuckDBPyConnection) -> None:
    """The customers who bought are those who were to buy least."""
    buys = np.repeat([0.02, 0.4], [1400, 600])
    probabilities = np.column_stack([buys * 0.5, buys * 0.5, 1 - buys])
    labels = [(NOON, f"C{row}", "books") for row in range(300)]
    keep(published, {NOON: probabilities}, {NOON: np.zeros(2000, dtype=int)}, labels)
    (judged,) = matured_scores(published)
    relative = measured_by_name(judged, manifest_of("model", model=0.3, prior=0.45))[MATURED_TO_PRIOR]
    assert relative.limit is not None
    assert relative.value > relative.limit.threshold


def test_the_standard_error_of_the_multiple_is_that_of_resamples(published: duckdb.DuckDBPyConnection) -> None:
    chance = np.random.default_rng(3)
    probabilities = chance.dirichlet([1, 2, 6], 1500)
    truth = np.array([chance.choice(3, p=row) for row in probabilities])
    labels = [(NOON, f"C{row}", CLASSES[k]) for row, k in enumerate(truth) if CLASSES[k] != "none"]
    keep(published, {NOON: probabilities}, {NOON: truth}, labels)
    (judged,) = matured_scores(published)
    losses = row_losses(probabilities, truth)
    ratios = []
    for _ in range(1000):
        rows = chance.integers(0, len(truth), len(truth))
        shares = np.bincount(truth[rows], minlength=3) / len(rows)
        ratios.append(losses[rows].mean() / -(shares * np.log(shares)).sum())
    assert judged.relative_error == pytest.approx(np.std(ratios), rel=0.1)


def test_labels_without_scores_and_places_without_either_are_no_days(published: duckdb.DuckDBPyConnection) -> None:
    assert list(matured_scores(published)) == []
    keep(published, {NOON: np.array([[0.2, 0.2, 0.6]])}, {NOON: np.array([2])}, [(NOON - timedelta(days=1), "C0", "books")])
    assert list(matured_scores(published)) == []
