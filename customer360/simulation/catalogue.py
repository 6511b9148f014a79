"""What the shop sells and offers: five categories, 25 products, six offers on the campaign manager's priority list."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from customer360.settings import OTHER, Shop
from customer360.simulation.arrays import Floats, Ints, categorical
from customer360.simulation.parameters import SimulationError

CATEGORIES = ("photography", "computers", "fitness", "apparel", "beauty")

# name, category, list price, popularity inside the category
PRODUCTS = (
    ("DSLR Camera", "photography", 1000, 3),
    ("Compact Camera", "photography", 400, 4),
    ("Zoom Lens DSLR 18-55mm", "photography", 350, 3),
    ("Memory Card 64 GB", "photography", 40, 6),
    ("DSLR Lens Filter 77mm", "photography", 50, 3),
    ("Ultraportable Laptop", "computers", 900, 5),
    ("Tablet", "computers", 400, 6),
    ("Desktop Computer", "computers", 650, 3),
    ("Gaming Desktop", "computers", 2500, 2),
    ("All-in-one computer", "computers", 1450, 2),
    ("Fitness watch", "fitness", 120, 6),
    ("Treadmill", "fitness", 1100, 1),
    ("Women's Running Shoes", "fitness", 125, 5),
    ("Men's Running Shoes", "fitness", 125, 5),
    ("Exercise Ball Medium", "fitness", 40, 3),
    ("Women's high heel evening sandals", "apparel", 75, 4),
    ("Women's wool coat", "apparel", 800, 2),
    ("Women's evening dress", "apparel", 140, 4),
    ("Women's hoodie", "apparel", 40, 6),
    ("Women's cashmere sweater", "apparel", 350, 3),
    ("Moisturizer SPF 15+", "beauty", 15, 6),
    ("Serum", "beauty", 80, 3),
    ("Sunscreen cream", "beauty", 20, 5),
    ("Foundation brush", "beauty", 7, 4),
    ("Foundation", "beauty", 14, 5),
)

# name, category, product, condition, parameters, priority, first and last day relative to the first live day (None: always)
OFFERS = (
    ("10% off for top 1000 users in the past day", None, None, "top_users", "users=1000", 4, None),
    (
        *("Free shipping for online orders if home address is 100 miles away from store or more", None, None),
        *("distance", "over=100", 5, None),
    ),
    ("Fresh start - buy 1 get 1 free on fitness shoes", "fitness", None, "date_range", None, 6, (-20, 10)),
    ("10% off in fitness", "fitness", None, "specific_products", None, 1, None),
    ("10% off in beauty", "beauty", None, "specific_products", None, 2, None),
    ("30% Off on Zoom Lens DSLR 18-55mm", None, 2, "specific_products", None, 3, None),
)
ALWAYS = (-400, 400)

PRODUCT_IDS = [f"p{number:02}" for number in range(1, len(PRODUCTS) + 1)]
OFFER_IDS = [f"o{number}" for number in range(1, len(OFFERS) + 1)]
PRODUCT_CATEGORY = np.array([CATEGORIES.index(product[1]) for product in PRODUCTS], dtype=np.int64)
PRICES = np.array([product[2] for product in PRODUCTS], dtype=np.float64)
POPULARITY = np.array(
    [[product[3] if product[1] == category else 0 for product in PRODUCTS] for category in CATEGORIES], dtype=np.float64
)
# The category that an offer speaks to; -1 for everyone's offers.
OFFER_CATEGORY = np.array(
    [CATEGORIES.index(o[1]) if o[1] else (PRODUCT_CATEGORY[o[2]] if o[2] is not None else -1) for o in OFFERS], dtype=np.int64
)


@dataclass(frozen=True)
class Catalogue:
    """The shop's categories, products and offers as reference tables, and draws from them."""

    first_live_day: date

    def categories(self) -> pd.DataFrame:
        """One row per category."""
        return pd.DataFrame({"category_id": CATEGORIES, "name": [name.capitalize() for name in CATEGORIES]})

    def products(self) -> pd.DataFrame:
        """One row per product, price in the shop's currency."""
        rows = [
            (p, name, category, f"{price:.2f}") for p, (name, category, price, _) in zip(PRODUCT_IDS, PRODUCTS, strict=True)
        ]
        return pd.DataFrame(rows, columns=["product_id", "name", "category_id", "price"])

    def offer_days(self) -> list[tuple[date, date]]:
        """First and last shop-local day of each offer."""
        spans = [offer[6] or ALWAYS for offer in OFFERS]
        return [(self.first_live_day + timedelta(days=a), self.first_live_day + timedelta(days=b)) for a, b in spans]

    def offers(self) -> pd.DataFrame:
        """One row per offer; a row names its category or its product, or neither where it is for everyone."""
        rows = [
            (offer_id, name, category, PRODUCT_IDS[product] if product is not None else None, *rules, *days)
            for offer_id, (name, category, product, *rules, _), days in zip(OFFER_IDS, OFFERS, self.offer_days(), strict=True)
        ]
        columns = [
            "offer_id",
            "name",
            "category_id",
            "product_id",
            "condition",
            "parameters",
            "priority",
            "starts_on",
            "ends_on",
        ]
        return pd.DataFrame(rows, columns=columns)

    def active_offers(self, day: date) -> Ints:
        """Offers that may be shown on a shop-local day."""
        return np.array([i for i, (first, last) in enumerate(self.offer_days()) if first <= day <= last], dtype=np.int64)


def pick_products(categories: Ints, draws: Floats) -> Ints:
    """For each category a product, by popularity."""
    return categorical(POPULARITY[categories], draws)


def swapped_categories(swap: tuple[str, str]) -> tuple[int, int]:
    """Places of the two categories that a drift exchanges. Raises ``SimulationError`` for one that the shop does not sell."""
    unknown = sorted(set(swap) - set(CATEGORIES))
    if unknown:
        raise SimulationError(f"the drift swaps {', '.join(unknown)}, which the shop does not sell: {', '.join(CATEGORIES)}")
    return CATEGORIES.index(swap[0]), CATEGORIES.index(swap[1])


def counterparts(swap: tuple[str, str]) -> Ints:
    """For each product the one that is bought in its place: of two exchanged categories the n-th for the n-th."""
    mapped = np.arange(len(PRODUCTS))
    ours, theirs = (np.flatnonzero(np.equal(PRODUCT_CATEGORY, place)) for place in swapped_categories(swap))
    mapped[ours], mapped[theirs] = theirs, ours
    return mapped


def require_categories(shop: Shop) -> None:
    """Raise ``SimulationError`` unless the shop's categories are the five that the simulation sells."""
    named = shop.categories if isinstance(shop.categories, list) else shop.resolved_categories
    if named is None:
        return
    unknown = sorted(set(named) - {*CATEGORIES, OTHER})
    missing = sorted(set(CATEGORIES) - set(named)) if isinstance(shop.categories, list) else []
    if unknown or missing:
        wrong = [f"lists {', '.join(unknown)}"] * bool(unknown) + [f"leaves out {', '.join(missing)}"] * bool(missing)
        raise SimulationError(
            f"the synthetic shop sells {', '.join(CATEGORIES)}, but shop.yaml of {shop.name!r} {'; '.join(wrong)}. "
            "Set categories in shop.yaml to these five, or {top: K}."
        )
