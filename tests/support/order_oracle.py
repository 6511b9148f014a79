"""Orders by day, by cohort and by product and month, worked out from the oracle's purchase lines: slow and plain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tests.support.oracle import Known, Row, Table, is_purchase, local_date


def known_lines(facts: Known) -> list[Row]:
    """Everyone's lines before as_of, with their shop-local day."""
    return [Row({**line, "day": local_date(line["at"], facts.shop)}) for line in facts.purchases if line["at"] < facts.as_of]


def first_lines(lines: Iterable[Row]) -> dict[tuple[str | None, str], datetime]:
    """The moment of the first purchase line of each order of each customer, None for a guest."""
    found: dict[tuple[str | None, str], datetime] = {}
    for line in filter(is_purchase, lines):
        key = line["owner"], line["order_id"]
        found[key] = min(found.get(key, line["at"]), line["at"])
    return found


def order_histories(lines: Iterable[Row]) -> dict[str, list[tuple[datetime, str]]]:
    """Each customer's orders in the order of time."""
    found: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for (customer, order), at in first_lines(lines).items():
        if customer:
            found[customer].append((at, order))
    return {customer: sorted(orders) for customer, orders in found.items()}


def total(lines: Iterable[Row]) -> Decimal:
    """The amount of lines."""
    return sum((line["amount"] for line in lines), Decimal(0))


def amounts(lines: list[Row]) -> Row:
    """Gross, returned and net amount."""
    gross, returns = total(filter(is_purchase, lines)), -total(line for line in lines if not is_purchase(line))
    return Row(gross_revenue=gross, returned_amount=returns, revenue=gross - returns)


def orders_daily(facts: Known) -> Table:
    """By shop-local day: an order is of the day of its first purchase line, and of the first of its customers by id."""
    lines = known_lines(facts)
    histories = order_histories(lines)
    owners: dict[str, list[str]] = defaultdict(list)
    for customer, order in first_lines(lines):
        owners[order].append(customer or "~a guest")
    days: dict[tuple[date], dict[str, Any]] = defaultdict(lambda: defaultdict(set))
    for (customer, order), at in first_lines(lines).items():
        day = days[local_date(at, facts.shop),]
        is_first = customer is not None and histories[customer][0] == (at, order)
        if customer:
            day["customers"].add(customer)
        if is_first:
            day["new_customers"].add(customer)
        if min(owners[order]) == (customer or "~a guest"):
            day["orders"].add(order)
            day["guest_orders" if customer is None else "first" if is_first else "repeat_orders"].add(order)
    names = ("orders", "customers", "new_customers", "repeat_orders", "guest_orders")
    return {
        (day,): Row(
            {name: len(days[day,][name]) for name in names},
            **amounts(own := [line for line in lines if line["day"] == day]),
            returning_customers=len(days[day,]["customers"] - days[day,]["new_customers"]),
            revenue_of_guests=total(line for line in own if line["owner"] is None),
        )
        for day in {line["day"] for line in lines}
    }


def retention_cohorts(facts: Known) -> Table:
    """By month of the first order and months since, up to that of as_of."""
    lines = known_lines(facts)
    histories = order_histories(lines)
    cohorts: dict[int, list[str]] = defaultdict(list)
    for customer, orders in histories.items():
        cohorts[month_number(local_date(orders[0][0], facts.shop))].append(customer)
    table: Table = {}
    for cohort, customers in cohorts.items():
        for month in range(cohort, month_number(local_date(facts.as_of, facts.shop)) + 1):
            orders = [who for who in customers for at, _ in histories[who] if month_number(local_date(at, facts.shop)) == month]
            own = [line for line in lines if line["owner"] in customers and month_number(line["day"]) == month]
            table[first_day(cohort), month - cohort] = Row(
                customers=len(customers), active_customers=len(set(orders)), orders=len(orders), revenue=total(own)
            )
    return table


def product_months(facts: Known) -> Table:
    """By month and product: what was bought and returned."""
    groups: dict[tuple[date, str], list[Row]] = defaultdict(list)
    for line in known_lines(facts):
        groups[line["day"].replace(day=1), line["product_id"] or "(none)"].append(line)
    return {
        key: Row(
            **amounts(lines),
            orders=len({line["order_id"] for line in lines if is_purchase(line)}),
            buyers=len({line["owner"] or ("guest", line["order_id"]) for line in lines if is_purchase(line)}),
        )
        for key, lines in groups.items()
    }


def month_number(day: date) -> int:
    """Months since the year 0."""
    return day.year * 12 + day.month - 1


def first_day(month: int) -> date:
    """The first day of a month by its number."""
    return date(month // 12, month % 12 + 1, 1)
