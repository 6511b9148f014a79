"""Each day of the monitoring tables is what the oracle says was known at its end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

from customer360.settings import Shop
from tests.support import oracle
from tests.support.lab import Lab
from tests.support.random_shop import random_shop, small_shop

MEASURES = ("views", "dwell_seconds", "carts", "orders", "spend", "returned_amount")
OFFERS = ("offers_shown", "offers_clicked")
DAY = timedelta(days=1)
START = datetime.fromisoformat("2026-05-02T12:00")  # of the first load of customers, on the second of four days


def test_every_day_is_as_it_was_known_at_its_end(new_lab: Callable[[Shop], Lab]) -> None:
    """Four days of slices in random order: late events, copies, visitors linked late or twice, lines the reference corrects."""
    shop = random_shop(5, slices=4 * 12, shop=small_shop(120))
    lab = new_lab(shop.shop)
    shop.write(lab.landing)
    lab.load_references(START.replace(tzinfo=UTC))
    lab.run(Random(5).sample(shop.slices, len(shop.slices)))
    lab.transform("build", "--select", "monitoring_customers", "monitoring_activity", "--exclude-resource-type", "unit_test")

    columns = (*MEASURES, *OFFERS)
    rows = lab.query(f"select day_no, day_end, customer_id, category_id, {', '.join(columns)} from marts.monitoring_activity")
    known_at = dict(lab.query("select customer_id, known_at from marts.monitoring_customers"))
    assert {day_no for day_no, *_ in rows} > {0, 1, 2, 3}  # and days of old purchases
    kept = oracle.deduplicate(oracle.read_landing(lab.landing, shop.shop))
    for day_no in range(70):
        day_end = shop.as_of - day_no * DAY
        facts = oracle.known(lab.landing, shop.shop, day_end, kept)
        expected = day(facts)
        found = {(row[2], row[3]): dict(zip(columns, row[4:], strict=True)) for row in rows if row[0] == day_no}
        assert found == expected, day_no
        assert {row[1] for row in rows if row[0] == day_no} <= {day_end}
        known = facts.customers if day_no == 0 else facts.known_then(START)
        assert {customer for customer, moment in known_at.items() if moment <= day_end} == known


def day(facts: oracle.Known) -> dict[tuple[str, str], dict[str, object]]:
    """Customer x category of the last 24 hours; what has no category, as offers have none, is `(none)`."""
    for row in [*facts.events, *facts.purchases]:
        row["category"] = row["category"] or "(none)"
    for event in facts.events:
        if "promotion" in event["event_name"]:
            event["category"] = "(none)"
    table = oracle.nonzero(oracle.activity(facts, DAY, "owner", "category"))
    return {(str(who), str(what)): {name: row[name] for name in (*MEASURES, *OFFERS)} for (who, what), row in table.items()}
