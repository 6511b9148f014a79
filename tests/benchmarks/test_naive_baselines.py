"""The baselines that first days are compared with, on a few orders whose figures can be counted by hand."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from benchmarks.first_day import churn_rows, clustered, comparison, found_faults, named, spend_rows, table_rows
from benchmarks.naive_baselines import Baselines, ChurnBaselines, Lines, Rates, SpendBaselines, is_lost, naive_scores

COLUMNS = ["order_id", "line_no", "product_id", "customer_id", "purchased_at", "quantity", "amount", "category_id"]
CUTOFF = datetime(2026, 3, 1)  # noqa: DTZ001  naive UTC
CLASSES = ("books", "music", "other", "none")


def at(day: int) -> datetime:
    """The noon of a day, counted from the cut-off."""
    return CUTOFF + timedelta(days=day, hours=12)


@pytest.fixture
def lines() -> Lines:
    rows = [
        ("o1", 1, "b", "A", at(-20), 1, "10.00", "books"),
        ("o1", 1, "b", "A", at(-20), 1, "10.00", "books"),  # sent twice: one line
        ("o2", None, "b", "A", at(-3), 1, "5.00", "books"),
        ("o2", None, "b", "A", at(-3), 1, "5.00", "books"),  # without numbers: two lines
        ("o3", 1, "m", "B", at(-9), 1, "7.00", "music"),
        ("r3", 1, "m", "B", at(-1), -1, "-7.00", "music"),  # a return is no sale
        ("o4", 1, "x", "C", at(-40), 1, "1.00", None),
        ("g1", 1, "b", None, at(-2), 1, "99.00", "books"),  # a guest is nobody's
        ("o5", 1, "m", "A", at(0), 1, "6.00", "music"),
        ("o5", 2, "b", "A", at(0), 1, "6.00", "books"),  # as much as music: the first by name
        ("r5", 1, "x", "B", at(1), -1, "-3.00", None),  # only returned
        ("o6", 1, "b", "C", at(9), 1, "8.00", "books"),  # after the horizon
    ]
    return Lines.of(pd.DataFrame(rows, columns=COLUMNS), ["books", "music"], timedelta(days=7))


def test_labels_are_the_category_of_the_highest_net_spend_within_the_horizon(lines: Lines) -> None:
    labels = lines.labels(CUTOFF, pd.Index(["A", "B", "C"]))
    assert [CLASSES[number] for number in labels] == ["books", "none", "none"]


def test_what_is_known_counts_sold_lines_before_the_cutoff(lines: Lines) -> None:
    known = lines.known(CUTOFF).of(pd.Index(["A", "B", "C", "D"]))
    assert known.counts.to_numpy().tolist() == [[3, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert known.last_category.tolist() == ["books", "music", "other", "none"]
    assert known.orders.tolist() == [2, 1, 1, 0]
    assert known.recency_days.fillna(-1).tolist() == [2, 8, 39, -1]
    order = ["D", "C", "B", "A"]
    for name, scores in naive_scores(known).items():
        ranked = [known.counts.index[number] for number in np.argsort(scores, kind="stable")]
        assert ranked[0] == order[0], name
        assert ranked[-1] == order[-1], name


def test_a_baseline_sees_nothing_after_the_first_day(lines: Lines) -> None:
    before = lines.frame[lines.frame["purchased_at"] < CUTOFF]
    blind = Lines(before, lines.classes, lines.horizon)
    known = lines.known(CUTOFF)
    seen, unseen = (Baselines.fit(those, CUTOFF).probabilities(known) for those in (lines, blind))
    assert seen.keys() == unseen.keys()
    for name, probabilities in seen.items():
        np.testing.assert_array_equal(probabilities, unseen[name], err_msg=name)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, err_msg=name)


def test_own_shares_follow_what_a_customer_bought(lines: Lines) -> None:
    customers = pd.Index(["A", "B"])
    fitted = Baselines.fit(lines, CUTOFF)
    shares = fitted.probabilities(lines.known(CUTOFF).of(customers))["own category shares"]
    strength = fitted.strengths["own category shares"]
    among = fitted.prior[:3] / fitted.prior[:3].sum()
    assert shares[0, 0] == pytest.approx((3 + strength * among[0]) / (3 + strength) * (1 - fitted.prior[3]))
    assert shares[1, 1] == pytest.approx((1 + strength * among[1]) / (1 + strength) * (1 - fitted.prior[3]))


def test_spend_is_net_of_returns_and_never_below_nothing(lines: Lines) -> None:
    customers = pd.Index(["A", "B", "C", "D"])
    assert lines.spend(CUTOFF, CUTOFF + lines.horizon, customers).tolist() == [12, 0, 0, 0]  # B only returned; C bought later
    assert lines.spend(CUTOFF - lines.horizon, CUTOFF, customers).tolist() == [10, 0, 0, 0]
    assert lines.orders(CUTOFF - 2 * lines.horizon, CUTOFF, customers).tolist() == [1, 1, 0, 0]


def test_expected_spend_by_rules_is_own_mean_order_times_orders_and_what_was_spent_last(lines: Lines) -> None:
    known = lines.known(CUTOFF).of(pd.Index(["A", "B", "C", "D"]))
    fitted = SpendBaselines(lines, 4.0, 9.0, Rates(0.5, {str(known.cells()[0]): 2.0}))
    amounts = fitted.amounts(CUTOFF, known)
    # A: 20.00 in two orders; B: 7.00 less 7.00 in one; C: 1.00; D has the mean order of all
    assert amounts["own mean order x orders by recency and frequency"].tolist() == [20, 0, 0.5, 4.5]
    assert amounts["overall mean"].tolist() == [4, 4, 4, 4]
    assert amounts["last horizon's spend"].tolist() == [10, 0, 0, 0]


def test_mean_spend_is_that_of_the_weeks_before_the_first_day(lines: Lines) -> None:
    """A, B and C are known 7 days before, A and C 14, C alone 21, 28 and 35: 8 rows, of which A's orders once, for 10.00."""
    fitted = SpendBaselines.fit(lines, CUTOFF)
    assert (fitted.overall_mean, fitted.orders.overall, fitted.mean_order) == (10 / 8, 1 / 8, 10)


def test_a_band_is_smoothed_with_ten_rows_of_all(lines: Lines) -> None:
    rates = Rates.fit(np.array(["a", "a", "b"]), np.array([True, True, False]), 0.5)
    assert rates.of(np.array(["a", "b", "c"])).tolist() == pytest.approx([7 / 12, 5 / 11, 0.5])


def test_who_only_returns_is_lost_and_the_rules_of_churn_see_nothing_after_the_first_day(lines: Lines) -> None:
    known = lines.known(CUTOFF).of(pd.Index(["A", "B", "C", "D"]))
    fortnight = timedelta(days=14)
    assert is_lost(lines, CUTOFF, lines.horizon, known.counts.index).tolist() == [False, True, True, True]
    assert is_lost(lines, CUTOFF, fortnight, known.counts.index).tolist() == [False, True, False, True]
    blind = Lines(lines.frame[lines.frame["purchased_at"] < CUTOFF], lines.classes, lines.horizon)
    fitted = ChurnBaselines.fit(lines, CUTOFF, fortnight)
    assert fitted == ChurnBaselines.fit(blind, CUTOFF, fortnight)
    # cut-offs 14, 21, 28 and 35 days before; A, known at the first, bought again, and C, known at all four, did not
    assert fitted.probabilities(known)["prior"].tolist() == pytest.approx([5 / 7] * 4)


def test_spend_is_compared_by_errors_and_its_total() -> None:
    customers = pd.Index([f"c{number}" for number in range(40)])
    came = np.array([0.0, 8.0] * 20)
    compared = comparison(spend_rows(np.full(40, 5.0), came, {"nothing": np.zeros(40), "own": came + 1.0}, customers))
    figures = named("spend", compared.figures)
    assert (figures["spend_mae"], figures["spend_best_baseline_mae"], figures["spend_mae_nothing"]) == (4, 1, 4)
    assert figures["spend_rmse"] == pytest.approx(17**0.5)  # errors of 5 and 3
    assert figures["spend_rmse_gain"] == pytest.approx(1 - 17**0.5)
    assert (figures["spend_promised"], figures["spend_real"], figures["spend_total_ratio"]) == (5, 4, 1.25)
    assert (figures["spend_best_baseline_total_ratio"], figures["spend_total_ratio_nothing"]) == (1.25, 0)  # 5 a customer and 0
    assert figures["spend_total_ratio_low"] < 1.25 < figures["spend_total_ratio_high"]
    absolute, squared = table_rows("shop, 7 days", "spend", compared)
    assert absolute.startswith("| shop, 7 days | spend | mean absolute error | 4.00 | 1.00 own | -3.00 (")
    assert "| - | - | 5.00 | 4.00 (" in squared


def test_churn_is_compared_by_log_loss_and_ranking(lines: Lines) -> None:
    known = lines.known(CUTOFF).of(pd.Index(["A", "B", "C", "D"]))
    lost = np.array([False, True, True, True])
    baselines = {"prior": np.full(4, 0.5), "recency": np.array([0.5, 0.5, 0.5, 0.9])}
    rows = churn_rows(np.array([0.2, 0.8, 0.8, 0.8]), lost, baselines, known)
    compared = comparison(rows)
    figures = named("churn", compared.figures)
    assert figures["churn_log_loss"] == pytest.approx(-np.log(0.8))
    assert compared.best == {"log_loss": "recency", "ranking": "recency"}
    assert (figures["churn_auc"], figures["churn_naive_auc"]) == (1, 1)
    assert figures["churn_promised_rate"] == pytest.approx(0.65)
    assert figures["churn_real_rate"] == 0.75


def test_intervals_draw_customers_with_all_their_rows() -> None:
    """Ten customers with a hundred equal rows each tell as much as ten rows, and not as much as a thousand."""
    values = np.repeat(np.arange(10.0), 100)
    found = clustered(lambda rows: {"mean": float(values[rows].mean())}, pd.Index(np.repeat(np.arange(10), 100)))
    assert found["mean"] == 4.5
    assert found["mean_high"] - found["mean_low"] == pytest.approx(2 * 1.96 * np.std(np.arange(10)) / np.sqrt(10), rel=0.15)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({}, None),
        ({"log_loss_gain_high": -0.001}, "worse than its best baseline"),
        ({"auc_gain_high": -0.001}, "ranks worse"),
        ({"promised": 0.056}, "5.6% a customer was promised, 8.4% came"),
        ({"promised": 0.056, "real_low": 0.05}, None),
        ({"promised": 0.07}, None),
        ({"mae_gain_high": -0.001}, None),  # lowest for the median, which is no expectation
        ({"rmse_gain_high": -0.001}, "worse than its best baseline"),
        ({"promised": 0.5, "total_ratio": 5.95}, "0.50 a customer was promised, 0.08 came"),
    ],
)
def test_a_shop_that_is_served_worse_than_a_baseline_is_named(changed: dict[str, float], fault: str | None) -> None:
    figures = {"log_loss_gain_high": 0.1, "auc_gain_high": 0.1, "promised": 0.084}
    rates = {"real": 0.084, "real_low": 0.08, "real_high": 0.088}
    faults = found_faults({**figures, **rates, **changed})
    assert len(faults) == (fault is not None)
    assert fault is None or fault in faults[0]
