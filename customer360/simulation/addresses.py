"""E-mail addresses of customers, by a generator of their own so that nothing else changes, and pages of products."""

from __future__ import annotations

import pandas as pd

from customer360.simulation.arrays import generator
from customer360.simulation.parameters import Simulation

DOMAINS = ("example.com", "example.org", "example.net", "bücher.example")  # RFC 2606: they are nobody's
DOMAIN_SHARES = (0.55, 0.25, 0.15, 0.05)
MISSING, INVALID, SHARED = 0.02, 0.01, 0.01  # shares of customers; the last have that of the customer before them
STREAM = 10


def customer_addresses(simulation: Simulation, customer_ids: list[str]) -> pd.Series[str]:
    """An address of each customer, None where the shop knows none; some cannot be mailed, and some are another customer's."""
    rng = generator(simulation.seed, STREAM)
    domains = rng.choice(DOMAINS, size=len(customer_ids), p=DOMAIN_SHARES)
    own = pd.Series([f"{name}@{domain}" for name, domain in zip(customer_ids, domains, strict=True)], dtype="object")
    of_another = own.shift(fill_value=own.iloc[-1]).str.capitalize()
    invalid = pd.Series([f"{name}@localhost" for name in customer_ids], dtype="object")
    kind = rng.random(len(customer_ids))
    found = own.mask(kind < MISSING + INVALID + SHARED, of_another).mask(kind < MISSING + INVALID, invalid)
    return found.mask(kind < MISSING, None)


def with_pages(products: pd.DataFrame, public_url: str) -> pd.DataFrame:
    """Products with the address of the picture of their category, and of their page, in the storefront of the api."""
    pictures = public_url + "/demo/" + products["category_id"] + ".png"
    return products.assign(picture_url=pictures, product_url=public_url + "/demo?product=" + products["product_id"])
