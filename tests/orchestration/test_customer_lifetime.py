"""The forecast of a day on a small published place: published beside its judgement, or empty with the reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from assets.predictions.customer_lifetime import BACKTEST_KEY, CHECK, KEY, lifetime
from customer360.lake.publishing.publishing import publish
from customer360.lake.publishing.version import open_version
from customer360.settings import REPOSITORY, Settings
from orchestration.resources import Platform

TINY = REPOSITORY / "tests" / "shops" / "tiny"
AS_OF = datetime(2026, 5, 1, 22, 30, tzinfo=UTC)
CUSTOMERS = "select 'C' || range as customer_id from range(300)"
# Customer C<n> buys for 20 + n % 7 every 5 + n % 40 days, of 300 days; every third is lost half-way.
ORDERS = """
    select 'C' || n as customer_id, 'O' || n || '-' || k as order_id, 'purchase' as kind,
        bought_at as happened_at, bought_at as known_at, (20 + n % 7)::decimal(18, 2) as amount
    from (
        select n, k, timestamp '2025-07-01 10:00' + to_days((n % 11 + k * (5 + n % 40))::integer) as bought_at
        from range(299) as customers (n), range(60) as orders (k)
    )
    where bought_at < timestamp '2026-05-01' and (n % 3 > 0 or bought_at < timestamp '2025-12-01')
"""


def run(folder: Path, tables: dict[str, str]) -> tuple[dg.ExecuteInProcessResult, Settings]:
    settings = Settings.load(TINY, folder)
    with duckdb.connect() as connection:
        publish(settings.place, connection, tables, AS_OF, AS_OF)
    platform = Platform(shop_folder=str(TINY), data_dir=str(folder))
    return dg.materialize([lifetime], resources={"platform": platform}), settings


def metadata(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict[str, Any]:
    (event,) = [event for event in result.get_asset_materialization_events() if event.asset_key == key]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_forecasts_are_published_with_their_judgement(tmp_path: Path) -> None:
    result, settings = run(tmp_path, {"customer_features": CUSTOMERS, "order_amounts": ORDERS})
    with open_version(settings.place) as version:
        rows = version.connection.execute("from customer_lifetime").df().set_index("customer_id")
        judged = version.connection.execute("from lifetime_backtest").df()
    assert len(rows) == 300 and rows.loc["C299", "reason"] == "no order yet"
    assert rows.loc["C1", ["orders", "spend_to_date"]].to_list() == [51, 51 * 21]
    lost, steady = rows.loc["C3"], rows.loc["C4"]
    assert lost["probability_alive"] < 0.1
    assert steady["probability_alive"] > 0.9
    assert lost["expected_spend_90d"] < 0.1 * steady["expected_spend_90d"]
    assert rows["expected_spend_365d"].isna().all() and "365 days" in steady["reason"]
    assert judged["is_serving"].sum() == 1
    assert metadata(result, KEY)["expected_spend_90d"] == pytest.approx(rows["expected_spend_90d"].sum())
    shown = metadata(result, BACKTEST_KEY)
    assert "past rate" in shown["backtest"] and shown["plot_total_ratio"].startswith(
        "![expected over real spend](data:image/png"
    )
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == (CHECK, judged.loc[judged["is_serving"], "total_ratio"].between(0.9, 1.1).item())


def test_before_the_first_night_there_are_no_rows_and_a_reason(tmp_path: Path) -> None:
    result, settings = run(tmp_path, {"customer_features": CUSTOMERS})
    assert (
        metadata(result, KEY)["missing"] == "90 days: order_amounts is not published; 365 days: order_amounts is not published"
    )
    with open_version(settings.place) as version:
        assert version.connection.execute("select count(*) from customer_lifetime").fetchall() == [(0,)]
