"""The offers of a shop, and those of one shop-local day, ready to decide on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import msgspec

from customer360.offers.conditions import Condition, has_products, parse_condition, split
from customer360.offers.customer import Customer
from customer360.settings import OfferRules

LAST = 10**9  # the priority of an offer without one
KEPT = 20_000  # of what a book keeps for customers who are alike
Vector = Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """One offer. Days are shop-local and included; ``stock_left`` is what is left of its stock; None means no limit."""

    offer_id: str
    name: str
    condition: Condition
    product_ids: tuple[str, ...] = ()
    priority: int = LAST
    is_default: bool = False
    starts_on: date | None = None
    ends_on: date | None = None
    most_shown_24h: int | None = None
    most_shown_30d: int | None = None
    stock_left: int | None = None
    campaign_id: str | None = None

    def runs_on(self, day: date) -> bool:
        """Whether its dates include a shop-local day."""
        return (self.starts_on is None or self.starts_on <= day) and (self.ends_on is None or day <= self.ends_on)

    def may_be_shown_to(self, customer: Customer) -> bool:
        """Whether its limits per customer leave room, and no campaign withholds it from the customer."""
        if self.offer_id in customer.withheld:
            return False
        if self.most_shown_24h is None and self.most_shown_30d is None:
            return True
        day, month = customer.shown.get(self.offer_id, (0, 0))
        return (self.most_shown_24h is None or day < self.most_shown_24h) and (
            self.most_shown_30d is None or month < self.most_shown_30d
        )


class OfferRow(msgspec.Struct, frozen=True):
    """A row of the reference table ``offers``: the columns that decisions rest on. Empty ones are null."""

    offer_id: str
    name: str
    product_ids: str | None
    product_id: str | None
    category_id: str | None
    condition: str | None
    parameters: str | None
    priority: int | None
    is_default: bool | None
    starts_on: date | None
    ends_on: date | None
    most_shown_24h: int | None
    most_shown_30d: int | None
    stock: int | None
    campaign_id: str | None


class BookContents(msgspec.Struct, frozen=True):
    """What a book is made of on any day, as plain data.

    ``category_products``: products by category, of categories that offers name. ``vectors``: category_id -> weight of each
    product that offers name. ``used``: what orders have used of each offer's stock. ``names``: of these products, for reasons.
    """

    offers: tuple[OfferRow, ...]
    category_products: dict[str, tuple[str, ...]]
    vectors: dict[str, dict[str, float]]
    used: dict[str, int]
    names: dict[str, str] = {}

    def book(self, day: date, rules: OfferRules) -> Book:
        """The offers of a shop-local day. Raises ``ConditionError`` as ``offer_of``."""
        rows = ((msgspec.structs.asdict(row), self.used.get(row.offer_id, 0)) for row in self.offers)
        offers = (offer_of(row, self.category_products, used) for row, used in rows)
        return open_book(day, rules, offers, self.vectors, self.names)


def offer_of(row: Mapping[str, Any], category_products: Mapping[str, Iterable[str]], used: int = 0) -> Offer:
    """An offer of its row in the reference table, whose category stands for its products; ``used`` of the stock is gone.

    Raises ``ConditionError`` on a row that the load of the table would have set aside.
    """
    products = [*split(row["product_ids"]), *filter(None, [row["product_id"]]), *category_products.get(row["category_id"], ())]
    return Offer(
        offer_id=row["offer_id"],
        name=row["name"],
        condition=parse_condition(row["condition"], row["parameters"], has_products(row)),
        product_ids=tuple(dict.fromkeys(products)),
        priority=LAST if row["priority"] is None else row["priority"],
        is_default=bool(row["is_default"]),
        starts_on=row["starts_on"],
        ends_on=row["ends_on"],
        most_shown_24h=row["most_shown_24h"],
        most_shown_30d=row["most_shown_30d"],
        stock_left=None if row["stock"] is None else row["stock"] - used,
        campaign_id=row["campaign_id"],
    )


@dataclass(frozen=True, slots=True)
class Pool:
    """Offers that a customer may see, in the order of the list. ``by_id``: offer_id -> place in the pool, and the offer.

    ``first``: the first general one that is not the default; None without one.
    """

    offers: tuple[Offer, ...]
    by_id: Mapping[str, tuple[int, Offer]]
    first: Offer | None


@dataclass(frozen=True, slots=True)
class Book:
    """All offers on a shop-local ``day``, indexed; ``open_book`` makes it.

    ``listed``: in the order of the campaign manager's list; ``available``: those of them that run on the day and are in stock;
    ``possible``: those that somebody may see.
    ``default``: the offer marked so, else the last of the list; None only without offers. ``by_product``: product_id -> its
    offers. ``products``: the category vector, of length 1, of each product that an offer names. ``version``: of offers,
    products and rules, not of the day, the stock and ``names``, which reasons call products by. ``by_id``: offer_id -> place
    in the list, and the offer. ``asking``: offers that have not ended and whose condition holds for some customers alone.
    ``kept``: what customers who are alike share, made when the first of them is decided. ``basis``: a hash of all that the
    candidates and the list's choice depend on beside the customer; books of two days may have the same.
    """

    day: date
    rules: OfferRules
    listed: tuple[Offer, ...]
    available: tuple[Offer, ...]
    possible: tuple[Offer, ...]
    default: Offer | None
    by_product: Mapping[str, tuple[Offer, ...]]
    products: Mapping[str, Vector]
    version: str
    names: Mapping[str, str]
    by_id: Mapping[str, tuple[int, Offer]]
    asking: tuple[Offer, ...]
    basis: str
    kept: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def eligible(self, customer: Customer) -> str:
        """Offers that leave room in the customer's limits, are not withheld, and whose condition holds, whatever the stock.

        The bits of their places in the list, in hexadecimal; ``pool`` reads them.
        """
        barred = [
            name
            for name in (*customer.shown, *customer.withheld)
            if name in self.by_id and not self.by_id[name][1].may_be_shown_to(customer)
        ]
        failing = [offer.offer_id for offer in self.asking if not offer.condition.holds(customer, self.day)]
        key = (*barred, "", *failing)
        found: str | None = self.kept.get(key)
        if found is None:
            without = {*barred, *failing}
            found = f"{sum(1 << place for place, offer in self.by_id.values() if offer.offer_id not in without):x}"
            self.keep(key, found)
        return found

    def pool(self, eligible: str) -> Pool:
        """Those of the eligible offers that run on the day and are in stock."""
        found: Pool | None = self.kept.get(eligible)
        if found is None:
            bits = int(eligible, 16)
            found = _pool(tuple(offer for offer in self.possible if bits >> self.by_id[offer.offer_id][0] & 1), self.default)
            self.keep(eligible, found)
        return found

    def keep(self, key: Any, content: Any) -> None:
        """Keep what equal keys share, at most ``KEPT`` of it."""
        if len(self.kept) >= KEPT:
            self.kept.clear()
        self.kept[key] = content


def open_book(
    day: date,
    rules: OfferRules,
    offers: Iterable[Offer],
    products: Mapping[str, Vector],
    names: Mapping[str, str] | None = None,
) -> Book:
    """The offers of a day. ``products``: product_id -> category_id -> weight, of any length. ``names``: product_id -> name."""
    listed = tuple(sorted(offers, key=lambda offer: (offer.priority, offer.offer_id)))
    by_product: dict[str, tuple[Offer, ...]] = {}
    for offer in listed:
        for product in offer.product_ids:
            by_product[product] = (*by_product.get(product, ()), offer)
    unit = {product: _unit(vector) for product, vector in sorted(products.items()) if product in by_product}
    content = [repr(replace(offer, stock_left=None)) for offer in listed]
    default = next((offer for offer in listed if offer.is_default), listed[-1] if listed else None)
    available = tuple(o for o in listed if o.runs_on(day) and (o.stock_left is None or o.stock_left > 0))
    version = _hash(f"{content} {unit} {rules!r}")
    nobody = Customer("")
    possible = tuple(o for o in available if o.condition.reads_customer or o.condition.holds(nobody, day))
    return Book(
        day=day,
        rules=rules,
        listed=listed,
        available=available,
        possible=possible,
        default=default,
        by_product=by_product,
        products=unit,
        version=version,
        names=names or {},
        by_id=_by_id(listed),
        asking=tuple(o for o in listed if o.condition.reads_customer and (o.ends_on is None or day <= o.ends_on)),
        basis=_hash(f"{version} {[o.offer_id for o in possible]} {sorted((names or {}).items())}"),
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _pool(offers: tuple[Offer, ...], default: Offer | None) -> Pool:
    first = next((offer for offer in offers if offer is not default and offer.condition.is_general), None)
    return Pool(offers, _by_id(offers), first)


def _by_id(offers: tuple[Offer, ...]) -> Mapping[str, tuple[int, Offer]]:
    return {offer.offer_id: (place, offer) for place, offer in enumerate(offers)}


def _unit(vector: Vector) -> Vector:
    """The vector with the length 1; one of zeros stays as it is."""
    length = math.sqrt(sum(weight * weight for weight in vector.values()))
    return {name: weight / length for name, weight in sorted(vector.items())} if length else dict(vector)
