"""Whole tables out and in, and one snapshot of the scores for every shop-local day."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from customer360.lake.warehouse.frames import (
    append_rows,
    keep_daily_snapshot,
    remove_old_snapshots,
    replace_table,
    snapshot_folder,
    write_parquet,
)
from customer360.settings import Settings, Shop


def scores(as_of: str, probability: float = 0.5) -> pa.Table:
    """One row; ``as_of`` is plain UTC, as the warehouse has it."""
    return pa.table({"customer_id": ["C1"], "probability": [probability], "as_of": [datetime.fromisoformat(as_of)]})


def kept(settings: Settings) -> dict[str, float]:
    """Probability by day."""
    files = sorted(snapshot_folder(settings.place).glob("*/part.parquet"))
    return {file.parent.name.removeprefix("day_key="): float(pd.read_parquet(file)["probability"].iloc[0]) for file in files}


def keep_snapshot(settings: Settings, shop: Shop, rows: pa.Table) -> None:
    with duckdb.connect() as connection:
        replace_table(connection, "scores", rows)
        keep_daily_snapshot(settings.place, shop, connection, "scores")


def keep(settings: Settings, as_of: str, probability: float) -> None:
    keep_snapshot(settings, settings.shop, scores(as_of, probability))


@pytest.mark.parametrize("before", [0, 1])
def test_rows_added_in_the_transaction_that_made_the_table_are_kept(before: int) -> None:
    """As scores are written: 20,000 customers with 7 classes are 140,000 rows, of which DuckDB kept none."""
    rows = pa.table({"customer_id": [f"C{number}" for number in range(140_000)], "probability": [0.5] * 140_000})
    with duckdb.connect() as connection:
        connection.begin()
        replace_table(connection, "scores", rows.slice(0, before))
        append_rows(connection, "scores", rows.slice(0, 0))
        append_rows(connection, "scores", rows)
        append_rows(connection, "scores", rows)
        connection.commit()
        kept_rows = connection.execute("select count(*), sum(probability) from scores").fetchone()
    assert kept_rows == (280_000 + before, (280_000 + before) / 2)


def test_a_table_that_is_replaced_has_the_types_of_the_rows_also_without_any() -> None:
    with duckdb.connect() as connection:
        replace_table(connection, "scores", scores("2026-05-01 10:00"))
        full = connection.execute("describe scores").fetchall()
        replace_table(connection, "scores", scores("2026-05-01 10:00").slice(0, 0))
        assert connection.execute("describe scores").fetchall() == full
        assert connection.execute("select count(*) from scores").fetchone() == (0,)


def test_the_first_scores_of_a_day_are_kept_and_later_ones_leave_them(settings: Settings) -> None:
    keep(settings, "2026-05-01 10:00", 0.1)
    keep(settings, "2026-05-01 10:15", 0.2)
    keep(settings, "2026-05-02 10:00", 0.3)
    keep(settings, "2026-05-01 10:30", 0.4)  # a repair of the day before
    assert kept(settings) == {"2026-05-01": 0.1, "2026-05-02": 0.3}


@pytest.mark.parametrize(
    ("zone", "as_of", "day"),
    [
        ("Europe/Amsterdam", "2026-05-01 21:45", "2026-05-01"),  # 23:45 in summer
        ("Europe/Amsterdam", "2026-05-01 22:00", "2026-05-02"),  # midnight in summer
        ("Europe/Amsterdam", "2026-12-01 22:45", "2026-12-01"),  # 23:45 in winter
        ("Europe/Amsterdam", "2026-12-01 23:00", "2026-12-02"),  # midnight in winter
        ("America/New_York", "2026-05-01 03:45", "2026-04-30"),
        ("America/New_York", "2026-05-01 04:00", "2026-05-01"),
        ("Asia/Kolkata", "2026-05-01 18:30", "2026-05-02"),
        ("UTC", "2026-05-01 23:45", "2026-05-01"),
    ],
)
def test_the_day_is_the_one_in_the_shop(settings: Settings, zone: str, as_of: str, day: str) -> None:
    shop = settings.shop.model_copy(update={"time_zone": zone})
    keep_snapshot(settings, shop, scores(as_of))
    assert list(kept(settings)) == [day]


def test_local_midnight_begins_a_new_snapshot(settings: Settings) -> None:
    keep(settings, "2026-05-01 21:45", 0.1)
    keep(settings, "2026-05-01 22:00", 0.2)
    keep(settings, "2026-05-02 21:45", 0.3)
    assert kept(settings) == {"2026-05-01": 0.1, "2026-05-02": 0.2}


def test_snapshots_are_kept_for_90_days(settings: Settings) -> None:
    for day in ("2026-04-30", "2026-05-02", "2026-05-03", "2026-08-01"):
        keep(settings, f"{day} 10:00", 0.1)
    now = datetime(2026, 8, 1, 10, tzinfo=UTC)  # 90 days after 3 May
    assert sorted(remove_old_snapshots(settings.place, now)) == ["day_key=2026-04-30", "day_key=2026-05-02"]
    assert list(kept(settings)) == ["2026-05-03", "2026-08-01"]
    assert remove_old_snapshots(settings.place, now) == []


def test_without_snapshots_there_is_nothing_to_remove(settings: Settings) -> None:
    assert remove_old_snapshots(settings.place, datetime(2026, 8, 1, tzinfo=UTC)) == []


def test_a_table_is_replaced_whole_with_its_types_also_by_no_rows() -> None:
    with duckdb.connect() as connection:
        connection.execute("create schema predictions")
        replace_table(connection, "predictions.scores", scores("2026-05-01 10:00", 0.1))
        replace_table(connection, "predictions.scores", scores("2026-05-01 10:15", 0.2))
        found = connection.execute("select customer_id, probability, as_of::varchar from predictions.scores").fetchall()
        assert found == [("C1", 0.2, "2026-05-01 10:15:00")]
        replace_table(connection, "predictions.scores", scores("2026-05-01 10:15").slice(0, 0))
        assert connection.execute("select count(*) from predictions.scores").fetchone() == (0,)
        types = [kind for _, kind, *_ in connection.execute("describe predictions.scores").fetchall()]
        assert types[:2] == ["VARCHAR", "DOUBLE"]
        assert types[2].startswith("TIMESTAMP")
        assert connection.execute("select count(*) from duckdb_views() where view_name = 'incoming'").fetchone() == (0,)


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(settings: Settings) -> None:
    target = settings.place.plans / "2026-05-01" / "campaign_plan.parquet"
    write_parquet(target, scores("2026-05-01 10:00", 0.1))
    write_parquet(target, scores("2026-05-01 10:15", 0.2))
    assert list(pd.read_parquet(target)["probability"]) == [0.2]
    assert [path.name for path in target.parent.iterdir()] == ["campaign_plan.parquet"]
