"""The columns of audiences: what they mean, and how their values are spread."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from customer360.audiences.columns import Distribution, Distributions, described_columns, distribution
from customer360.campaigns.audience import Column, audience_columns
from customer360.snapshot import open_snapshot
from tests.support.audience_shop import SHOP, audience_shop


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    found = duckdb.connect()
    found.execute(
        """
        create table customer_features as
        select 'C' || i as customer_id, if(i % 5 = 0, null, i) as age,
            if(i < 50, 'Utrecht', if(i < 52, 'Delft', 'c' || i)) as city, nullif(i % 3, 0) = 1 as vip
        from range(100) as t (i)
        """
    )
    found.execute(
        "create table customer_scores as "
        "select 'C1' as customer_id, 'music' as category_id, .25 as probability, true as is_label"
    )
    return found


def test_a_text_shows_its_most_frequent_values_and_none_of_a_single_customer(connection: duckdb.DuckDBPyConnection) -> None:
    found = distribution(connection, audience_columns(SHOP)["city"])
    assert found.values == (("Utrecht", 50), ("Delft", 2))
    assert (found.customers, found.empty, found.quantiles) == (100, 0, ())


def test_a_column_of_ids_shows_no_values(connection: duckdb.DuckDBPyConnection) -> None:
    found = distribution(connection, audience_columns(SHOP)["customer_id"])
    assert found.values == ()
    assert found.distinct == pytest.approx(100, rel=0.2)


def test_a_number_shows_quantiles_of_the_customers_who_have_it(connection: duckdb.DuckDBPyConnection) -> None:
    found = distribution(connection, audience_columns(SHOP)["age"])
    known = [age for age in range(100) if age % 5]
    assert (found.customers, found.empty, found.values) == (100, 20, ())
    assert (found.quantiles[0], found.quantiles[3], found.quantiles[-1]) == (1, 50, 99)
    assert sum(age <= found.quantiles[4] for age in known) == 60


def test_true_and_false_are_counted(connection: duckdb.DuckDBPyConnection) -> None:
    found = distribution(connection, audience_columns(SHOP)["vip"])
    assert found == Distribution(100, 34, 2, ((False, 33), (True, 33)), ())


def test_a_probability_is_of_its_category_and_empty_for_customers_without_scores(connection: duckdb.DuckDBPyConnection) -> None:
    found = distribution(connection, audience_columns(SHOP)["probability_music"])
    assert (found.customers, found.empty, found.quantiles) == (100, 99, (0.25,) * 7)


def test_every_column_that_an_audience_may_ask_for_is_described() -> None:
    descriptions = {"rfm_segments": {"segment": "Named by recency and value"}}
    found = described_columns(SHOP, descriptions)
    assert list(found) == list(audience_columns(SHOP))
    assert found["segment"].description == "Named by recency and value"
    assert found["city"].description == "Where they live"
    assert "music" in found["probability_music"].description
    assert "30 days" in found["views_music_30d"].description
    assert [name for name, column in found.items() if column.is_personal] == ["age"]


def test_a_distribution_is_computed_once_for_a_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = audience_shop(tmp_path, customers=20)
    kept, asked = Distributions(), []

    def count(connection: duckdb.DuckDBPyConnection, column: Column, table: str) -> Distribution:
        asked.append(column.name)
        return distribution(connection, column, table)

    monkeypatch.setattr("customer360.audiences.columns.distribution", count)
    with open_snapshot(shop.settings) as snapshot:
        columns = audience_columns(SHOP)
        first = kept.of(snapshot, columns["age"])
        assert kept.of(snapshot, columns["age"]) is first
        assert first == distribution(snapshot.connection, columns["age"])
        assert kept.of(snapshot, Column("somewhere", "not_published", "number")) is None
    assert asked == ["age"]
