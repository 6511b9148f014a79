"""The generated retailer: its files, told apart from its truth, which is counted here row by row."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from customer360.simulation import Retailer, SimulatedRetailer, SimulationError, simulate_retailer, write_retailer
from tests.simulation.conftest import file_contents

SMALL = Retailer(lines=20_000, customers=400, seed=7, wholesale=0.05)


@pytest.fixture(scope="module")
def simulated() -> SimulatedRetailer:
    return simulate_retailer(SMALL)


@pytest.fixture(scope="module")
def folder(simulated: SimulatedRetailer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("retailer")
    write_retailer(simulated, folder)
    return folder


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_same_seed_writes_the_same_files_and_another_seed_others(folder: Path, tmp_path: Path) -> None:
    write_retailer(simulate_retailer(SMALL), tmp_path / "again")
    write_retailer(simulate_retailer(replace(SMALL, seed=8)), tmp_path / "other")
    assert file_contents(tmp_path / "again") == file_contents(folder)
    assert file_contents(tmp_path / "other").keys() == file_contents(folder).keys()
    assert file_contents(tmp_path / "other")["purchases.csv"] != file_contents(folder)["purchases.csv"]


def test_the_truth_is_the_file_without_the_lines_that_were_sent_twice(simulated: SimulatedRetailer, folder: Path) -> None:
    numbered: dict[tuple[str, str, str], str] = {}
    counted, repeats = 0, 0
    for row in rows(folder, "purchases"):
        cents = int(row["amount"].replace(".", ""))
        key = (row["order_id"], row["product_id"], row["line_no"])
        if row["line_no"] and key in numbered:
            assert numbered[key] == row["amount"], f"{key} is one line with two amounts"
            repeats += 1
            continue
        numbered[key] = row["amount"]
        counted += cents
    assert repeats > 20
    assert counted == int(simulated.lines["cents"].sum())


def test_every_peculiarity_of_such_a_shop_is_in_the_files(simulated: SimulatedRetailer, folder: Path) -> None:
    purchases = rows(folder, "purchases")
    products = {row["product_id"]: row["category_id"] for row in rows(folder, "products")}
    customers = {row["customer_id"]: row for row in rows(folder, "customers")}
    sales = {row["order_id"] for row in purchases if not row["amount"].startswith("-")}
    returns = [row for row in purchases if row["amount"].startswith("-")]
    buyers = {row["customer_id"] for row in purchases}
    units = defaultdict(float)
    for row in purchases:
        units[row["customer_id"]] = max(units[row["customer_id"]], float(row["quantity"]))
    equal = Counter((row["order_id"], row["product_id"], row["quantity"], row["amount"]) for row in purchases if row["line_no"])
    wholesale = set(simulated.people.loc[simulated.people["is_wholesale"], "customer_id"]) & buyers
    found = {
        "returns under the order's id": sum(row["order_id"] in sales for row in returns),
        "returns under ids of their own": sum(row["order_id"] not in sales for row in returns),
        "lines without a number": sum(not row["line_no"] for row in purchases),
        "guests": sum(not row["customer_id"] for row in purchases),
        "equal lines": sum(count > 1 for count in equal.values()),
        "free lines": sum(row["amount"] == "0.00" for row in purchases),
        "postage": sum(row["product_id"] == "POST" for row in purchases),
        "products without category": sum(not category for category in products.values()),
        "lines of products that are not listed": sum(row["product_id"] not in products for row in purchases),
        "customers who never buy": len(customers.keys() - buyers),
        "customers with known_since": sum(bool(row["known_since"]) for row in customers.values()),
        "customers without known_since": sum(not row["known_since"] for row in customers.values()),
        "wholesale buyers": sum(units[customer] > 12 for customer in wholesale),
    }
    assert {name for name, count in found.items() if count < 5} == set(), found
    assert buyers - {""} <= customers.keys()
    assert products["POST"] == "charges"


def test_nobody_buys_before_arriving_and_many_arrive_late(simulated: SimulatedRetailer) -> None:
    arrived = dict(zip(simulated.people["customer_id"], simulated.people["arrived_at"], strict=True))
    lines = simulated.lines.dropna(subset="customer_id")
    assert all(at >= arrived[customer] for customer, at in zip(lines["customer_id"], lines["purchased_at"], strict=True))
    assert sum(at > simulated.retailer.first_minute for at in arrived.values()) > 200
    assert simulated.lines["purchased_at"].max() < simulated.retailer.until.replace(tzinfo=None)


def test_tastes_last_and_differ_between_customers(simulated: SimulatedRetailer) -> None:
    """A customer's favourite category of the first year is that of the second far oftener than a category at random."""
    lines = simulated.lines[~simulated.lines["is_return"] & (simulated.lines["category_id"] != "charges")]
    middle = simulated.retailer.first_minute.replace(year=simulated.retailer.first_minute.year + 1)
    years: list[dict[str, Counter[str]]] = [defaultdict(Counter), defaultdict(Counter)]
    for customer, category, at in zip(lines["customer_id"], lines["category_id"], lines["purchased_at"], strict=True):
        if customer and category:
            years[at >= middle][customer][category] += 1
    both = years[0].keys() & years[1].keys()
    same = [years[0][customer].most_common(1)[0][0] == years[1][customer].most_common(1)[0][0] for customer in both]
    assert len(both) > 80
    assert 0.3 < sum(same) / len(same) < 0.8


@pytest.mark.parametrize("impossible", [{"lines": 0}, {"customers": 0}, {"lines_per_order": 0.5}, {"never_buying": 1.0}])
def test_impossible_sizes_are_refused(impossible: dict[str, float]) -> None:
    with pytest.raises(SimulationError, match="retailer"):
        simulate_retailer(replace(SMALL, **impossible))
