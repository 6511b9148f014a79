"""Browsing in the retail360 data set: seconds a day in each of three product groups, as a shop's hub sent them.

A message is one customer's day: the day's stamp and the seconds spent on T1, T2 and T3. Which products a customer lingers on
depends on the group alone:

    group               T1 (mean, sd)   T2          T3
    technology          700, 50         10, 10      15, 10
    fashion             10, 10          1000, 50    650, 10
    passers-by          10, 10          10, 10      15, 10

Seconds are normal, without their sign and rounded to a tenth. A session is a sample of half of all customer-days: of 6,000
customers and 67 days, 201,000 messages. Each session draws anew: its seconds add to those of other sessions of the same day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from customer360.lake.slices import naive
from customer360.simulation.arrays import Floats, Ints, generator

PRODUCTS = ("T1", "T2", "T3")
TECHNOLOGY, FASHION, PASSER_BY = range(3)
MEANS: Floats = np.array([[700.0, 10.0, 15.0], [10.0, 1000.0, 650.0], [10.0, 10.0, 15.0]])
DEVIATIONS: Floats = np.array([[50.0, 10.0, 10.0], [10.0, 50.0, 10.0], [10.0, 10.0, 10.0]])
SHARE = 0.5


def groups_of(bought: Sequence[frozenset[str]], may_buy_fashion: Sequence[bool]) -> Ints:
    """The group of each customer, from the products that each bought.

    Who buys T1 browses T1, who buys T2 or T3 browses both. Every one of the published technology group bought; so of those
    who did not, the ones with the fashion group's age and income (25 to 55, over $50,000) are of it, and all others pass by.
    """
    return np.array(
        [
            TECHNOLOGY if "T1" in products else FASHION if products or may_buy else PASSER_BY
            for products, may_buy in zip(bought, may_buy_fashion, strict=True)
        ],
        dtype=np.int64,
    )


def session(
    customer_ids: Sequence[str], groups: Ints, days: Sequence[datetime], *, seed: int, number: int, share: float = SHARE
) -> pa.Table:
    """The messages of one session: customer_id, browsed_at (UTC without zone), and seconds in T1, T2, T3.

    One row a message, ``share`` of all customer-days, in random order. Same seed and number, same messages.
    """
    random = generator(seed, number)
    customer_days = len(customer_ids) * len(days)
    drawn = random.permutation(customer_days)[: int(customer_days * share)]
    customer, day = drawn // len(days), drawn % len(days)
    seconds = np.abs(random.normal(MEANS[groups[customer]], DEVIATIONS[groups[customer]])).round(1)
    columns: dict[str, Any] = {
        "customer_id": np.array(customer_ids, dtype=object)[customer],
        "browsed_at": np.array([naive(moment) for moment in days], dtype="datetime64[us]")[day],
        **{product: seconds[:, place] for place, product in enumerate(PRODUCTS)},
    }
    return pa.table(columns)
