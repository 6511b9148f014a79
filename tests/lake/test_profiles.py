"""Customer profiles: their columns, and the next contact of the plan."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from customer360.lake.publishing.profiles import planned_contacts, profiles_query, with_next_contact
from tests.support.random_shop import small_shop

SHOP = small_shop(
    attributes={
        "age": {"type": "integer"},
        "income": {"type": "double"},
        "is_member": {"type": "boolean"},
        "born_on": {"type": "date"},
        "city": {},
    }
)
NAMES = (
    "customer_features",
    "customer_attributes",
    "rfm_segments",
    "customer_scores",
    "customer_value",
    "customer_reasons",
    "last_activity",
)
TABLES = dict(zip(NAMES, NAMES, strict=True))
COLUMNS = {
    "customer_id": "VARCHAR",
    "as_of": "TIMESTAMP",
    "segment": "VARCHAR",
    "recency_days": "INTEGER",
    "frequency": "INTEGER",
    "monetary": "DECIMAL(18,2)",
    "label": "VARCHAR",
    "probability_books": "DOUBLE",
    "probability_music": "DOUBLE",
    "probability_garden_home": "DOUBLE",
    "probability_other": "DOUBLE",
    "probability_none": "DOUBLE",
    "model_version": "VARCHAR",
    "purchase_probability": "DOUBLE",
    "expected_spend": "DOUBLE",
    "churn_probability": "DOUBLE",
    "top_category_id": "VARCHAR",
    "reason_1": "VARCHAR",
    "reason_2": "VARCHAR",
    "reason_3": "VARCHAR",
    "reasons_as_of": "TIMESTAMP",
    "last_activity_at": "TIMESTAMP",
    "age": "BIGINT",
    "income": "DOUBLE",
    "is_member": "BOOLEAN",
    "born_on": "DATE",
    "city": "VARCHAR",
    "next_contact_on": "DATE",
    "next_contact_channel": "VARCHAR",
    "next_contact_daypart": "VARCHAR",
    "next_contact_campaign_id": "VARCHAR",
    "next_contact_status": "VARCHAR",
}
AS_OF = datetime.fromisoformat("2026-05-01T10:00")
SEEN = datetime.fromisoformat("2026-05-01T09:59:59.5")
NOBODY = dict.fromkeys(COLUMNS)


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    """C1 with everything, C2 with nothing but features, and a stranger who has no features."""
    with duckdb.connect() as connection:
        connection.execute(
            """
            create table customer_features as
            select unnest(['C2', 'C1']) as customer_id, timestamp '2026-05-01 10:00' as as_of, 1.5 as views_3d;
            create table rfm_segments as
            select 'C1' as customer_id, 'Champion' as segment, 3 as recency_days, 4 as frequency,
                99.5::decimal(18, 2) as monetary, 5 as recency_score;
            create table customer_scores (customer_id varchar, category_id varchar, probability double, rank integer,
                is_label boolean, model_version varchar, as_of timestamp);
            insert into customer_scores select *, 'v7', timestamp '2026-05-01 10:00' from (values
                ('C1', 'books', 0.1, 3, false), ('C1', 'music', 0.05, 4, false), ('C1', 'garden & home', 0.3, 2, true),
                ('C1', 'other', 0.03, 5, false), ('C1', 'none', 0.52, 1, false), ('C9', 'books', 1, 1, true));
            create table customer_value as
            select customer_id, 0.48::double as purchase_probability, 12.5::double as expected_spend,
                null::double as churn_probability, 'v7' as model_version
            from (values ('C1'), ('C9')) as known (customer_id);
            create table customer_reasons as
            select 'C1' as customer_id, 'garden & home' as category_id, 'one' as reason_1, 'two' as reason_2,
                null::varchar as reason_3, timestamp '2026-05-01 09:30' as reasons_as_of;
            create table last_activity as
            select 'C1' as customer_id, timestamp '2026-05-01 09:59:59.5' as last_event_at;
            create table customer_attributes (customer_id varchar, attribute_name varchar, value varchar);
            insert into customer_attributes values
                ('C1', 'age', '41'), ('C1', 'income', '1.5'), ('C1', 'is_member', 'true'), ('C1', 'born_on', '1985-02-03'),
                ('C1', 'city', '007'), ('C1', 'not_in_the_shop', 'x'), ('C9', 'age', '9');
            create table plan (customer_id varchar, contact_date date, channel varchar, daypart varchar, campaign_id varchar,
                status varchar);
            insert into plan values
                ('C1', '2026-05-05', 'call', 'day', 'K0', 'approved'), ('C1', '2026-05-03', 'email', 'day', 'K1', 'draft'),
                ('C1', '2026-04-30', 'sms', 'day', 'K0', 'approved'), ('C9', '2026-05-02', 'sms', 'day', 'K0', 'draft');
            create table later_plan as
            select 'C2' as customer_id, date '2026-05-04' as contact_date, unnest(['sms', 'call']) as channel, 'day' as daypart,
                null::varchar as campaign_id, unnest(['draft', 'approved']) as status;
            """
        )
        yield connection


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    found = connection.execute(query)
    assert found.description is not None
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def profiles(connection: duckdb.DuckDBPyConnection, plan: str | None) -> list[dict[str, Any]]:
    return rows(connection, with_next_contact(profiles_query(SHOP, TABLES), plan or planned_contacts(None, None)))


def contacts(profile: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(value for name, value in row.items() if name.startswith("next_contact")) for row in profile]


@pytest.mark.parametrize("plan", [None, "plan"])
def test_the_columns_and_their_types_are_the_same_with_and_without_a_plan(
    warehouse: duckdb.DuckDBPyConnection, plan: str | None
) -> None:
    query = with_next_contact(profiles_query(SHOP, TABLES), plan or planned_contacts(None, None))
    described = warehouse.execute(f"describe {query}").fetchall()
    assert {name: kind for name, kind, *_ in described} == COLUMNS
    assert [name for name, *_ in described] == list(COLUMNS)


def test_a_profile_says_all_that_is_known_and_every_customer_has_one(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert profiles(warehouse, "plan") == [
        {
            "customer_id": "C1",
            "as_of": AS_OF,
            "segment": "Champion",
            "recency_days": 3,
            "frequency": 4,
            "monetary": Decimal("99.50"),
            "label": "garden & home",  # named by the decision, though "none" is more probable
            "probability_books": 0.1,
            "probability_music": 0.05,
            "probability_garden_home": 0.3,
            "probability_other": 0.03,
            "probability_none": 0.52,
            "model_version": "v7",
            "purchase_probability": 0.48,
            "expected_spend": 12.5,
            "churn_probability": None,
            "top_category_id": "garden & home",
            "reason_1": "one",
            "reason_2": "two",
            "reason_3": None,
            "reasons_as_of": datetime.fromisoformat("2026-05-01T09:30"),
            "last_activity_at": SEEN,
            "age": 41,
            "income": 1.5,
            "is_member": True,
            "born_on": date(1985, 2, 3),
            "city": "007",
            "next_contact_on": date(2026, 5, 3),
            "next_contact_channel": "email",
            "next_contact_daypart": "day",
            "next_contact_campaign_id": "K1",
            "next_contact_status": "draft",
        },
        {**NOBODY, "customer_id": "C2", "as_of": AS_OF},
    ]


def test_without_a_plan_nobody_has_a_next_contact(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = profiles(warehouse, None)
    assert contacts(found) == [(None,) * 5] * 2
    assert [row["age"] for row in found] == [41, None]


def test_a_new_plan_replaces_the_contacts_of_the_last_one(warehouse: duckdb.DuckDBPyConnection) -> None:
    before = profiles(warehouse, "plan")
    warehouse.execute(f"create table published as {with_next_contact(profiles_query(SHOP, TABLES), 'plan')}")
    warehouse.execute(f"create or replace table published as {with_next_contact('select * from published', 'later_plan')}")
    after = rows(warehouse, "select * from published")
    assert contacts(after) == [(None,) * 5, (date(2026, 5, 4), "call", "day", None, "approved")]
    assert [list(row) for row in after] == [list(COLUMNS)] * 2
    assert [{**row, **dict.fromkeys(list(COLUMNS)[-5:])} for row in before] == [
        {**row, **dict.fromkeys(list(COLUMNS)[-5:])} for row in after
    ]


def test_a_shop_without_attributes_has_profiles_too(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = rows(warehouse, with_next_contact(profiles_query(small_shop(), TABLES), planned_contacts(None, None)))
    names = [name for name in COLUMNS if name not in SHOP.attributes]
    assert [list(row) for row in found] == [names] * 2
