"""A retailer without clicks, with a training set, by the real jobs, against its truth in plain Python."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from customer360.lake.publishing.version import current_publication
from customer360.lake.slices import slice_key
from customer360.lake.warehouse.warehouse import open_warehouse
from customer360.settings import REPOSITORY
from customer360.simulation import Retailer, SimulatedRetailer, simulate_retailer
from customer360.simulation.writing import write_csv
from tests.orchestration.place import TinyShop
from tests.support.retailer_truth import RetailerTruth, money

SIMULATED = Retailer(lines=12_000, customers=500, lines_per_order=4, never_buying=0.2, seed=11)


@pytest.fixture(scope="module")
def simulated() -> SimulatedRetailer:
    return simulate_retailer(SIMULATED)


@pytest.fixture(scope="module")
def place(simulated: SimulatedRetailer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyShop]:
    """The retailer's files as reference tables, after history_job and the first step of training_job."""
    shop = TinyShop(tmp_path_factory.mktemp("retailer"), REPOSITORY / "tests" / "shops" / "retailer")
    shop.home.mkdir(parents=True)
    shutil.copy(REPOSITORY / "orchestration" / "dagster.yaml", shop.home)
    for name in ("purchases", "products", "customers"):
        write_csv(shop.settings.place.landing / "reference" / name / f"{name}.csv", getattr(simulated, name))
    try:
        shop.run("history_job", slice_key(shop.slice(-1))).succeed()
        shop.run("training_job", assets=[["marts", "training_features"]]).succeed()
        yield shop
    finally:
        shop.close()


@pytest.fixture(scope="module")
def warehouse(place: TinyShop) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_warehouse(place.settings.place) as connection:
        yield connection


@pytest.fixture(scope="module")
def truth(place: TinyShop, simulated: SimulatedRetailer) -> RetailerTruth:
    return RetailerTruth.of(place.settings.shop, simulated)


@pytest.fixture(scope="module")
def as_of(place: TinyShop) -> datetime:
    """The moment that is published: within a slice after the last line."""
    publication = current_publication(place.settings.place)
    assert publication is not None
    assert publication.as_of is not None
    return publication.as_of.replace(tzinfo=None)


def rows(warehouse: duckdb.DuckDBPyConnection, sql: str) -> dict[Any, Any]:
    """Rows of a query by their first column."""
    return {row[0]: row[1:] for row in warehouse.execute(sql).fetchall()}


def test_everything_is_known_at_the_moment_that_is_published(truth: RetailerTruth, as_of: datetime) -> None:
    assert len(truth.before(as_of)) == len(truth.lines)
    assert (as_of - max(line["purchased_at"] for line in truth.lines)).total_seconds() <= 15 * 60


def test_recency_frequency_and_monetary_count_orders_and_no_return(
    warehouse: duckdb.DuckDBPyConnection, truth: RetailerTruth, as_of: datetime
) -> None:
    found = rows(warehouse, "select customer_id, recency_days, frequency, monetary from intermediate.int_customer_rfm")
    assert found == truth.rfm(as_of)
    last = {line["customer_id"]: line["order_id"] for line in truth.lines if line["is_return"]}
    assert len(last) > 30, "too few customers return anything"


@pytest.mark.parametrize("days", [7, 30, 90])
def test_orders_spend_and_returned_amount_of_each_window(
    warehouse: duckdb.DuckDBPyConnection, truth: RetailerTruth, as_of: datetime, days: int
) -> None:
    measures = ", ".join(f"{measure}_{days}d" for measure in ("orders", "spend", "returned_amount"))
    expected = {customer: values for customer, values in truth.window(as_of, days).items() if any(values)}
    found = rows(warehouse, f"select customer_id, {measures} from marts.customer_features")
    assert {customer: values for customer, values in found.items() if any(values)} == expected
    assert len(expected) > 20
    assert days == 7 or sum(returned for _, _, returned in expected.values()) > 0


def test_orders_of_customers_add_up_to_the_revenue_without_guests(
    warehouse: duckdb.DuckDBPyConnection, truth: RetailerTruth
) -> None:
    expected: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for line in truth.lines:
        if line["customer_id"]:
            expected[line["customer_id"], line["order_id"]] += money([line])
    found = warehouse.execute("select customer_id, order_id, amount from marts.customer_orders").fetchall()
    assert {(customer, order): amount for customer, order, amount in found} == expected
    assert len(found) == len(expected)


def test_the_totals_of_the_shop_include_the_guests(warehouse: duckdb.DuckDBPyConnection, truth: RetailerTruth) -> None:
    guests = money(line for line in truth.lines if not line["customer_id"])
    assert guests > 0
    for table in ("traffic", "traffic_sources", "product_activity", "orders_daily"):
        (revenue,) = warehouse.execute(f"select sum(revenue) from marts.{table}").fetchone() or (None,)
        assert revenue == money(truth.lines), table


def test_revenue_of_each_product(warehouse: duckdb.DuckDBPyConnection, truth: RetailerTruth) -> None:
    expected: dict[str, Decimal] = defaultdict(Decimal)
    for line in truth.lines:
        expected[line["product_id"]] += money([line])
    found = rows(warehouse, "select product_id, sum(revenue) from marts.product_activity group by product_id")
    assert {product: revenue for product, (revenue,) in found.items()} == expected


def test_a_training_set_holds_the_customers_known_at_each_cutoff_and_their_labels(
    warehouse: duckdb.DuckDBPyConnection, truth: RetailerTruth
) -> None:
    found = warehouse.execute("select as_of, customer_id, label from marts.training_features").fetchall()
    cutoffs = sorted({moment for moment, _, _ in found})
    assert len(cutoffs) == 3
    labels = {(moment, customer): label for moment, customer, label in found}
    expected = {
        (moment, customer): truth.labels(moment).get(customer, "none") for moment in cutoffs for customer in truth.known(moment)
    }
    assert labels == expected
    assert len(labels) == len(found)
    late = [moment for moment in truth.known_since.values() if moment and moment > cutoffs[0]]
    assert late, "nobody arrives after the first cut-off"


def test_spend_and_churn_after_each_cutoff(warehouse: duckdb.DuckDBPyConnection, truth: RetailerTruth) -> None:
    columns = "as_of, customer_id, spend, is_churned"
    found = warehouse.execute(f"select {columns} from marts.training_features").fetchall()
    for moment in {row[0] for row in found}:
        spend: dict[str, Decimal] = defaultdict(Decimal)
        for line in truth.within(moment, truth.shop.label_horizon_days):
            if line["customer_id"]:
                spend[line["customer_id"]] += money([line])
        at_cutoff = {customer: net for at, customer, net, _ in found if at == moment}
        assert at_cutoff == {customer: max(spend[customer], Decimal(0)) for customer in at_cutoff}
        ordered = {line["customer_id"] for line in truth.within(moment, truth.shop.churn_horizon_days) if not line["is_return"]}
        churned = {customer: lost for at, customer, _, lost in found if at == moment and lost is not None}
        assert churned == {customer: customer not in ordered for customer in churned}


def test_category_shares_over_everything_known(
    warehouse: duckdb.DuckDBPyConnection, truth: RetailerTruth, as_of: datetime
) -> None:
    for category in truth.shop.category_ids:
        counts = {customer: by_category.get(category, 0) for customer, by_category in truth.category_lines(as_of).items()}
        found = rows(warehouse, f"select customer_id, lifetime_lines_{category} from marts.customer_features")
        assert {customer: lines for customer, (lines,) in found.items() if lines} == {
            customer: lines for customer, lines in counts.items() if lines
        }
