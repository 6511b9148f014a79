"""Measures: one definition each, read from dbt's semantic files, that runs on the published tables however rows are grouped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import yaml

from customer360.lake.publishing.version import open_version
from customer360.measures import FOLDER, MeasureError, load_measures
from customer360.settings import REPOSITORY
from orchestration.pages import with_measures
from tests.support.lab import Lab

MEASURES = load_measures()
ORDERS = """
semantic_models:
  - name: orders_daily
    model: ref('orders_daily')
    defaults: {agg_time_dimension: local_date}
    dimensions: [{name: local_date, type: time}, {name: device, type: categorical}]
    measures:
      - {name: orders, label: Orders, description: Orders, agg: sum, config: {meta: {unit: count}}}
      - {name: gross, label: Gross, description: Gross, agg: sum, expr: amount + 1, config: {meta: {unit: currency}}}
metrics:
  - name: value
    label: Value
    description: Gross per order
    type: ratio
    type_params: {numerator: gross, denominator: orders}
    config: {meta: {unit: currency}}
"""


@pytest.fixture(scope="module")
def tables(published: Lab) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_version(published.settings.place) as version:
        yield version.connection


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_runs_over_all_rows_and_by_its_time_and_each_of_its_dimensions(
    tables: duckdb.DuckDBPyConnection, name: str
) -> None:
    measure = MEASURES[name]
    for group in (measure.time_column, *measure.dimensions):
        tables.execute(f"select {group}, {measure.sql} from {measure.table} group by {group}").fetchall()
    ((value,),) = tables.execute(f"select {measure.sql} from {measure.table}").fetchall()
    assert value is None or value >= 0 or measure.unit == "currency"


def test_measures_of_orders_agree_with_each_other_in_every_group(tables: duckdb.DuckDBPyConnection) -> None:
    names = ("orders", "gross_revenue", "returned_amount", "revenue", "revenue_of_customers", "revenue_of_guests")
    shown = ", ".join(f"{MEASURES[name].sql} as {name}" for name in (*names, "average_order_value", "returned_share"))
    rows = tables.execute(f"select local_date, {shown} from orders_daily group by local_date").fetchall()
    assert rows
    for _, orders, gross, returned, net, of_customers, of_guests, value, share in rows:
        assert gross - returned == net == of_customers + of_guests
        assert value is None or float(gross) == pytest.approx(value * orders)
        assert share is None or float(returned) == pytest.approx(share * float(gross))


def test_every_measure_of_the_semantic_files_is_read_once_and_of_a_known_column() -> None:
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.yml")]
    declared = [
        values["name"]
        for document in documents
        for part in (*(model["measures"] for model in document["semantic_models"]), document.get("metrics", []))
        for values in part
    ]
    assert sorted(declared) == sorted(MEASURES)


def test_the_page_has_the_measures_as_they_are_defined() -> None:
    page = (REPOSITORY / "docs" / "bi.md").read_text(encoding="utf-8")
    assert with_measures(page) == page, "run: python -m orchestration.pages docs/bi.md"
    assert f"| `orders` | {MEASURES['orders'].description} |" in page


def test_a_measure_is_what_its_file_says(tmp_path: Path) -> None:
    (tmp_path / "orders.yml").write_text(ORDERS)
    orders, gross, value = load_measures(tmp_path).values()
    assert (orders.sql, gross.sql, orders.time_column, orders.dimensions) == (
        "sum(orders)",
        "sum(amount + 1)",
        "local_date",
        ("device",),
    )
    assert value.sql == "cast(sum(amount + 1) as double) / nullif(cast(sum(orders) as double), 0)"
    assert (value.table, value.time_column, value.label, value.unit) == ("orders_daily", "local_date", "Value", "currency")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("agg: sum,", "agg: percentile,", "orders.yml: orders: agg percentile is none of sum, count"),
        ("{meta: {unit: count}}", "{}", "orders.yml: orders: config.meta.unit is None; write one of count, currency, share"),
        ("label: Orders, ", "", "orders.yml: orders has no label"),
        ("name: gross,", "name: orders,", "orders.yml: orders is defined twice"),
        ("denominator: orders", "denominator: visits", "value: gross and visits have to be measures of one table"),
        ("type: ratio", "type: cumulative", "value is of type cumulative; only ratios"),
    ],
)
def test_a_definition_that_cannot_be_read_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in ORDERS
    (tmp_path / "orders.yml").write_text(ORDERS.replace(old, new, 1))
    with pytest.raises(MeasureError, match=message.replace(".", r"\.")):
        load_measures(tmp_path)
