"""What the tables must say of the generated retailer, worked out line by line in plain Python, without SQL or frames.

A line is a dict with the columns of ``SimulatedRetailer.lines``. All moments are naive UTC. An order is an ``order_id`` with a
sold line (its amount is above 0, or it is free and its quantity above 0). A return is any other line, under whatever order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from customer360.settings import Shop
from customer360.simulation import SimulatedRetailer

Line = dict[str, Any]


@dataclass(frozen=True)
class RetailerTruth:
    """The retailer's lines and customers, asked as of any moment.

    ``known_since``: since when the shop's file says that a customer is known; None where it says nothing.
    """

    shop: Shop
    lines: list[Line]
    known_since: dict[str, datetime | None]

    @classmethod
    def of(cls, shop: Shop, simulated: SimulatedRetailer) -> RetailerTruth:
        """The truth of a simulated retailer as this shop's settings see it."""
        lines = simulated.lines.astype({"purchased_at": object}).to_dict("records")
        known = zip(simulated.customers["customer_id"], simulated.customers["known_since"].astype(object), strict=True)
        return cls(
            shop,
            [{**line, "purchased_at": line["purchased_at"].to_pydatetime()} for line in lines],
            {customer: since.to_pydatetime() if since == since else None for customer, since in known},  # noqa: PLR0124  NaT
        )

    def date(self, moment: datetime) -> date:
        """The shop's date at a moment."""
        return moment.replace(tzinfo=UTC).astimezone(self.shop.zone).date()

    def before(self, as_of: datetime) -> list[Line]:
        """Lines bought or returned before a moment."""
        return [line for line in self.lines if line["purchased_at"] < as_of]

    def within(self, start: datetime, days: int) -> list[Line]:
        """Lines of [start, start + days x 24 hours)."""
        return [line for line in self.lines if start <= line["purchased_at"] < start + timedelta(days=days)]

    def category(self, line: Line) -> str:
        """The line's category among those of shop.yaml, else "other"."""
        return line["category_id"] if line["category_id"] in self.shop.category_ids else "other"

    def rfm(self, as_of: datetime) -> dict[str, tuple[int | None, int, Decimal]]:
        """Recency (days), frequency (orders) and monetary (net) of each customer with lines before ``as_of``."""
        found = {}
        for customer, lines in by_customer(self.before(as_of)).items():
            ages = [((self.date(as_of) - self.date(line["purchased_at"])).days, line) for line in lines]
            last: dict[str, int] = {}
            for age, line in ages:
                if is_sold(line):
                    last[line["order_id"]] = min(age, last.get(line["order_id"], age))
            window = self.shop.rfm.window_days
            found[customer] = (
                min(last.values(), default=None),
                sum(age < window for age in last.values()),
                money(line for age, line in ages if age < window),
            )
        return found

    def window(self, as_of: datetime, days: int) -> dict[str, tuple[int, Decimal, Decimal]]:
        """Orders, net spend and returned amount (positive) of each customer in the last ``days`` x 24 hours."""
        lines = by_customer(self.within(as_of - timedelta(days=days), days))
        return {
            customer: (
                len({line["order_id"] for line in bought if is_sold(line)}),
                money(bought),
                -money(line for line in bought if not is_sold(line)),
            )
            for customer, bought in lines.items()
        }

    def labels(self, cutoff: datetime) -> dict[str, str]:
        """The category of each customer's highest net spend above 0 in the label horizon; ties by name."""
        labels = {}
        for customer, lines in by_customer(self.within(cutoff, self.shop.label_horizon_days)).items():
            spend: dict[str, int] = defaultdict(int)
            for line in lines:
                spend[self.category(line)] += line["cents"]
            best = min(((-cents, category) for category, cents in spend.items() if cents > 0), default=None)
            if best is not None:
                labels[customer] = best[1]
        return labels

    def known(self, as_of: datetime) -> set[str]:
        """Customers whom the shop could know at a moment of the past: by ``known_since``, else by their first line."""
        bought = {line["customer_id"] for line in self.before(as_of)} - {None}
        return {
            customer for customer, since in self.known_since.items() if (since <= as_of if since else customer in bought)
        } | bought

    def category_lines(self, as_of: datetime) -> dict[str, dict[str, int]]:
        """Sold lines of each customer by category, over everything before ``as_of``."""
        counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for line in self.before(as_of):
            if line["customer_id"] and is_sold(line):
                counts[line["customer_id"]][self.category(line)] += 1
        return counts


def is_sold(line: Line) -> bool:
    """True for a line that was bought, False for a return."""
    return bool(line["cents"] > 0 or (line["cents"] == 0 and line["quantity"] > 0))


def money(lines: Iterable[Line]) -> Decimal:
    """Sum of the lines in the shop's currency."""
    return Decimal(sum(line["cents"] for line in lines)) / 100


def by_customer(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """Lines by customer, without guests."""
    found: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line["customer_id"]:
            found[line["customer_id"]].append(line)
    return found
