"""The list of a visit, replayed by the function of the service beside its sources; what serves, and what is kept for BI."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from customer360.lake.publishing.tables import TABLES
from customer360.recommendations.recommend import AFFINITY, BLEND, SESSION
from customer360.settings import Place
from ml.bootstrap import Interval
from ml.recommendations.backtest_table import Outcome, keep_backtest
from ml.recommendations.list_backtest import Known, ListBacktest, beginnings, list_backtests, served
from ml.recommendations.measures import Comparison
from ml.recommendations.session_backtest import SessionBacktest, backtest, splits_of
from ml.recommendations.sessions import Sessions, sessions_of

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
VISITS = 300


def visits(change_at: int) -> Sessions:
    """A visit each hour, of customers and visitors in turn: letters in order; from a visit on customers go on to their own."""
    rows = []
    for number in range(VISITS):
        is_customer = number % 2 == 0
        user = f"C{number // 2 % 10}" if is_customer else f"V{number}"
        start = (7 * number) % 26
        products = [ALPHABET[(start + place) % 26] for place in range(6)]
        if is_customer and number >= change_at:
            products = [products[0], *(f"own-{user}-{(number + place) % 10}" for place in range(5))]
        rows += [(f"{user}/{number:03}", product, number * 60 + minute) for minute, product in enumerate(products)]
    frame = pd.DataFrame(rows, columns=["session_id", "product_id", "minute"])
    return sessions_of(frame.assign(happened_at=pd.Timestamp("2026-05-01") + pd.to_timedelta(frame["minute"], unit="min")))


def affinity_at(_moment: datetime) -> pd.DataFrame:
    customers, products = np.repeat([f"C{number}" for number in range(10)], 10), np.tile(np.arange(10), 10)
    rows = [
        {"customer_id": customer, "product_id": f"own-{customer}-{place}", "rank": place + 1, "probability": 0.1}
        for customer, place in zip(customers, products, strict=True)
    ]
    return TABLES["product_affinity"].typed(pd.DataFrame(rows).assign(reason="", model_version="v1", as_of=pd.Timestamp(0)))


@cache
def judged(change_at: int) -> tuple[Sessions, SessionBacktest, Known, list[ListBacktest]]:
    learned = visits(change_at)
    visitors = {str(name) for name in learned.ids if str(name).startswith("V")}
    known = Known(visitors, dict.fromkeys(ALPHABET, "letters"), affinity_at, datetime(2026, 5, 1))  # noqa: DTZ001 (plain UTC)
    found = backtest(learned)
    return learned, found, known, list_backtests(found, known)


@pytest.mark.parametrize(
    ("low", "high", "serves", "is_beaten"),
    [(0.001, 0.02, BLEND, False), (-0.005, 0.001, AFFINITY, False), (-0.02, -0.001, AFFINITY, True)],
)
def test_the_best_source_serves_until_the_blend_is_better_beyond_chance(
    low: float, high: float, serves: str, is_beaten: bool
) -> None:
    found = ListBacktest("customers", Comparison(pd.DataFrame(), pd.DataFrame(), BLEND, AFFINITY, Interval(0.0, low, high), 2))
    assert (found.serves, found.is_beaten) == (serves, is_beaten)
    assert found.reason.startswith("the blend serves" if serves == BLEND else "'affinity' serves customers: the blend is ")


def test_the_session_alone_serves_where_the_blend_adds_nothing() -> None:
    _, _, _, (customers, visitors) = judged(VISITS)
    assert (customers.serves, visitors.serves) == (SESSION, SESSION)
    assert customers.comparison is not None
    assert set(customers.comparison.table["method"]) == {BLEND, SESSION, AFFINITY, "popularity"}


@pytest.mark.full
def test_a_source_that_is_better_alone_beyond_chance_serves_and_says_so() -> None:
    # customers change their habit in the newest twentieth of the visits, after the share of affinity was learned
    learned, found, known, lists = judged(VISITS - VISITS // 20)
    assert [of.serves for of in lists] == [AFFINITY, SESSION]
    assert lists[0].reason.startswith("'affinity' serves customers: the blend is worse beyond chance over 1 split (-")
    assert served(learned, found, lists, known).lists.tolist() == [AFFINITY, SESSION]


def test_a_model_of_affinity_that_knows_the_judged_time_judges_no_list_of_customers() -> None:
    _, found, known, _ = judged(VISITS)
    later = Known(known.visitors, known.category_of, affinity_at, datetime(2027, 1, 1))  # noqa: DTZ001 (plain UTC)
    customers, visitors = list_backtests(found, later)
    assert (customers.serves, customers.comparison) == (SESSION, None)
    assert visitors.comparison is not None


def test_visits_of_the_past_have_what_followed_the_category_of_their_first_product() -> None:
    found = beginnings(visits(VISITS), {letter: "vowels" if letter in "AEIOU" else "others" for letter in ALPHABET})
    assert "all" in found
    assert sum(row.score for row in found["all"]) <= 1
    assert len(found["all"]) == 20


def test_each_newest_tenth_judges_where_enough_sessions_are_left_before_it() -> None:
    assert splits_of(2_000) == [(1_400, 1_600), (1_600, 1_800), (1_800, 2_000)]
    assert splits_of(1_250) == [(1_000, 1_125), (1_125, 1_250)]
    assert splits_of(300) == [(270, 300)]


def test_the_table_has_every_split_and_method_and_says_which_serves(tmp_path: Path) -> None:
    _, found, _, _ = judged(VISITS)
    outcome = Outcome("next_product", found.comparison, found.serves, found.reason)
    keep_backtest(Place(root=tmp_path), "session_model", [outcome], datetime(2026, 5, 20))  # noqa: DTZ001 (plain UTC)
    (file,) = tmp_path.rglob("*.parquet")
    rows = pq.read_table(file).to_pandas()
    table = TABLES["recommendation_backtest"]
    assert list(rows.columns) == [column.name for column in table.columns]
    assert not rows.duplicated(list(table.grain)).any()
    assert set(rows["split"]) == {"all", "1"}
    assert set(rows.loc[rows["is_serving"], "method"]) == {found.serves}
    every = rows[(rows["split"] == "all") & (rows["history"] == "all")]
    assert (every["cases"] == 6 * VISITS // 10).all()
    assert (every["users"] == 10 + VISITS // 20).all()
    required = [column.name for column in table.columns if column.required]
    assert rows[required].notna().all().all()
