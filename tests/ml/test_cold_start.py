"""Products for visitors without history, by how they began: shares worked out by hand, and the gate."""

from __future__ import annotations

from datetime import datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import pytest

from ml.recommendations.cold_start import LEAST_SEEN, STRENGTHS, ColdStart, cold_start

NOW = datetime.fromisoformat("2026-05-31 12:00:00")
Start = tuple[
    float, str | None, str | None, str, str, str, int
]  # days ago, category, first product, referrer, device, product, visitors


def learned(*starts: Start) -> ColdStart:
    rows = pd.DataFrame(
        starts, columns=["days", "category_id", "first_product_id", "referrer", "device", "product_id", "visitors"]
    )
    moments = np.array([NOW - timedelta(days=days) for days in rows.pop("days")], dtype="datetime64[us]")
    with duckdb.connect() as connection:
        connection.execute("create schema intermediate; create schema raw")
        connection.execute(
            "create table intermediate.int_visit_starts_by_slice (slice timestamp, event_slice timestamp, category_id varchar, "
            "first_product_id varchar, referrer varchar, device varchar, product_id varchar, visitors bigint)"
        )
        connection.register("frame", rows.assign(slice=moments, event_slice=moments))
        connection.execute("insert into intermediate.int_visit_starts_by_slice by name from frame")
        connection.execute("create table raw.products (product_id varchar, category_id varchar, valid_to timestamp)")
        connection.execute("insert into raw.products values ('T1', 'tea', null)")
        connection.execute("create table raw.categories (category_id varchar, name varchar, valid_to timestamp)")
        connection.execute("insert into raw.categories values ('tea', 'Tea', null)")
        return cold_start(connection, NOW)


def scores(found: ColdStart, entry: str) -> dict[str, float]:
    rows = found.rows[found.rows["entry"] == entry]
    return dict(zip(rows["product_id"], rows["score"], strict=True))


def habits(days: int = 14, swapped: bool = False) -> list[Start]:
    """Who begins with tea sees T2 (9 of 10), who begins with coffee C2; ``swapped``: every other day the other way round."""
    found: list[Start] = []
    for day in range(days):
        for category, product, other in (("tea", "T2", "C2"), ("coffee", "C2", "T2")):
            likely = (other, product) if swapped and day % 2 else (product, other)
            found += [
                (day + 0.5, category, None, "a.example", "mobile", likely[0], 90),
                (day + 0.5, category, None, "a.example", "mobile", likely[1], 10),
            ]
    return found


# The 10 best are everything in a shop of two products: these fill the list of all visits.
POPULAR: list[Start] = [(10.0, "other", None, "b.example", "tablet", f"X{number}", 10_000) for number in range(10)]


def test_shares_are_smoothed_towards_those_of_the_wider_beginning() -> None:
    found = learned(*habits(), *POPULAR)
    weights = {day: 0.5 ** ((day + 0.5) / 7) for day in range(14)}
    tea, everyone = 100 * sum(weights.values()), 200 * sum(weights.values()) + 100_000 * 0.5 ** (10 / 7)
    popular = tea / everyone  # of T2: 90 of tea and 10 of coffee
    assert scores(found, "all")["T2"] == pytest.approx(popular)
    expected = (0.9 * tea + found.strength * popular) / (tea + found.strength)
    assert scores(found, "tea")["T2"] == pytest.approx(expected)
    narrower = (0.9 * tea + found.strength * expected) / (tea + found.strength)
    assert scores(found, "tea / a.example")["T2"] == pytest.approx(narrower)
    rows = found.rows.set_index(["entry", "product_id"])
    assert rows.loc[("tea / a.example", "T2"), "reason"] == "liked by visitors from a.example who begin with Tea"
    assert rows.loc[("coffee", "C2"), "reason"] == "liked by visitors who begin with coffee"
    assert rows.loc[("tea / a.example / mobile", "T2"), ["rank", "seen"]].tolist() == [1, 1400]
    assert pd.isna(rows.loc[("tea", "T2"), "referrer"])


def test_beginnings_serve_where_they_find_more_than_popularity_beyond_chance() -> None:
    found = learned(*habits(), *POPULAR)
    # of the last three days all products are among the ten of their beginning, and none among the ten of all visits
    assert (found.recall, found.popularity_recall) == (1, 0)
    assert found.is_better
    assert set(found.rows["entry"]) > {"all", "tea", "coffee / a.example / mobile"}
    assert found.strength in STRENGTHS


def test_popularity_serves_until_then_and_says_so() -> None:
    found = learned(*habits(swapped=True))  # two products: everybody's ten are the same
    assert not found.is_better
    assert set(found.rows["entry"]) == {"all"}
    assert "popularity serves until" in found.reason
    young = learned(*habits(days=2))
    assert set(young.rows["entry"]) == {"all"}
    assert "no visit of the last 3 days can be judged" in young.reason
    assert learned().rows.empty


def test_a_beginning_without_a_category_has_that_of_its_first_product_and_a_rare_one_has_no_rows() -> None:
    rare = [(5.0, "rare", None, "a.example", "mobile", "T2", LEAST_SEEN - 1)]
    first = [(day + 0.2, None, "T1", "(direct)", "mobile", "T2", 30) for day in range(8)]
    found = learned(*habits(), *POPULAR, *rare, *first)
    entries = set(found.rows["entry"])
    assert "rare" not in entries
    assert "tea / (direct)" in entries
    assert found.rows.loc[found.rows["entry"] == "tea / (direct)", "reason"].iloc[0] == "liked by visitors who begin with Tea"


def test_the_order_of_the_events_changes_nothing() -> None:
    starts = [*habits(), *POPULAR]
    shuffled = [starts[place] for place in np.random.default_rng(1).permutation(len(starts))]
    pd.testing.assert_frame_equal(learned(*starts).rows, learned(*shuffled).rows)
