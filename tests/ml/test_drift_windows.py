from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from customer360.settings import Shop
from ml.monitoring.daily import current_reference, window_samples
from ml.monitoring.performance import conditional_losses, surprise_limit, surprise_of_buyers
from ml.monitoring.reference import (
    LEAST_DAYS,
    REFERENCE_DAYS,
    Period,
    load_reference,
    make_reference,
    reference_period,
    save_reference,
    window_limits,
)
from ml.monitoring.windows import WindowReader
from ml.versions.model_store import LoadedModel

AS_OF = datetime(2026, 4, 30, 16)  # noqa: DTZ001 (published timestamps are plain UTC)
DAY = timedelta(days=1)
DAYS, CUSTOMERS = 60, 300
MOVED = 3  # of the last days, in `moved`: paid visits instead of direct ones, and prices a quarter up


def tables(connection: duckdb.DuckDBPyConnection, shop: Shop, moved_days: int = 0) -> None:
    """Sixty days of the published tables that windows are read from; in the last ``moved_days`` two things are different."""
    rng = np.random.default_rng(8)
    activity, product, visits, log = [], [], [], []
    for day_no in range(DAYS):
        end = AS_OF - day_no * DAY
        for customer in np.flatnonzero(rng.random(CUSTOMERS) < 0.4):
            category = str(rng.choice(shop.category_ids))
            views = int(rng.integers(1, 6))
            is_buyer = rng.random() < 0.3
            spend = round(float(rng.gamma(3, 20)), 2) if is_buyer else 0.0
            returned = 10.0 if (customer + day_no) % 7 == 0 else 0.0
            activity.append(
                (day_no, end, f"c{customer:03}", category, views, views * 20.0, 1, int(is_buyer), spend, returned, 2, 0)
            )
        is_moved = day_no < moved_days
        for number in range(20):
            price = (10 + number % 4) * (1.25 if is_moved else 1)
            product.append((end - timedelta(hours=number + 1), f"p{number % 4}", 1, price))
        shares = (0.2, 0.8) if is_moved else (0.8, 0.2)
        for medium, share in zip(("(none)", "cpc"), shares, strict=True):
            visits.append((end - timedelta(hours=3), medium, "web", int(rng.poisson(200 * share))))
        log.append((end - timedelta(hours=2), 1000, int(rng.integers(0, 4)), 2, 1))
    frames = {
        "monitoring_activity": pd.DataFrame(
            activity,
            columns=[
                *("day_no", "day_end", "customer_id", "category_id", "views", "dwell_seconds", "carts", "orders", "spend"),
                *("returned_amount", "offers_shown", "offers_clicked"),
            ],
        ),
        "monitoring_customers": pd.DataFrame(
            {
                "customer_id": [f"c{number:03}" for number in range(CUSTOMERS)],
                "known_at": [AS_OF - (DAYS * DAY if number else DAY / 2) for number in range(CUSTOMERS)],
            }
        ),
        "product_activity": pd.DataFrame(product, columns=["event_slice", "product_id", "purchases", "revenue"]),
        "traffic_sources": pd.DataFrame(visits, columns=["event_slice", "utm_medium", "device", "visits"]),
        "slice_log": pd.DataFrame(log, columns=["slice", "lines", "quarantined", "duplicates", "repeats"]),
    }
    for name, frame in frames.items():
        connection.register("rows", frame)
        connection.execute(f"create or replace table {name} as from rows")
        connection.unregister("rows")


@pytest.fixture
def calm(shop: Shop) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        tables(connection, shop)
        yield connection


@pytest.fixture
def moved(shop: Shop) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        tables(connection, shop, MOVED)
        yield connection


def test_a_window_has_every_sampled_customer_who_was_known_at_its_end(calm: duckdb.DuckDBPyConnection, shop: Shop) -> None:
    reader = WindowReader(calm, shop, AS_OF, 0)
    assert reader.first_day == DAYS - 1
    day = reader.window("24 hours", 0, 1, reader.prices(0, 30))
    before = reader.window("24 hours", 1, 1, reader.prices(0, 30))
    assert len(day["24 hours", "views"]) == CUSTOMERS
    assert len(before["24 hours", "views"]) == CUSTOMERS - 1  # one became known in the last hours
    (views, spend) = calm.execute("select sum(views), sum(spend) from monitoring_activity where day_no = 0").fetchone() or ()
    assert day["24 hours", "views"].sum() == views
    assert day["24 hours", "spend"].sum() == pytest.approx(spend)
    assert sum(day["24 hours", f"views_{category}"].sum() for category in shop.category_ids) == views
    (returned,) = calm.execute(
        "select count(distinct customer_id) from monitoring_activity where day_no = 0 and returned_amount > 0"
    ).fetchone() or (0,)
    assert returned > 3
    assert sorted(day["24 hours", "has_returned"]) == [0.0] * (CUSTOMERS - returned) + [1.0] * returned
    three = reader.window("3 days", 0, 3, reader.prices(0, 30))
    (views,) = calm.execute("select sum(views) from monitoring_activity where day_no <= 2").fetchone() or ()
    assert three["3 days", "views"].sum() == views
    (buyers,) = (
        calm.execute("select count(distinct customer_id) from monitoring_activity where day_no = 0 and orders > 0").fetchone()
        or ()
    )
    assert len(day["24 hours", "order_value"]) == buyers


def test_prices_visits_and_quality_of_a_window_are_those_of_its_hours(moved: duckdb.DuckDBPyConnection, shop: Shop) -> None:
    reader = WindowReader(moved, shop, AS_OF, 0)
    prices = reader.prices(10, 30)
    assert prices == {"p0": 10, "p1": 11, "p2": 12, "p3": 13}
    assert reader.window("24 hours", 0, 1, prices)["24 hours", "price_level"].tolist() == [1.25]
    assert reader.window("24 hours", MOVED, 1, prices)["24 hours", "price_level"].tolist() == [1.0]
    visits = reader.window("24 hours", 0, 1, prices)["24 hours", "utm_medium"].value_counts()
    known = dict(
        moved.execute(f"select utm_medium, visits from traffic_sources where event_slice > '{AS_OF - DAY}'").fetchall()
    )
    assert visits.to_dict() == known
    quality = reader.window("24 hours", 0, 1, prices)["quality", "repeated_share (24 hours)"]
    assert quality.tolist() == [0.003]


@pytest.mark.full
def test_a_reference_is_made_kept_and_read_back(calm: duckdb.DuckDBPyConnection, shop: Shop, tmp_path: Path) -> None:
    reader = WindowReader(calm, shop, AS_OF, 0)
    until = AS_OF - 5 * DAY - timedelta(hours=6)
    made = make_reference(reader, Period(until, REFERENCE_DAYS))
    ends = made.normal.loc[made.normal["kind"] == "24 hours", "day_end"]
    assert ends.max() == AS_OF - 6 * DAY <= until
    assert ends.nunique() == REFERENCE_DAYS
    assert made.normal.loc[made.normal["kind"] == "3 days", "day_end"].nunique() == REFERENCE_DAYS - 2
    save_reference(tmp_path, made)
    read = load_reference(tmp_path, until)
    assert read is not None
    assert (read.period, read.prices) == (made.period, made.prices)
    pd.testing.assert_frame_equal(read.normal, made.normal, check_dtype=False)
    assert read.values.keys() == made.values.keys()
    for key, values in made.values.items():
        assert read.values[key].tolist() == values.tolist()
    assert load_reference(tmp_path, until - DAY) is None


def test_a_reference_begins_with_the_last_change_and_needs_two_weeks() -> None:
    oldest = AS_OF - 70 * DAY
    assert reference_period(AS_OF, [], oldest) == Period(AS_OF, REFERENCE_DAYS)
    assert reference_period(AS_OF, [AS_OF - 20 * DAY], oldest) == Period(AS_OF, 20)
    assert reference_period(AS_OF, [AS_OF - 20 * DAY, AS_OF - 13 * DAY], oldest) is None
    assert reference_period(AS_OF, [AS_OF + DAY], oldest) == Period(AS_OF, REFERENCE_DAYS)  # it changed after the training
    assert reference_period(AS_OF, [], AS_OF - LEAST_DAYS * DAY) == Period(AS_OF, LEAST_DAYS)
    assert reference_period(AS_OF, [], AS_OF - (LEAST_DAYS - 1) * DAY) is None


@pytest.mark.full
def test_calm_windows_keep_within_their_thresholds_and_moved_ones_do_not(
    calm: duckdb.DuckDBPyConnection, moved: duckdb.DuckDBPyConnection, shop: Shop, tmp_path: Path
) -> None:
    beyond = {}
    for name, connection in (("calm", calm), ("moved", moved)):
        found = window_samples(connection, shop, tmp_path / name, [AS_OF - 10 * DAY], AS_OF)
        assert found is not None
        samples, limits = found
        assert all(limits[sample.key].is_learned for sample in samples)
        beyond[name] = {sample.key for sample in samples if sample.value >= limits[sample.key].threshold}
    assert beyond["calm"] == set()
    assert beyond["moved"] == {(kind, column) for kind in ("24 hours", "3 days") for column in ("price_level", "utm_medium")}


def test_before_the_first_night_there_are_no_windows(shop: Shop, tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        assert window_samples(connection, shop, tmp_path, [AS_OF], AS_OF) is None


@pytest.mark.full
def test_a_training_renews_the_reference_but_after_a_change_only_two_weeks_later(
    calm: duckdb.DuckDBPyConnection, shop: Shop, tmp_path: Path
) -> None:
    reader = WindowReader(calm, shop, AS_OF, 0)
    first, second = AS_OF - 20 * DAY, AS_OF - 2 * DAY
    (tmp_path / "changes.jsonl").write_text(
        f'{{"since": "{AS_OF - 12 * DAY}", "reported_on": "2026-04-20", "columns": ["24 hours: views"]}}\n', encoding="utf-8"
    )
    made = current_reference(reader, tmp_path, [second, first])
    assert made is not None
    assert made.period.until == first
    (tmp_path / "changes.jsonl").write_text(
        f'{{"since": "{AS_OF - 18 * DAY}", "reported_on": "2026-04-14", "columns": ["24 hours: views"]}}\n', encoding="utf-8"
    )
    renewed = current_reference(reader, tmp_path, [second, first])
    assert renewed is not None
    assert (renewed.period.until, renewed.period.days) == (second, 16)
    # Sixteen days are too few for thresholds: those of the reference before stand.
    limits = window_limits(tmp_path / "reference", renewed)
    assert limits["24 hours", "views"].basis == f"36 normal windows until {first:%Y-%m-%d}"


def scored(shop: Shop, shares: dict[str, dict[str, float]], at: datetime) -> pd.DataFrame:
    return pd.DataFrame(
        [(at, customer, category, share) for customer, by in shares.items() for category, share in by.items()],
        columns=["as_of", "customer_id", "category_id", "probability"],
    )


def test_the_surprise_of_buyers_is_the_loss_of_their_category_among_all_that_could_be_bought(
    calm: duckdb.DuckDBPyConnection, shop: Shop
) -> None:
    calm.execute("delete from monitoring_activity where day_no = 0")
    buyers = [f"c{number:03}" for number in range(40)]
    calm.executemany(
        "insert into monitoring_activity (day_no, customer_id, category_id, spend) values (0, ?, ?, ?)",
        [
            *((buyer, "computers", 50) for buyer in buyers[:20]),
            *((buyer, "fitness", 50) for buyer in buyers[20:]),
            *((buyer, "beauty", 10) for buyer in buyers),  # less was spent on it
        ],
    )
    shares = {"computers": 0.1, "fitness": 0.05, "beauty": 0.05, "other": 0.0, "none": 0.8}
    kept = pd.concat(
        [
            scored(shop, dict.fromkeys(buyers, shares), AS_OF - DAY - timedelta(hours=1)),
            scored(shop, {buyer: {**shares, "computers": 0.9, "none": 0.0} for buyer in buyers}, AS_OF),  # after they bought
        ]
    )
    calm.register("kept", kept)
    calm.execute("create table customer_scores_daily as from kept")
    found = surprise_of_buyers(calm, AS_OF)
    assert found is not None
    assert found.buyers == 40
    assert found.value == pytest.approx((-np.log(0.5) - np.log(0.25)) / 2)
    assert surprise_of_buyers(calm, AS_OF - 2 * DAY) is None  # no scores before
    assert surprise_of_buyers(calm, AS_OF + 5 * DAY) is None  # none of the three days before
    calm.execute("delete from monitoring_activity where customer_id >= 'c029'")
    assert surprise_of_buyers(calm, AS_OF) is None  # 29 buyers


def test_its_threshold_follows_the_buyers_that_judged_the_model(champion: LoadedModel, trained: object) -> None:
    training_set = trained.training_set  # type: ignore[attr-defined]
    judged = training_set.validation.assign(label=training_set.validation_labels)
    losses = conditional_losses(judged, champion)
    assert len(losses) == (training_set.validation_labels != "none").sum()
    few, many = surprise_limit(judged, champion, 100), surprise_limit(judged, champion, 10_000)
    assert few is not None
    assert many is not None
    assert few.threshold == pytest.approx(losses.mean() + 0.4 * losses.std())
    assert many.threshold == pytest.approx(losses.mean() + 0.04 * losses.std())
    assert surprise_limit(judged[judged["label"] == "none"], champion, 100) is None
