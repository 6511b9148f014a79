"""Who must not be contacted: one channel or every one, at once, and never by a slip of the pen less."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from customer360.lake.reference.reference import load_reference
from customer360.lake.reference.reference_rows import BrokenReferenceError
from customer360.lake.reference.suppressions import suppressions_query
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


def test_a_customer_is_listed_once_for_every_channel(settings: Settings) -> None:
    with pytest.raises(BrokenReferenceError, match="appear more than once"):
        load(settings, "customer_id,channel,reason\nC1,,legal\nC1,,bounce\n")
