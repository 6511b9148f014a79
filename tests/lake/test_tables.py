"""The declarations of published tables: what frames and casts are made from them."""

from __future__ import annotations

import duckdb
import pandas as pd
import pytest

from customer360.lake.publishing.tables import TABLES, PublishedColumn, PublishedTable, declared_tables
from tests.support.random_shop import small_shop

PLAN = PublishedTable(
    "plan",
    "A plan. One row per customer.",
    ("customer_id",),
    (
        PublishedColumn("customer_id", "VARCHAR", "Customer"),
        PublishedColumn("contact_date", "DATE", "Day"),
        PublishedColumn("contacts", "BIGINT", "Count", required=True),
        PublishedColumn("holdouts", "BIGINT", "Count, where known"),
        PublishedColumn("cost", "DECIMAL(18,2)", "Cost"),
    ),
)


def test_a_frame_is_typed_also_without_rows_and_a_column_that_is_missing_is_null() -> None:
    kinds = {
        "customer_id": "str",
        "contact_date": "datetime64[us]",
        "contacts": "int64",
        "holdouts": "Int64",
        "cost": "Float64",
    }
    assert PLAN.empty().dtypes.astype(str).to_dict() == kinds
    frame = PLAN.typed([{"cost": 1.5, "contacts": 2, "customer_id": "c1", "contact_date": pd.Timestamp("2026-05-01")}])
    assert frame.dtypes.astype(str).to_dict() == kinds
    assert frame["holdouts"].isna().tolist() == [True]


def test_a_required_column_that_is_missing_is_refused() -> None:
    with pytest.raises((TypeError, ValueError)):
        PLAN.typed([{"customer_id": "c1"}])


def test_casts_give_dates_the_declared_order_and_nulls_for_what_an_older_file_lacks() -> None:
    older = "select 1.239 as cost, timestamp '2026-05-01' as contact_date, 'c1' as customer_id, 3 as contacts, 'x' as dropped"
    with duckdb.connect() as connection:
        found = connection.execute(PLAN.select_casts(older))
        assert [name for name, *_ in found.description or []] == list(PLAN.frame_types)
        ((customer, day, contacts, holdouts, cost),) = found.fetchall()
        kinds = [kind for _, kind, *_ in connection.execute(f"describe {PLAN.select_casts(older)}").fetchall()]
        assert connection.execute(PLAN.no_rows).fetchall() == []
    assert (customer, str(day), contacts, holdouts, str(cost)) == ("c1", "2026-05-01", 3, None, "1.24")
    assert kinds == ["VARCHAR", "DATE", "BIGINT", "BIGINT", "DECIMAL(18,2)"]


@pytest.mark.parametrize(
    ("name", "kind", "unit"),
    [
        ("amount", "DECIMAL(18,2)", "currency"),
        ("send_at", "TIMESTAMP", "UTC"),
        ("as_of", "TIMESTAMP", "UTC"),
        ("contact_date", "DATE", "local day"),
        ("dwell_seconds", "DOUBLE", "seconds"),
        ("recency_days", "BIGINT", "days"),
        ("customer_id", "VARCHAR", ""),
    ],
)
def test_a_unit_follows_from_the_name_and_the_type(name: str, kind: str, unit: str) -> None:
    assert PublishedColumn(name, kind, "Any").unit == unit


def test_a_shops_categories_and_attributes_are_columns_and_its_horizons_are_in_the_texts() -> None:
    shop = small_shop(attributes={"city": {"personal": True}, "age": {"type": "integer"}})
    profiles = {column.name: column for column in declared_tables(shop)["customer_profiles"].columns}
    assert (profiles["probability_garden_home"].pattern, profiles["age"].type) == ("probability_<category>", "BIGINT")
    assert (profiles["city"].personal, profiles["age"].personal) == (True, False)
    assert f"within {shop.label_horizon_days} days" in profiles["purchase_probability"].description
    names = [name for name in profiles if name in {"last_activity_at", "city", "age", "next_contact_on"}]
    assert names == ["last_activity_at", "city", "age", "next_contact_on"]


def test_tables_about_single_customers_are_personal() -> None:
    personal = {name for name, table in TABLES.items() if table.is_personal}
    assert personal == {
        *("customer_scores", "customer_scores_daily", "customer_value", "current_offers", "customer_profiles"),
        *("campaign_plan", "campaign_ledger", "visitor_customers", "offer_inputs", "offer_decisions", "product_affinity"),
        *("customer_lifetime", "email_deliveries"),
    }
