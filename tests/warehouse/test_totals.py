"""The shop's totals: events and reference purchases count once in whatever order they come, and all tables add up."""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from customer360.settings import Shop
from tests.support import oracle, order_oracle
from tests.support.lab import Lab
from tests.support.random_shop import CUSTOMERS, PRODUCTS, random_shop, small_shop

NIGHT = ("build", "--selector", "daily")
NIGHTLY_MODELS = ("run", "--selector", "daily")
TOTALS = ("traffic", "traffic_sources", "product_activity", "offer_activity")
DAY = datetime.fromisoformat("2026-05-01")
AMOUNTS = ("gross_revenue", "returned_amount", "revenue")
# Of each nightly table: what the oracle says, its key, the columns compared, and which rows.
NIGHTLY: dict[str, tuple[Callable[[oracle.Known], oracle.Table], tuple[str, ...], tuple[str, ...], str]] = {
    "orders_daily": (
        order_oracle.orders_daily,
        ("local_date",),
        (
            *("orders", "customers", "new_customers", "returning_customers", "repeat_orders", "guest_orders"),
            *(*AMOUNTS, "revenue_of_guests"),
        ),
        "true",
    ),
    "retention_cohorts": (
        order_oracle.retention_cohorts,
        ("cohort_month", "months_since"),
        ("customers", "active_customers", "orders", "revenue"),
        "true",
    ),
    "product_performance": (
        order_oracle.product_months,
        ("starts_on", "product_id"),
        ("orders", "buyers", *AMOUNTS),
        "period = 'month'",
    ),
}


def land_purchases(lab: Lab, rows: list[dict[str, Any]], now: datetime) -> None:
    """Replace the reference purchases, as loaded at ``now`` (naive UTC)."""
    folder = lab.landing / "reference" / "purchases"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for old in folder.glob("*.csv"):
        old.unlink()
    lab.load_references(now.replace(tzinfo=UTC))


def land_events(lab: Lab, start: datetime, events: list[dict[str, Any]]) -> None:
    folder = lab.landing / "clicks" / start.strftime("%Y/%m/%d/%H%M")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")


def changed(random: Random, rows: list[dict[str, Any]], kept: list[dict[str, Any]], as_of: datetime) -> list[dict[str, Any]]:
    """Another version: rows that are gone, other amounts, times and customers, rows of online orders, guests, rows to come."""
    found = []
    for row in rows:
        moved = as_of - timedelta(minutes=random.randrange(-120, 9000))
        changes: list[dict[str, Any]] = [
            {"amount": float(row["amount"]) + random.choice([-9, 0.5, 3])},
            {"purchased_at": moved.isoformat() + "Z"},
            {"customer_id": random.choice(["", *CUSTOMERS[:3]])},
            {},
        ]
        if random.random() > 0.08:
            found.append({**row, **random.choices(changes, [12, 8, 5, 75])[0]})
    for line in random.sample([line for line in kept if line["event_name"] == "purchase"], 8):
        found.append(
            {
                "order_id": line["order_id"],
                "product_id": random.choice([line["product_id"], "postage"]),
                "line_no": line.get("line_no", ""),
                "customer_id": random.choice(["", line["customer_id"] or ""]),
                "purchased_at": random.choice([line["event_at"], (as_of - timedelta(days=2)).date().isoformat()]),
                "amount": random.choice([line["amount"], 4.5, -2]),
            }
        )
    number = random.randrange(10**9)
    found.append(
        {
            "order_id": f"G{number}",
            "product_id": random.choice(PRODUCTS),
            "line_no": 1,
            "customer_id": "",
            "purchased_at": (as_of + timedelta(minutes=random.randrange(-600, 60))).isoformat() + "Z",
            "amount": 12.25,
        }
    )
    keys = {(row["order_id"], row["product_id"], row["line_no"] or 0): row for row in found if row["product_id"]}
    return list(keys.values())


@pytest.mark.parametrize("many", [False, pytest.param(True, marks=pytest.mark.exhaustive)], ids=["3 loads", "8 loads"])
def test_loads_between_slices_leave_the_totals_of_one_load_of_everything(new_lab: Callable[[Shop], Lab], many: bool) -> None:
    """After each of the loads, with and without new slices, the totals are those that the oracle works out from landing."""
    random = Random(8)
    shop = random_shop(8, slices=120 if many else 48)
    lab = new_lab(shop.shop)
    rows: list[dict[str, Any]] = shop.reference["purchases"]
    order = random.sample(shop.slices, len(shop.slices) - 20)
    late = sorted(set(shop.slices) - set(order))
    done: set[datetime] = set()
    batches = [order[:60], order[60:], [], late[:7], [], late[7:], [], []] if many else [order, [], late]
    for batch in batches:
        done |= set(batch)
        as_of = max(done) + shop.shop.slice_width
        shop.write(lab.landing, only=set(batch))
        land_purchases(lab, rows, as_of)
        lab.run(batch)
        expected = oracle.state(lab.landing, shop.shop, as_of)
        found = lab.tables()
        for table in TOTALS:
            assert found[table] == oracle.nonzero(expected[table]), table
        landed, rows = rows, changed(random, rows, shop.clean, as_of)
    lab.transform(*NIGHT)  # with the tests that the tables add up
    facts = oracle.known(lab.landing, shop.shop, as_of)
    for table, (expected_rows, keys, columns, condition) in NIGHTLY.items():
        select = f"select {', '.join([*keys, *columns])} from marts.{table} where {condition}"
        found_rows = {row[: len(keys)]: oracle.Row(zip(columns, row[len(keys) :], strict=True)) for row in lab.query(select)}
        assert oracle.nonzero(found_rows) == oracle.nonzero(expected_rows(facts)), table
        assert len(found_rows) > 1, table
    clean = new_lab(shop.shop)
    shutil.copytree(lab.root / "raw" / "clicks", clean.root / "raw" / "clicks", copy_function=os.link)
    land_purchases(clean, landed, as_of)
    clean.run()
    assert lab.slice_grain() == clean.slice_grain()


def test_every_line_counts_once_in_the_totals_and_a_guest_s_in_no_customer(new_lab: Callable[[Shop], Lab]) -> None:
    """A till, an online order that the books also have, postage, a guest, returns; then a late row, a correction and a loss."""
    lab = new_lab(small_shop(time_zone="Europe/Amsterdam"))
    first, second, third = (DAY + timedelta(hours=10, minutes=15 * number) for number in range(3))
    browser = {"customer_id": "C1", "visitor_id": "V1", "device": "phone"}
    mail = {"utm_source": "news", "utm_medium": "email"}
    bought = {**browser, "event_name": "purchase", "order_id": "web-1", "product_id": "P1", "line_no": 1, "amount": 20}
    land_events(
        lab,
        first,
        [
            {**browser, **mail, "event_id": "e1", "event_name": "page_view", "event_at": "2026-05-01T10:01:00Z"},
            {**bought, "event_id": "e2", "event_at": "2026-05-01T10:05:00Z"},
            {**bought, "event_id": "e3", "event_at": "2026-05-01T10:06:00Z", "line_no": 2, "product_id": "P2", "amount": 5},
            {**bought, "event_id": "e4", "event_at": "2026-05-01T10:07:00Z", "line_no": 2, "product_id": "P2", "amount": 5},
        ],
    )
    reference = {
        "web-1": line("web-1", 1, "C1", "2026-05-01T10:05:00Z", 21),  # the books have another amount than the event
        "postage": line("web-1", 9, "", "2026-05-01T10:05:00Z", 4, product="postage"),
        "till": line("till-1", 1, "C2", "2026-04-20T15:00:00Z", 30),
        "guest": line("till-2", 1, "", "2026-04-20T15:05:00Z", 8),
        "return": line("till-1", 2, "C2", "2026-04-21T22:30:00Z", -10),  # on 22 April in Amsterdam
    }
    land_purchases(lab, list(reference.values()), first)
    lab.run([first])
    lab.transform(*NIGHTLY_MODELS)
    assert by_local_day(lab, "traffic") == {"2026-04-20": 38, "2026-04-22": -10, "2026-05-01": 21 + 5 + 4}
    assert orders_daily(lab) == {
        "2026-04-20": (2, 1, 1, 38, 30, 8, 0),
        "2026-04-22": (0, 0, 0, -10, -10, 0, 10),
        "2026-05-01": (1, 1, 0, 30, 30, 0, 0),  # the postage too: the order's events name its customer
    }
    assert by_source(lab) == {("news", "phone"): (1, 1, 30), ("(no visit)", "(no visit)"): (0, 2, 28)}
    assert totals(lab, "customer_orders", "amount", "customer_id") == {"C1": 30, "C2": 20}

    reference["web-1"] = line("web-1", 1, "C1", "2026-05-01T10:05:00Z", 19)
    reference["late"] = line("till-0", 1, "C2", "2026-03-01T09:00:00Z", 6)
    del reference["guest"]
    land_purchases(lab, list(reference.values()), second)
    lab.run([second])
    assert by_local_day(lab, "traffic") == {"2026-03-01": 6, "2026-04-20": 30, "2026-04-22": -10, "2026-05-01": 19 + 5 + 4}

    del reference["web-1"]  # the event counts again
    land_purchases(lab, list(reference.values()), third)
    lab.run([third])
    lab.transform(*NIGHT)  # with the tests that the tables add up
    expected = {"2026-03-01": 6, "2026-04-20": 30, "2026-04-22": -10, "2026-05-01": 20 + 5 + 4}
    for table in ("traffic", "traffic_sources", "product_activity"):
        assert by_local_day(lab, table) == expected, table
    assert totals(lab, "product_activity", "revenue", "product_id") == {"P1": 20 + 6 + 30 - 10, "P2": 5, "postage": 4}
    assert totals(lab, "customer_orders", "amount", "customer_id") == {"C1": 29, "C2": 26}
    assert lab.query("select sum(purchases), sum(purchases_in_visits) from marts.traffic") == [(3, 1)]


def test_a_purchase_counts_when_the_clock_has_passed_it_and_no_load_is_needed(new_lab: Callable[[Shop], Lab]) -> None:
    lab = new_lab(small_shop())
    first, second = DAY, DAY + timedelta(minutes=15)
    land_purchases(lab, [line("till-1", 1, "C1", "2026-05-01T00:20:00Z", 30)], DAY)
    lab.run([first])
    assert lab.query("from marts.traffic") == []
    lab.run([second])
    assert lab.query("select event_slice, revenue from marts.traffic") == [(second, Decimal(30))]


def test_an_unchanged_table_touches_nothing(new_lab: Callable[[Shop], Lab]) -> None:
    lab = new_lab(small_shop())
    rows = [line("till-1", 1, "C1", "2026-04-01T00:20:00Z", 30)]
    land_purchases(lab, rows, DAY)
    lab.run([DAY])
    land_purchases(lab, rows, DAY + timedelta(minutes=20))
    lab.plan()
    assert lab.query("from ops.touched_event_slices") == []


def line(order: str, number: int, customer: str, at: str, amount: float, *, product: str = "P1") -> dict[str, Any]:
    names = ("order_id", "line_no", "customer_id", "purchased_at", "amount", "product_id")
    return dict(zip(names, (order, number, customer, at, amount, product), strict=True))


def by_local_day(lab: Lab, table: str) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for start, revenue in lab.query(f"select event_slice, revenue from marts.{table}"):
        sums[str(oracle.local_date(start, lab.shop))] += revenue
    return {day: revenue for day, revenue in sums.items() if revenue}


def orders_daily(lab: Lab) -> dict[str, tuple[Any, ...]]:
    columns = "orders, orders - guest_orders, guest_orders, revenue, revenue_of_customers, revenue_of_guests, returned_amount"
    return {str(day): tuple(row) for day, *row in lab.query(f"select local_date, {columns} from marts.orders_daily")}


def by_source(lab: Lab) -> dict[tuple[str, str], tuple[Any, ...]]:
    sums = "sum(visits), sum(purchases), sum(revenue)"
    rows = lab.query(f"select utm_source, device, {sums} from marts.traffic_sources group by all")
    return {(source, device): tuple(row) for source, device, *row in rows}


def totals(lab: Lab, table: str, column: str, key: str) -> dict[str, Decimal]:
    return dict(lab.query(f"select {key}, sum({column}) from marts.{table} group by all"))
