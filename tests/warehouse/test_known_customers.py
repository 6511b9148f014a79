"""Whom a training set holds: customers of today who were none at a cut-off would teach it that its customers buy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import mean

from customer360.settings import Shop
from tests.support.lab import Lab
from tests.support.random_shop import random_shop, small_shop

CUTOFF = datetime.fromisoformat("2026-05-02T00:00")
OLD, NEW, SILENT = 200, 40, 20


def test_customers_of_today_who_were_none_at_a_cutoff_are_not_in_its_rows(new_lab: Callable[[Shop], Lab]) -> None:
    """200 old customers, of whom 20 buy in the week after the cut-off; 40 who first buy in that week; 20 who never buy.

    One file lists all of them. Of the new ones half have a known_since, of the silent ones half one before the cut-off. Two old
    ones have a known_since after it: their earlier orders were matched to them later.
    """
    random = Random(1)
    orders = [(f"old{number}", CUTOFF - timedelta(days=random.randrange(1, 300))) for number in range(OLD)]
    orders += [(f"old{number}", CUTOFF + timedelta(days=random.random() * 7)) for number in range(0, OLD, 10)]
    orders += [(f"new{number}", CUTOFF + timedelta(days=random.random() * 7)) for number in range(NEW)]
    known_since = {f"new{number}": CUTOFF + timedelta(hours=1) for number in range(0, NEW, 2)}
    known_since |= {f"silent{number}": CUTOFF - timedelta(days=number) for number in range(0, SILENT, 2)}
    known_since |= {f"old{number}": CUTOFF + timedelta(days=1) for number in (0, 1)}
    people = [f"{kind}{number}" for kind, count in (("old", OLD), ("new", NEW), ("silent", SILENT)) for number in range(count)]
    shop = random_shop(6, 4 * 3, small_shop(360, training={"cutoffs": 2}))
    shop.reference["customers"] = [{"customer_id": who, "known_since": known_since.get(who, "")} for who in people]
    columns = ("order_id", "customer_id", "purchased_at", "product_id", "category_id", "amount")
    lines = [(f"o{number}", who, f"{at.isoformat()}Z", "P1", "books", 5) for number, (who, at) in enumerate(orders)]
    shop.reference["purchases"] = [dict(zip(columns, line, strict=True)) for line in lines]
    lab = new_lab(shop.shop)
    shop.write(lab.landing)
    lab.load_references((CUTOFF + timedelta(days=8)).replace(tzinfo=UTC))
    lab.run(shop.slices)
    rows = {who: row for (who,), row in lab.training_features([CUTOFF])[CUTOFF].items() if who in people}

    buyers = {who for who, at in orders if at >= CUTOFF}
    expected = {who for who, at in orders if at < CUTOFF} - {"old0", "old1"} | {f"silent{n}" for n in range(0, SILENT, 2)}
    assert rows.keys() == expected
    assert {who for who, row in rows.items() if row["label"] != "none"} == buyers & expected
    bought = mean(row["label"] != "none" for row in rows.values())
    assert round(bought, 3) == round(19 / 208, 3)  # 9.1%; with all that are listed now 60 of 260, 23.1%
    assert mean(who in buyers for who in set(people) - expected) == 41 / 52  # of those left out 78.8%
    now = {who for (who,) in lab.query("select customer_id from marts.customer_features")}
    assert now >= set(people)
