"""Forecasts of spend: published parameters, formulas beside integrals, and what was known at a moment alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import beta

from benchmarks.lifetime import CDNOW_END, cdnow, order_days
from ml.arrays import Floats
from ml.lifetime.customer_lifetime import NO_ORDER, customer_lifetime
from ml.lifetime.forecasts import past_rate
from ml.lifetime.histories import histories, spent_between
from ml.lifetime.judging import deviances
from ml.lifetime.order_value import fit_order_value
from ml.lifetime.purchasing import Buying, Purchasing, fit_purchasing, likeliest_purchasing
from tests.support.reference_data import reference_data

NOW = datetime(2026, 5, 1, 22, 30)  # noqa: DTZ001 (UTC without a zone, as published tables have it): May 2nd in Amsterdam
ZONE = "Europe/Amsterdam"
PUBLISHED = Purchasing(0.243, 4.414, 0.793, 2.426, first_counts=False, log_likelihood=0)


def of(*customers: tuple[float, float, float]) -> Buying:
    return Buying(*np.array(customers, dtype=np.float64).T)


def test_parameters_of_cdnow_are_the_published_ones() -> None:
    rows = order_days(cdnow(reference_data("cdnow") / "CDNOW_sample.txt", 1, 0), CDNOW_END, "UTC")
    buying = of(*(rows[["frequency", "recency", "T"]].to_numpy() / [1, 7, 7]))
    model = fit_purchasing(buying, first_counts=False)
    assert (model.r, model.alpha, model.a, model.b) == pytest.approx((0.243, 4.414, 0.793, 2.426), abs=1e-3)
    assert model.log_likelihood == pytest.approx(-9582.4, abs=0.1)
    money = fit_order_value(buying.repeats, rows["value"].fillna(0).to_numpy(np.float64))
    assert (money.p, money.q, money.v) == pytest.approx((6.25, 3.74, 15.44), abs=0.01)


def test_a_customer_of_the_paper_is_expected_to_buy_as_published() -> None:
    """x = 2, t_x = 30.43, T = 38.86: 1.226 in the next 39 weeks (Fader, Hardie and Lee, the note on Excel)."""
    assert PUBLISHED.expected(of((2, 30.43, 38.86)), 39)[0] == pytest.approx(1.226, abs=5e-4)


@pytest.mark.parametrize("first_counts", [False, True])
@pytest.mark.parametrize("customer", [(0, 0, 39), (2, 30, 39), (400, 38, 39), (3_000, 38.9, 39), (1, 0.1, 39)])
@pytest.mark.parametrize("horizon", [1.0, 39.0, 500.0])
def test_expected_orders_are_the_integral_over_the_chance_of_loss(
    first_counts: bool, customer: tuple[float, float, float], horizon: float
) -> None:
    for a in (0.793, 1.0, 2.5):
        model = Purchasing(0.243, 4.414, a, 2.426, first_counts=first_counts, log_likelihood=0)
        repeats, _, age = customer

        def orders(chance: float, model: Purchasing = model, age: float = age, repeats: float = repeats) -> float:
            rate = 1 - (1 + chance * horizon / (model.alpha + age)) ** -(model.r + repeats)
            return float(rate / chance * beta.pdf(chance, model.a, model.b + repeats + first_counts))

        nodes = beta.ppf([0.001, 0.1, 0.5, 0.9, 0.999], a, model.b + repeats + first_counts)
        expected = quad(orders, 1e-12, 1, points=nodes, limit=500)[0] * model.alive(of(customer))[0]
        assert model.expected(of(customer), horizon)[0] == pytest.approx(expected, rel=2e-3)


def test_who_bought_once_is_alive_by_bgnbd_and_in_doubt_by_its_modification() -> None:
    once, steady = of((0, 0, 52)), of((10, 50, 52))
    assert PUBLISHED.alive(once) == 1
    other = Purchasing(0.525, 6.183, 0.891, 1.614, first_counts=True, log_likelihood=0)
    assert 0.2 < other.alive(once)[0] < 0.5
    assert other.alive(steady)[0] > 0.9
    assert 0 <= PUBLISHED.alive(of((5_000, 1, 5_000)))[0] < 1e-9  # its odds are beyond what a float holds


def test_the_likelier_model_recovers_the_one_that_made_the_histories() -> None:
    random = np.random.default_rng(7)
    rows = []
    for _ in range(4_000):
        rate, loss, at, times = random.gamma(0.8, 1 / 10), random.beta(0.9, 1.5), 0.0, []
        while random.random() >= loss and (at := at + random.exponential(1 / rate)) < 60:
            times.append(at)
        rows.append((float(len(times)), times[-1] if times else 0.0, 60.0))
    model = likeliest_purchasing(of(*rows))
    assert model.first_counts
    assert (model.a / (model.a + model.b)) == pytest.approx(0.9 / 2.4, abs=0.06)
    assert (model.r / model.alpha) == pytest.approx(0.08, rel=0.15)


def test_without_a_repeat_or_payments_there_is_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="no customer has bought on two days"):
        fit_purchasing(of((0, 0, 10), (0, 0, 20)), first_counts=True)
    with pytest.raises(ValueError, match="fewer than two customers have paid"):
        fit_order_value(np.array([1.0, 2.0]), np.array([0.0, 5.0]))


def test_mean_values_are_shrunk_the_less_the_more_orders_there_are() -> None:
    random = np.random.default_rng(3)
    orders = random.integers(1, 9, 2_000).astype(float)
    means = random.gamma(6 * orders, 1 / (random.gamma(4, 1 / 15, 2_000) * orders))
    model = fit_order_value(orders, means)
    one, many, returned, none = model.expected(np.array([1.0, 50, 1, 0]), np.array([100.0, 100, -20, np.nan]))
    assert none < one < many < 100
    assert 0 < returned < none
    assert none == pytest.approx(means.mean(), rel=0.15)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def fill(connection: duckdb.DuckDBPyConnection, rows: list[tuple[str, str, str, datetime, datetime, float]]) -> None:
    connection.execute(
        "create or replace table order_amounts (customer_id varchar, order_id varchar, kind varchar, happened_at timestamp, "
        "known_at timestamp, amount decimal(18, 2))"
    )
    frame = pd.DataFrame(rows, columns=["customer_id", "order_id", "kind", "happened_at", "known_at", "amount"])
    connection.register("incoming", frame)
    connection.execute("insert into order_amounts select * from incoming")
    connection.execute("create or replace table customer_features as select distinct customer_id from order_amounts")


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def test_histories_know_no_later_return_late_line_or_order(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [
        ("C1", "O1", "purchase", ago(40), ago(40), 30.0),
        ("C1", "O2", "purchase", ago(20), ago(20), 10.0),
        ("C1", "O3", "purchase", ago(20.01), ago(20.01), 5.0),  # a second order of that day
        ("C1", "O1", "return", ago(12), ago(12), -30.0),
        ("C2", "O4", "purchase", ago(15), ago(3), 99.0),  # came in late
        ("C3", "R1", "return", ago(30), ago(30), -7.0),  # of an order before the shop's data: no order
        ("C1", "O5", "purchase", ago(2), ago(2), 50.0),
    ]
    fill(connection, rows)
    known = histories(connection, ago(10), ZONE, 15)
    (row,) = known.to_dict("records")
    found = [row[name] for name in ("customer_id", "orders", "order_days", "age_days", "recency_days", "span_days")]
    assert found == ["C1", 3, 2, 31, 10, 21]  # local days: O1 came before summer time, at 23:30
    assert [row[name] for name in ("spend", "returned", "mean_value", "order_days_window", "spend_window")] == [
        15,
        30,
        7.5,
        1,
        15,
    ]
    assert histories(connection, ago(16), ZONE, 15)["spend"].to_list() == [45]  # before the return
    fill(connection, [row for row in rows if row[4] <= ago(10)])
    pd.testing.assert_frame_equal(histories(connection, ago(10), ZONE, 15), known)
    fill(connection, rows)
    assert spent_between(connection, ago(21), NOW, NOW).to_dict() == {"C1": 65, "C2": 99}
    assert spent_between(connection, ago(21), ago(10), ago(10)).to_dict() == {"C1": 15}
    assert spent_between(connection, ago(60), ago(29), NOW).to_dict() == {"C1": 0, "C3": -7}


def test_the_past_rate_does_not_extrapolate_the_young() -> None:
    customers = pd.DataFrame({"spend": [100.0, 100.0, -5.0], "age_days": [200.0, 1.0, 50.0]})
    assert past_rate(customers, 90).tolist() == [45, 100, 0]


def test_the_deviance_is_least_for_the_mean_and_the_absolute_error_for_nothing() -> None:
    real = np.array([0.0] * 6 + [10.0, 20.0, 30.0, 40.0])

    def constant(value: float) -> Floats:
        return np.full(10, value)

    tried = {value: deviances(constant(value), real).mean() for value in (0.0, 5.0, 9.0, 10.0, 11.0, 20.0)}
    assert min(tried, key=lambda value: tried[value]) == 10
    errors = {value: np.abs(constant(value) - real).mean() for value in tried}
    assert min(errors, key=lambda value: errors[value]) == 0
    assert np.isfinite(list(tried.values())).all()


def shoppers(count: int, days: int) -> list[tuple[str, str, str, datetime, datetime, float]]:
    """Customers with rates, losses and values of their own, over so many days before now."""
    random, rows = np.random.default_rng(11), []
    for number in range(count):
        gap, loss, value, at = random.uniform(4, 60), random.beta(1, 8), random.gamma(4, 8), random.uniform(0, days * 0.9)
        while at < days:
            amount = round(float(random.gamma(9, value / 9)) + 0.01, 2)
            rows.append((f"C{number:04}", f"O{len(rows)}", "purchase", ago(days - at), ago(days - at), amount))
            at += random.exponential(gap) if random.random() > loss else days
    return rows


def test_a_version_is_forecast_by_what_it_knew_and_the_total_comes_true(connection: duckdb.DuckDBPyConnection) -> None:
    rows = shoppers(500, 400)
    fill(connection, rows)
    then = ago(100)
    found = customer_lifetime(connection, then, ZONE)
    backtest = found.backtest
    assert set(backtest["horizon_days"]) == {90}
    assert (
        found.missing[365].startswith("the shop's history of ") and "shorter than what is to be forecast" in found.missing[365]
    )
    assert backtest["is_serving"].sum() == 1 and len(backtest) == 5
    losses = backtest.set_index("method")["deviance"]
    serves = backtest.loc[backtest["is_serving"], "method"].item()
    assert losses[serves] < losses["past rate"] and serves in {"trees and repeat buying", "repeat buying"}
    bought = found.rows[found.rows["orders"] > 0]
    assert bought["probability_alive"].between(0, 1).all()
    real = spent_between(connection, then, then + timedelta(days=90), NOW).reindex(bought["customer_id"]).fillna(0)
    assert bought["expected_spend_90d"].sum() / real.sum() == pytest.approx(1, abs=0.2)
    assert found.rows.loc[found.rows["orders"] == 0, "reason"].eq(NO_ORDER).all()
    assert bought["reason"].str.startswith("365 days: ").all()
    fill(connection, [row for row in rows if row[4] <= then])
    connection.execute(
        "create or replace table customer_features as select 'C' || lpad(range::varchar, 4, '0') as customer_id from range(500)"
    )
    again = customer_lifetime(connection, then, ZONE)
    pd.testing.assert_frame_equal(again.rows, found.rows)
    pd.testing.assert_frame_equal(again.backtest, backtest)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "the shop's history of 0 days"),
        ([("C1", "R1", "return", ago(200), ago(200), -5.0)], "the shop's history of 0 days"),
        (
            [("C1", "O1", "purchase", ago(100), ago(100), 5.0), ("C2", "O2", "purchase", ago(5), ago(5), 9.0)],
            "0 of the customers",
        ),
        (shoppers(30, 120), "of the customers known before bought in the 39 days that judge; 50 are needed"),
    ],
)
def test_a_small_or_young_shop_is_told_why_nothing_is_expected(
    connection: duckdb.DuckDBPyConnection, rows: list[tuple[str, str, str, datetime, datetime, float]], reason: str
) -> None:
    fill(connection, rows)
    connection.execute("insert into customer_features values ('NEW')")
    found = customer_lifetime(connection, NOW, ZONE)
    assert reason in found.missing[90]
    assert found.rows["expected_spend_90d"].isna().all() and not len(found.backtest)
    new = found.rows[found.rows["customer_id"] == "NEW"].iloc[0]
    assert (new["orders"], new["spend_to_date"], new["reason"]) == (0, 0, NO_ORDER)
