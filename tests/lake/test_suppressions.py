"""Suppressions: of one channel or of all, in force from their load on; an unreadable channel suppresses all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from customer360.lake.raw.quarantine import quarantined_lines
from customer360.lake.reference.customer_queries import suppressions_query
from customer360.lake.reference.reference import load_reference
from customer360.lake.reference.reference_rows import BrokenReferenceError
from customer360.settings import Place, Settings
from tests.support.random_shop import small_shop

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(shop=small_shop(channels=["email", "call"]), place=Place(root=tmp_path), shop_folder=tmp_path)


def load(settings: Settings, text: str, days: int = 0) -> None:
    folder = settings.place.landing / "reference" / "suppressions"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "list.csv").write_text(text, encoding="utf-8")
    load_reference(settings, "suppressions", NOW + timedelta(days=days))


def suppressed(settings: Settings) -> list[tuple[str, str, str]]:
    with duckdb.connect() as connection:
        return sorted(connection.execute(suppressions_query(settings.place, settings.shop)).fetchall())


def test_a_shop_without_a_list_suppresses_nobody(settings: Settings) -> None:
    load_reference(settings, "suppressions", NOW)
    assert suppressed(settings) == []


def test_a_row_suppresses_its_channel_and_one_without_a_channel_every_one(settings: Settings) -> None:
    load(settings, "customer_id,channel,reason\nC1,email,bounce\nC2,,legal\nC3,call,\nC2,call,complaint\n")
    assert suppressed(settings) == [
        ("C1", "email", "bounce"),
        ("C2", "call", "complaint"),
        ("C2", "email", "legal"),
        ("C3", "call", "no reason given"),
    ]


def test_a_channel_that_the_shop_does_not_have_suppresses_every_one(settings: Settings) -> None:
    load(settings, "customer_id,channel,reason\nC1,e-mail,bounce\n")
    assert suppressed(settings) == [("C1", "call", "bounce"), ("C1", "email", "bounce")]


def test_a_row_that_has_gone_suppresses_no_longer(settings: Settings) -> None:
    load(settings, "customer_id,channel,suppressed_at\nC1,,2026-04-01T00:00:00Z\nC2,,\n")
    load(settings, "customer_id,channel,suppressed_at\nC2,,\n", days=1)
    assert [row[0] for row in suppressed(settings)] == ["C2", "C2"]


def test_a_customer_who_is_listed_twice_for_every_channel_stays_suppressed(settings: Settings) -> None:
    load(settings, "customer_id,channel,reason\nC1,,legal\nC1,,bounce\n")
    assert suppressed(settings) == [("C1", "call", "legal"), ("C1", "email", "legal")]
    assert [entry.line for entry in quarantined_lines(settings.place)] == [2]


@pytest.mark.parametrize("row", ["C1,email,yesterday", "C1,email,-infinity", "C1,e\u200bmail,2026-04-01", "C1,-,infinity"])
def test_a_row_with_an_unreadable_value_suppresses_all_the_same_and_is_listed(settings: Settings, row: str) -> None:
    load(settings, f"customer_id,channel,suppressed_at\n{row}\nC2,call,2026-04-01\n")
    found = [(customer, channel) for customer, channel, _ in suppressed(settings)]
    wanted = [("C1", "email")] if row.startswith("C1,email") else [("C1", "call"), ("C1", "email")]
    assert found == [*wanted, ("C2", "call")]
    assert [entry.line for entry in quarantined_lines(settings.place)] == [1]


@pytest.mark.parametrize(
    "customer", ["1001.0", "1.001e3", "-", "null", '""', "C\u200b1", "00000000-0000-0000-0000-000000000000"]
)
def test_a_row_that_names_no_readable_customer_keeps_the_last_list_in_force_and_fails(
    settings: Settings, customer: str
) -> None:
    load(settings, "customer_id,channel\nC9,email\n")
    with pytest.raises(
        BrokenReferenceError, match="without a readable customer, so nobody knows whom not to contact"
    ) as refused:
        load(settings, f"customer_id,channel\nC2,call\n{customer},\n", days=1)
    assert "list.csv row 2, column customer_id" in str(refused.value)
    assert "1001.0" not in refused.value.for_logs
    assert suppressed(settings) == [("C9", "email", "no reason given")]


def test_a_row_that_cannot_be_split_into_columns_fails_too(settings: Settings) -> None:
    with pytest.raises(BrokenReferenceError, match="without a readable customer"):
        load(settings, "customer_id,channel\nC2,call\nC3,email,x,y\n")


def test_a_list_of_floating_numbers_suppresses_the_customers_that_it_means(settings: Settings) -> None:
    folder = settings.place.landing / "reference" / "suppressions"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"customer_id": [1001.0, 1002.0], "channel": ["email", None]}), folder / "list.parquet")
    load_reference(settings, "suppressions", NOW)
    assert [row[:2] for row in suppressed(settings)] == [("1001", "email"), ("1002", "call"), ("1002", "email")]
