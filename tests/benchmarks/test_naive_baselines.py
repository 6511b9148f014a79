"""The baselines that first days are compared with, on a few orders whose figures can be counted by hand."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from benchmarks.first_day import clustered, found_faults
from benchmarks.naive_baselines import Baselines, Lines, naive_scores

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


def test_intervals_draw_customers_with_all_their_rows() -> None:
    """Ten customers with a hundred equal rows each tell as much as ten rows, and not as much as a thousand."""
    values = np.repeat(np.arange(10.0), 100)
    found = clustered(lambda rows: {"mean": float(values[rows].mean())}, pd.Series(np.repeat(np.arange(10), 100)))
    assert found["mean"] == 4.5
    assert found["mean_high"] - found["mean_low"] == pytest.approx(2 * 1.96 * np.std(np.arange(10)) / np.sqrt(10), rel=0.15)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({}, None),
        ({"log_loss_gain_high": -0.001}, "worse than its best baseline"),
        ({"auc_gain_high": -0.001}, "ranks worse"),
        ({"promised_rate": 0.056}, "5.6% were promised to buy and 8.4% did"),
        ({"promised_rate": 0.056, "real_rate_low": 0.05}, None),
        ({"promised_rate": 0.07}, None),
    ],
)
def test_a_shop_that_is_served_worse_than_a_baseline_is_named(changed: dict[str, float], fault: str | None) -> None:
    figures = {"log_loss_gain_high": 0.1, "auc_gain_high": 0.1, "promised_rate": 0.084}
    rates = {"real_rate": 0.084, "real_rate_low": 0.08, "real_rate_high": 0.088}
    faults = found_faults({**figures, **rates, **changed})
    assert len(faults) == (fault is not None)
    assert fault is None or fault in faults[0]
