"""Orders and their times from the lines that the oracle knows: a return is no order under any id, and counts in amounts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from customer360.settings import Shop
from tests.support import oracle
from tests.support.lab import Lab
from tests.support.random_shop import random_shop

MODELS = (
    "int_purchase_lines_with_guests",
    "int_orders",
    "customer_time_zones",
    "customer_orders",
    "customer_purchase_times",
    "order_amounts",
)


def test_orders_and_their_times_are_those_of_the_purchase_lines(new_lab: Callable[[Shop], Lab]) -> None:
    shop = random_shop(8, slices=40)
    lab = new_lab(shop.shop)
    shop.write(lab.landing)
    lab.load_references()
    lab.run(shop.slices)
    lab.transform("run", "--select", *MODELS)

    facts = oracle.known(lab.landing, shop.shop, shop.as_of)
    grouped: dict[tuple[str, str], list[oracle.Row]] = defaultdict(list)
    for line in facts.purchases:
        if line["owner"] and line["at"] < shop.as_of:
            grouped[line["owner"], line["order_id"]].append(line)
    expected = {}
    times: Counter[tuple[str, int, int]] = Counter()
    for key, lines in grouped.items():
        bought = [line["at"] for line in lines if oracle.is_purchase(line)]
        amount = sum((line["amount"] for line in lines), Decimal(0))
        expected[key] = (min(bought or [line["at"] for line in lines]), amount, len(bought))
        if bought:
            local = min(bought).replace(tzinfo=UTC).astimezone(shop.shop.zone)
            times[key[0], local.isoweekday(), local.hour] += 1
    rows = lab.query("select customer_id, order_id, ordered_at, amount, lines from marts.customer_orders")
    assert {(who, order): tuple(values) for who, order, *values in rows} == expected
    found = lab.query("select customer_id, day_of_week, local_hour, orders from marts.customer_purchase_times")
    assert {(who, day, hour): orders for who, day, hour, orders in found} == times
    amounts: Counter[tuple[str, str, str, datetime]] = Counter()
    for key, lines in grouped.items():
        for line in lines:
            amounts[*key, "purchase" if oracle.is_purchase(line) else "return", line["at"]] += line["amount"]
    known = lab.query(
        "select customer_id, order_id, kind, happened_at, sum(amount), max(known_at) from marts.order_amounts group by all"
    )
    assert {tuple(row[:4]): row[4] for row in known} == amounts
    assert all(row[3] <= row[5] <= shop.as_of for row in known)
    assert sum(lines == 0 for _, _, lines in expected.values()) > 5
    assert times.total() == sum(lines > 0 for _, _, lines in expected.values())
