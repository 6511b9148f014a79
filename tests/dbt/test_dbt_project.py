"""The dbt project on a small hand-made shop: what it works out, and that the way there does not matter.

Slices of 10 May 2026. C1 is a customer of the reference table and uses V1; V2 turns out to be C2 only in the third slice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from customer360.features import dbt_vars, feature_list
from customer360.settings import OUTCOMES
from orchestration.dbt import described_test

WITHOUT_UNIT_TESTS = ("--exclude-resource-type", "unit_test")
WITHOUT_TESTS = (*WITHOUT_UNIT_TESTS, "test")
SLICE_RUN = ("build", "--selector", "slice", *WITHOUT_TESTS)
REWRITTEN = ("marts", "intermediate")


def at(time: str) -> datetime:
    return datetime.fromisoformat(f"2026-05-10 {time}")


def event(event_id: str, event_name: str, event_at: str, **columns: Any) -> dict[str, Any]:
    return {"event_id": event_id, "event_name": event_name, "event_at": at(event_at), **columns}


EVENTS = {
    at("10:00"): [
        event("e1", "view_item", "10:05", customer_id="C1", visitor_id="V1", product_id="P1", dwell_seconds=10.5),
        event("e2", "page_view", "10:06", visitor_id="V2"),
        event("e3", "purchase", "10:07", customer_id="C1", order_id="O1", product_id="P1", amount=Decimal("20.00")),
    ],
    at("10:15"): [
        event("e4", "view_item", "10:16", visitor_id="V1", product_id="P2", dwell_seconds=5.0),
        event("e5", "view_promotion", "10:17", visitor_id="V1", offer_id="F1"),
        event("e6", "select_promotion", "10:18", visitor_id="V1", offer_id="F1"),
    ],
    at("10:30"): [
        event("e1", "view_item", "10:31", customer_id="C1", visitor_id="V1", product_id="P1", dwell_seconds=10.5),  # a copy
        event("e7", "view_item", "10:05", customer_id="C2", visitor_id="V2", product_id="P1", dwell_seconds=4.0),  # late
    ],
    at("10:45"): [event("e8", "add_to_cart", "10:50", customer_id="C1", visitor_id="V3", product_id="P1")],
}
REFERENCES = {
    "customers": [{"customer_id": "C1", "age": 30, "gender": "f", "consent_email": True}],
    "products": [
        {"product_id": "P1", "category_id": "photography"},
        {"product_id": "P2", "category_id": "stationery"},
    ],
    "campaign_touches": [
        {
            "touch_id": "T1",
            "campaign_id": "K1",
            "customer_id": "C1",
            "touched_at": at("09:00"),
            "channel": "email",
            "is_converted": False,
        }
    ],
}


@pytest.fixture(scope="module")
def one_go(new_warehouse: Callable[[], Any]) -> Any:
    """Everything in a single run, without the slice that a repair empties, with every data test: the other ways have none."""
    warehouse = new_warehouse()
    warehouse.events = {**EVENTS, at("10:15"): []}
    warehouse.references = REFERENCES
    warehouse.cutoffs = [at("10:15")]
    warehouse.run("build", *WITHOUT_UNIT_TESTS, pending=list(EVENTS), last=at("10:45"))
    return warehouse


@pytest.fixture(scope="module")
def by_slice(new_warehouse: Callable[[], Any]) -> Any:
    """History, then two live slices with a copy and a late event, then a repair that empties a slice."""
    warehouse = new_warehouse()
    warehouse.references = REFERENCES
    warehouse.events = {start: EVENTS[start] for start in (at("10:00"), at("10:15"))}
    warehouse.run(*SLICE_RUN, pending=list(warehouse.events), last=at("10:15"))
    warehouse.events = EVENTS
    warehouse.run(*SLICE_RUN, pending=[at("10:30"), at("10:45")], last=at("10:45"))
    warehouse.before_repair = warehouse.query(TRAFFIC)
    warehouse.events = {**EVENTS, at("10:15"): []}
    warehouse.run(*SLICE_RUN, pending=[at("10:15")], last=at("10:45"), touched=[at("10:15")])
    return warehouse


TRAFFIC = """
    select
        event_slice, events, page_and_product_views, offers_clicked, offers_shown, purchases, revenue, visitors, click_through
    from marts.traffic order by event_slice
"""


def test_a_late_event_counts_in_the_slice_in_which_it_happened(by_slice: Any) -> None:
    assert by_slice.before_repair == [
        (at("10:00"), 4, 3, 0, 0, 1, Decimal("20.00"), 3, None),  # V1, V2 and the purchase of C1 without a visitor
        (at("10:15"), 3, 1, 1, 1, 0, Decimal("0.00"), 1, 1.0),
        (at("10:45"), 1, 0, 0, 0, 0, Decimal("0.00"), 1, None),
    ]


def test_sources_add_up_to_the_traffic_of_their_slice(by_slice: Any) -> None:
    summed = "sum(events), sum(page_and_product_views), sum(visitors), sum(purchases), sum(revenue)"
    of_traffic = by_slice.query(f"select event_slice, {summed} from marts.traffic group by all order by all")
    assert of_traffic
    assert by_slice.query(f"select event_slice, {summed} from marts.traffic_sources group by all order by all") == of_traffic


@pytest.mark.parametrize(
    ("table", "renamed"),
    [
        ("traffic", {"views": "page_and_product_views", "clicks": "offers_clicked"}),
        ("traffic_sources", {"views": "page_and_product_views"}),
        ("product_activity", {"clicks": "carts", "click_through": "cart_rate"}),
    ],
)
def test_a_renamed_column_keeps_its_old_name_for_one_version(by_slice: Any, table: str, renamed: dict[str, str]) -> None:
    for old, new in renamed.items():
        values = by_slice.query(f"select {old}, {new} from marts.{table}")
        assert values
        assert [row for row in values if row[0] != row[1]] == []


def test_a_slice_that_became_empty_leaves_nothing_behind(by_slice: Any) -> None:
    assert [row[0] for row in by_slice.query(TRAFFIC)] == [at("10:00"), at("10:45")]
    assert by_slice.query("select * from intermediate.int_activity_by_slice where slice = timestamp '2026-05-10 10:15'") == []


def test_the_way_to_a_state_does_not_matter(by_slice: Any, one_go: Any) -> None:
    tables, expected = by_slice.tables(*REWRITTEN), one_go.tables(*REWRITTEN)
    of_the_moment = {"intermediate.int_touched_event_slices", "intermediate.int_shop_lines"}
    assert {name: tables[name] for name in tables.keys() - of_the_moment} == {
        name: expected[name] for name in tables.keys() - of_the_moment
    }


def test_a_rerun_changes_nothing(by_slice: Any) -> None:
    before = by_slice.tables("marts")
    by_slice.run(*SLICE_RUN, pending=[at("10:30")], last=at("10:45"), touched=[at("10:00")])
    assert by_slice.tables("marts") == before


def test_features_are_those_worked_out_by_hand(one_go: Any) -> None:
    columns = (
        "customer_id, as_of, age, gender, recency_days, frequency, monetary, days_since_last_activity, views_3d, "
        "dwell_seconds_3d, carts_3d, orders_3d, spend_3d, views_photography_30d, spend_photography_30d, views_other_30d, "
        "last_category_id"
    )
    assert one_go.query(f"select {columns} from marts.customer_features order by customer_id") == [
        # the visitor's view of P2 was in the slice that is empty now
        ("C1", at("11:00"), 30, "f", 0, 1, Decimal(20), 0, 1, 10.5, 1, 1, Decimal(20), 1, Decimal(20), 0, "photography"),
        # the page view of V2 is C2's, but no product view
        ("C2", at("11:00"), None, None, None, 0, Decimal(0), 0, 1, 4.0, 0, 0, Decimal(0), 1, Decimal(0), 0, "none"),
    ]


def test_activity_and_segments_are_those_worked_out_by_hand(one_go: Any) -> None:
    assert one_go.query(
        "select customer_id, product_id, views_15m, carts_15m, views_1h, carts_1h, orders_1h "
        "from marts.customer_product_activity order by all"
    ) == [("C1", "P1", 0, 1, 1, 1, 1), ("C2", "P1", 0, 0, 1, 0, 0)]
    assert one_go.query("select customer_id, fm_score, segment from marts.rfm_segments order by all") == [
        ("C1", None, "Unranked"),  # the only buyer
        ("C2", None, "Prospect"),
    ]
    assert one_go.query("select * from marts.customer_attributes order by all") == [("C1", "age", "30"), ("C1", "gender", "f")]
    assert one_go.query("select local_date, day_of_week, local_hour from marts.campaign_touch_history") == [
        (at("09:00").date(), 7, 11)  # a Sunday, summer time in Amsterdam
    ]
    assert one_go.query("select customer_id, channel from marts.customer_consents where is_allowed") == [("C1", "email")]


def test_a_cutoff_knows_nothing_later(one_go: Any) -> None:
    assert one_go.query(
        "select cutoff_no, as_of, customer_id, views_3d, orders_3d, label, weight, spend, is_churned "
        "from marts.training_features"
    ) == [(1, at("10:15"), "C1", 1, 1, "none", 2.5, Decimal(0), None)]


def test_the_columns_are_the_feature_list(one_go: Any) -> None:
    features = [feature.name for feature in feature_list(one_go.shop)]
    described = one_go.query("select column_name from (describe marts.customer_features)")
    assert [name for (name,) in described] == ["customer_id", "as_of", *features]
    described = one_go.query("select column_name from (describe marts.training_features)")
    assert [name for (name,) in described] == ["cutoff_no", "as_of", "customer_id", *features, *OUTCOMES]


def test_a_feature_of_another_type_than_declared_fails_the_model_and_leaves_its_table(
    one_go: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = dbt_vars(one_go.shop)
    age = next(feature for feature in variables["features"] if feature["name"] == "age")
    age["type"] = "double"
    monkeypatch.setattr("tests.support.lab.dbt_vars", lambda _: variables)
    before = one_go.query("from marts.customer_features order by all")
    with pytest.raises(RuntimeError, match=r"contract\. Missing .*: age DOUBLE; not declared: age BIGINT"):
        one_go.run("run", "--select", "customer_features", pending=[], last=at("10:45"))
    assert one_go.query("from marts.customer_features order by all") == before


def test_what_becomes_of_a_contact_is_told_and_is_no_activity_of_the_customer(new_warehouse: Callable[[], Any]) -> None:
    warehouse = new_warehouse()
    mailed = {"customer_id": "C9", "visitor_id": "V9", "campaign_id": "K1"}
    line = {"customer_id": "C1", "order_id": "O1", "product_id": "P1", "line_no": 1, "amount": Decimal("20.00")}
    warehouse.events = {
        at("10:00"): [
            event("d1", "campaign_delivered", "10:01", **mailed),
            event("d2", "campaign_opened", "10:02", **mailed),
            event("d3", "page_view", "10:03", visitor_id="V9", campaign_id="K1"),
            event("d4", "purchase", "10:04", **line),
            event("d5", "purchase", "10:04", **line),  # line 1 again under another id
        ]
    }
    built = ("+campaign_activity", "+customer_features", "+customer_orders")
    warehouse.run("build", "--select", *built, *WITHOUT_TESTS, pending=[at("10:00")], last=at("10:00"))
    assert warehouse.query("select activity, event_at from marts.campaign_activity order by 2") == [
        ("delivered", at("10:01")),
        ("opened", at("10:02")),
    ]
    assert warehouse.query("select customer_id from marts.customer_features") == [
        ("C1",)
    ]  # V9 is not linked by our mail either
    found = "select customer_id, order_id, ordered_at, amount, lines, as_of from marts.customer_orders"
    assert warehouse.query(found) == [("C1", "O1", at("10:04"), Decimal("20.00"), 1, at("10:15"))]


def test_every_unit_test_passes(one_go: Any) -> None:
    result = one_go.run("test", "--select", "test_type:unit", pending=[], last=at("10:45"))
    assert len(result.results) >= 30


def test_every_model_and_column_is_described(one_go: Any, manifest: Any) -> None:
    models = [node for node in manifest.nodes.values() if node.resource_type in ("model", "seed")]
    assert [node.name for node in models if not node.description] == []
    bare = [f"{node.name}.{column.name}" for node in models for column in node.columns.values() if not column.description]
    assert bare == []
    wide = {"customer_features", "training_features"}  # their columns follow from shop.yaml
    contracted = [node.name for node in models if node.schema == "marts" and not node.config.contract.enforced]
    assert set(contracted) == wide


def test_models_with_ids_of_people_are_marked_as_personal_data(one_go: Any, manifest: Any) -> None:
    models = [node for node in manifest.nodes.values() if node.resource_type in ("model", "seed")]
    ids = "select table_name from information_schema.columns where column_name in ('customer_id', 'visitor_id', 'visitor')"
    with_ids = {name for (name,) in one_go.query(f"{ids} and table_schema not in ('raw', 'ops')")}
    assert {node.name for node in models if node.config.meta["personal_data"]} == with_ids


def test_every_data_test_has_a_name_that_fits_on_a_line_and_a_description(manifest: Any) -> None:
    tests = [node for node in manifest.nodes.values() if node.resource_type == "test"]
    assert [node.name for node in tests if len(node.name) > 64] == []
    assert len({node.name for node in tests}) == len(tests)
    described = {node.name: described_test(node.to_dict()) for node in tests}
    assert [name for name, text in described.items() if text == name.replace("_", " ").capitalize()] == []


def test_the_documentation_builds(one_go: Any) -> None:
    one_go.run("docs", "generate", pending=[], last=at("10:45"))
    catalog = json.loads((Path(os.environ["DBT_TARGET_PATH"]) / "catalog.json").read_text(encoding="utf-8"))
    assert "model.customer360.customer_features" in catalog["nodes"]


def test_a_table_without_the_revenue_of_the_others_is_found(new_warehouse: Callable[[], Any]) -> None:
    warehouse = new_warehouse()
    line = {"customer_id": "C1", "order_id": "O1", "product_id": "P1", "line_no": 1, "amount": Decimal("20.00")}
    warehouse.events = {at("10:00"): [event("p1", "purchase", "10:04", **line)]}
    checks = {
        "the_tables_add_up_to_the_revenue_of_each_day": "update marts.traffic_sources set revenue = revenue + 1",
        "the_tables_of_customers_add_up_to_their_revenue": "update marts.customer_features set spend_3d = spend_3d + 1",
    }
    with_inputs = [f"+{check}" for check in checks]
    warehouse.run("build", "--select", *with_inputs, *WITHOUT_TESTS, pending=[at("10:00")], last=at("10:00"))
    for check, planted in checks.items():
        with duckdb.connect(str(warehouse.path)) as connection:
            connection.execute(planted)
        with pytest.raises(RuntimeError, match=f"{check}: Got [1-9]"):
            warehouse.run("test", "--select", check, pending=[], last=at("10:00"))
