"""Consents in force: a missing value is no consent, and a withdrawal holds from its load on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from customer360.lake.reference.customer_queries import consents_query
from customer360.lake.reference.reference import load_reference
from customer360.settings import Place, Settings
from tests.support.random_shop import small_shop

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(shop=small_shop(channels=["email", "call"]), place=Place(root=tmp_path), shop_folder=tmp_path)


def load(settings: Settings, text: str, days: int = 0) -> None:
    folder = settings.place.landing / "reference" / "customers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "customers.csv").write_text(text, encoding="utf-8")
    load_reference(settings, "customers", NOW + timedelta(days=days))


def consents(settings: Settings) -> dict[tuple[str, str], bool]:
    """Every answer by customer and channel; there is one each."""
    with duckdb.connect() as connection:
        rows = connection.execute(consents_query(settings.place, settings.shop)).fetchall()
    assert len({row[:2] for row in rows}) == len(rows)
    return {(customer, channel): allowed for customer, channel, allowed in rows}


def allowed(settings: Settings) -> set[tuple[str, str]]:
    answers = consents(settings)
    assert set(answers.values()) <= {True, False}
    return {pair for pair, answer in answers.items() if answer}


def test_every_customer_has_one_answer_a_channel_and_no_answer_means_no(settings: Settings) -> None:
    load(settings, "customer_id,consent_email,consent_call\nC1,true,false\nC2,,true\nC3,,\n")
    assert consents(settings) == {
        ("C1", "email"): True,
        ("C1", "call"): False,
        ("C2", "email"): False,
        ("C2", "call"): True,
        ("C3", "email"): False,
        ("C3", "call"): False,
    }


def test_a_channel_without_a_column_is_allowed_to_nobody(settings: Settings) -> None:
    load(settings, "customer_id,consent_email\nC1,true\n")
    assert allowed(settings) == {("C1", "email")}
    assert len(consents(settings)) == 2


def test_a_channel_that_the_shop_gains_is_allowed_to_nobody_before_the_next_load(settings: Settings) -> None:
    load(settings, "customer_id,consent_email,consent_call,consent_sms\nC1,true,true,true\n")
    more = settings.model_copy(update={"shop": small_shop(channels=["email", "call", "sms"])})
    assert allowed(more) == {("C1", "email"), ("C1", "call")}
    load(more, "customer_id,consent_email,consent_call,consent_sms\nC1,true,true,true\n", days=1)
    assert allowed(more) == {("C1", "email"), ("C1", "call"), ("C1", "sms")}


def test_a_withdrawn_consent_counts_as_soon_as_the_table_is_loaded(settings: Settings) -> None:
    load(settings, "customer_id,consent_email,consent_call\nC1,true,true\nC2,true,true\n")
    load(settings, "customer_id,consent_email,consent_call\nC1,false,true\nC2,,true\n", days=1)
    assert allowed(settings) == {("C1", "call"), ("C2", "call")}
    load(settings, "customer_id,consent_email,consent_call\nC1,true,true\nC2,,true\n", days=2)
    assert allowed(settings) == {("C1", "email"), ("C1", "call"), ("C2", "call")}


def test_a_withdrawal_counts_whatever_the_clock_says(settings: Settings) -> None:
    load(settings, "customer_id,consent_email\nC1,true\n", days=5)
    load(settings, "customer_id,consent_email\nC1,false\n", days=5)
    assert allowed(settings) == set()
    load(settings, "customer_id,consent_email\nC1,true\n", days=5)
    load(settings, "customer_id,consent_email\nC1,false\n", days=-5)
    assert allowed(settings) == set()


def test_a_customer_who_has_left_the_table_has_no_answer(settings: Settings) -> None:
    load(settings, "customer_id,consent_email\nC1,true\nC2,true\n")
    load(settings, "customer_id,consent_email\nC2,true\n", days=1)
    assert allowed(settings) == {("C2", "email")}


def test_before_the_first_load_there_is_no_answer(settings: Settings) -> None:
    assert consents(settings) == {}
