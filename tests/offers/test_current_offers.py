"""What decisions read from the warehouse, and the table that they make."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, ClassVar

import msgspec
import pytest

from customer360.campaigns.ledger import known_salt
from customer360.lake.publishing.tables import TABLES
from customer360.lake.warehouse.frames import write_parquet
from customer360.offers.current import decide_everyone
from customer360.offers.customer import Customer, Planned, decode
from customer360.offers.decisions import Choice, PriorityList, decide, draw_key
from customer360.offers.inputs import Plans, customer_rows, customers_of, read_book, read_contents
from customer360.offers.offers import BookContents, Offer
from customer360.offers.thompson import Shown, sample
from tests.offers.conftest import DAY, NOON, Store, many_customers, offer

INPUTS = "select customer_id, inputs from predictions.offer_inputs order by customer_id"


def customers(store: Store, salt: str = "salt") -> dict[str, Customer]:
    book = read_book(store.connection, store.settings.shop, DAY)
    rows = store.connection.cursor().execute(f"{customer_rows(store.settings.place, book)} order by customer_id")
    found = [*customers_of(rows, Plans(store.connection, store.settings, book, salt))]
    return {customer.customer_id: customer for customer in found}


def current(store: Store) -> dict[str, dict[str, Any]]:
    decide_everyone(store.connection, store.settings, PriorityList(), NOON)
    cursor = store.connection.execute("from predictions.current_offers")
    names = [column[0] for column in cursor.description]
    return {row[0]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}


def test_an_offer_is_for_its_products_and_those_of_its_category_of_the_version_in_force(store: Store) -> None:
    store.add(
        "raw.products",
        {"product_id": "p1", "category_id": "books", "name": "Atlas"},
        {"product_id": "p2", "category_id": "books"},
        {"product_id": "p3", "category_id": "postage"},
        {"product_id": "p4", "category_id": "music", "valid_to": datetime(2026, 5, 1)},  # noqa: DTZ001  as DuckDB has it
    )
    store.add(
        "raw.offers",
        offer("o1", category_id="books", product_ids="p3|p9", product_id="p1", priority=2),
        offer("o2", priority=1, condition="always"),
        offer("o3", valid_to=datetime(2026, 5, 1)),  # noqa: DTZ001  as DuckDB has it
    )
    book = read_book(store.connection, store.settings.shop, DAY)
    assert [found.offer_id for found in book.listed] == ["o2", "o1"]
    assert book.listed[1].product_ids == ("p3", "p9", "p1", "p2")
    assert book.products == {"p1": {"books": 1.0}, "p2": {"books": 1.0}, "p3": {"other": 1.0}}
    assert book.names == {"p1": "Atlas"}
    assert book.default is book.listed[1]


def test_stock_counts_the_orders_with_the_offer_from_its_first_day_where_the_shop_is(store: Store) -> None:
    store.add("raw.offers", offer("o1", stock=10, starts_on=date(2026, 5, 2)), offer("o2", stock=3), offer("o3"))
    for moment, name, purchases in (
        ("2026-05-01 21:45", "o1", 100),  # 23:45 on 1 May in Amsterdam
        ("2026-05-01 22:00", "o1", 4),
        ("2026-05-04 11:45", "o1", 2),
        ("2025-01-01 00:00", "o2", 5),
    ):
        store.add("marts.offer_activity", {"event_slice": moment, "offer_id": name, "purchases": purchases})
    book = read_book(store.connection, store.settings.shop, DAY)
    assert {found.offer_id: found.stock_left for found in book.listed} == {"o1": 4, "o2": -2, "o3": None}
    assert [found.offer_id for found in book.available] == ["o1", "o3"]


def activity(customer: str, product: str, views_24h: int = 0, views_30d: int = 0, orders_30d: int = 0) -> dict[str, Any]:
    row = {"customer_id": customer, "product_id": product, "views_24h": views_24h, "views_30d": views_30d}
    zeros = dict.fromkeys(("carts_24h", "orders_24h", "carts_30d"), 0)
    return {**row, "orders_30d": orders_30d, **zeros}


def test_a_customer_is_read_with_products_tastes_rank_attributes_and_what_was_shown(store: Store) -> None:
    store.customers("c1", "c2")
    store.add("marts.rfm_segments", {"customer_id": "c1", "segment": "Loyal"})
    store.add("raw.offers", offer("o1", condition="distance", parameters="over=5"))
    store.add("raw.products", {"product_id": "b1", "category_id": "books"}, {"product_id": "b2", "category_id": "books"})
    store.add("raw.products", {"product_id": "m1", "category_id": "music"})
    for category, probability in (("books", 0.4), ("music", 0.1), ("other", 0.2), ("none", 0.3)):
        store.add("predictions.customer_scores", {"customer_id": "c1", "category_id": category, "probability": probability})
    store.add(
        "marts.customer_product_activity",
        activity("c1", "b1", views_24h=2, views_30d=2, orders_30d=1),
        activity("c1", "b2", views_30d=1),
        activity("c1", "m1", views_30d=7),
        activity("c1", "unlisted", views_30d=5),
        activity("c2", "b2", views_24h=3, views_30d=3),
    )
    for name, value in (("distance_to_store", "12.5"), ("age", "40")):
        store.add("marts.customer_attributes", {"customer_id": "c1", "attribute_name": name, "value": value})
    store.add("marts.customer_offer_activity", {"customer_id": "c1", "offer_id": "o1", "shown_24h": 1, "shown_30d": 4})
    first, second = customers(store).values()
    # Three of four actions with books are of b1: .4 x 3/4 = .3; of other .2, of b2 .1 and of music .1, which comes later.
    assert [name for name, _ in first.products] == ["b1", "unlisted", "b2"]
    assert [chance for _, chance in first.products] == pytest.approx([0.3, 0.2, 0.1])
    assert first.tastes == {"books": 0.4, "music": 0.1, "other": 0.2}
    assert (first.segment, first.activity_rank) == ("Loyal", 2)
    assert first.attributes == {"distance_to_store": 12.5}
    assert first.shown == {"o1": (1, 4)}
    assert second == Customer("c2", activity_rank=1)


def test_product_affinity_counts_before_what_customers_did(store: Store) -> None:
    store.customers("c1", "c2")
    store.add("raw.products", {"product_id": "b1", "category_id": "books"})
    for name in ("c1", "c2"):
        store.add("predictions.customer_scores", {"customer_id": name, "category_id": "books", "probability": 0.5})
        store.add("marts.customer_product_activity", activity(name, "b1", views_30d=3))
    rows = TABLES["product_affinity"].typed(
        [
            {"customer_id": "c1", "product_id": f"p{rank}", "rank": rank, "probability": 0.2 / rank, "as_of": "2026-05-04"}
            for rank in (4, 2, 1, 3)
        ]
    )
    write_parquet(store.settings.place.recommendations / "product_affinity.parquet", rows)
    first, second = customers(store).values()
    assert first.products == (("p1", 0.2), ("p2", 0.1), ("p3", 0.2 / 3))
    assert second.products == (("b1", 0.5),)


def approved(customer: str, arm: str = "contact", day: str = "2026-05-05", **values: Any) -> dict[str, Any]:
    base = {"event": "approved", "customer_id": customer, "campaign_id": "spring", "arm": arm, "contact_date": day}
    return {**base, "offer_id": "o1", **values}


def test_contacts_and_holdouts_of_approved_plans_count_until_their_window_has_passed(store: Store) -> None:
    store.customers("c1", "c2", "c3", "c4", "c5", "c6")
    store.add("raw.offers", offer("o1"), offer("o2", campaign_id="spring"))
    window = store.settings.shop.campaigns.attribution_days
    assert window == 3
    store.ledger(
        approved("c1"),
        approved("c1", day="2026-05-09", campaign_id="later", offer_id="o9"),
        approved("c2", day="2026-05-01"),
        approved("c3", day="2026-04-30"),
        approved("c4", arm="holdout"),
        approved("c5"),
        approved("c6", arm="holdout", plan_version="v2"),
        {"event": "suppressed", "customer_id": "c5", "campaign_id": "spring", "detail": "bounce"},
        {"event": "suppressed", "customer_id": "c6", "campaign_id": "spring", "plan_version": "v2", "detail": "withdrawn: no"},
    )
    found = customers(store)
    assert {name: customer.planned for name, customer in found.items() if customer.planned} == {
        "c1": Planned("spring", "o1", date(2026, 5, 5)),
        "c2": Planned("spring", "o1", date(2026, 5, 1)),
    }
    assert {name: customer.withheld for name, customer in found.items() if customer.withheld} == {
        "c4": frozenset({"o1", "o2"})  # what the campaign carried, and what belongs to it
    }


def test_the_holdouts_are_those_of_the_plans_and_end_with_the_campaign(store: Store) -> None:
    names = [f"c{number:03}" for number in range(400)]
    store.customers(*names)
    store.add("raw.offers", offer("o1"), offer("o2", campaign_id="spring"), offer("o3"))
    store.campaign("spring", offer_id="o1", holdout_share=0.5)
    store.campaign("winter", offer_id="o3", holdout_share=0.9, starts_on="2026-01-01", ends_on="2026-04-30")
    store.rules(campaigns={"global_holdout_share": 0.2})
    found = customers(store)

    # Worked out apart: the SHA-256 of "salt:id" and of "salt:campaign:id" as fractions.

    def number(text: str) -> float:
        return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) / 16**16

    everybody = {name for name in names if number(f"salt:{name}") < 0.2}
    spring = {name for name in names if number(f"salt:spring:{name}") < 0.5}
    assert 40 < len(everybody) < 120
    assert {name for name, customer in found.items() if customer.is_held_out} == everybody
    expected = spring - everybody
    assert {name for name, customer in found.items() if customer.withheld == {"o1", "o2"}} == expected
    assert {name for name, customer in found.items() if customer.withheld} == expected
    assert {name for name, customer in customers(store, "other").items() if customer.is_held_out} != everybody


def test_the_table_has_the_declared_columns_and_a_row_for_each_customer(store: Store) -> None:
    store.customers("c1", "c2")
    store.add("raw.offers", offer("o1", condition="segment", parameters="segments=Loyal", priority=1), offer("o2"))
    store.add("marts.rfm_segments", {"customer_id": "c1", "segment": "Loyal"})
    rows = current(store)
    described = store.connection.execute("describe predictions.current_offers").fetchall()
    assert {name: kind for name, kind, *_ in described} == TABLES["current_offers"].duckdb_types
    assert {name: row["offer_id"] for name, row in rows.items()} == {"c1": "o1", "c2": "o2"}
    assert rows["c1"]["candidates"] == "o1|o2"
    assert rows["c1"]["reason"] == "first of the priority list that applies: the segment is Loyal"
    assert rows["c2"]["reason"] == "the default: nothing else applies"
    assert {row["as_of"].replace(tzinfo=UTC) for row in rows.values()} == {NOON}


class Counting(PriorityList):
    """The list, which counts for whom it is asked."""

    asked: ClassVar[list[str]] = []

    def probabilities(self, candidates: Sequence[Offer], choice: Choice, customer: Customer) -> Sequence[float]:
        self.asked.append(customer.customer_id)
        return super().probabilities(candidates, choice, customer)


def everything(store: Store) -> list[tuple[Any, ...]]:
    return store.connection.execute("from predictions.current_offers order by customer_id").fetchall()


def change(store: Store, customer: str, kind: int) -> None:
    """Something new of a customer: one of five kinds."""
    execute = store.connection.execute
    if kind == 0:
        execute("update marts.rfm_segments set segment = 'Lost' where customer_id = ?", [customer])
    elif kind == 1:
        execute("update predictions.customer_scores set probability = .9 where customer_id = ?", [customer])
    elif kind == 2:
        shown = {"offer_id": "o2", "shown_24h": 2, "shown_30d": 2}
        store.add("marts.customer_offer_activity", {"customer_id": customer, **shown})
    elif kind == 3:
        store.add("marts.customer_product_activity", activity(customer, "b1", views_24h=1, views_30d=3))
    else:
        execute("delete from marts.customer_features where customer_id = ?", [customer])
        store.customers(f"new-{customer}")


def test_deciding_only_who_changed_gives_the_table_that_deciding_everyone_gives(store: Store) -> None:
    random, names = Random(5), [f"c{number:03}" for number in range(300)]
    store.rules(offers={"exploration_share": 0.2, "threshold": 0.1}, campaigns={"global_holdout_share": 0.1})
    store.customers(*names)
    store.add("raw.products", {"product_id": "b1", "category_id": "books"}, {"product_id": "m1", "category_id": "music"})
    store.add(
        "raw.offers",
        offer("o1", category_id="books", priority=1),
        offer("o2", condition="segment", parameters="segments=Loyal", priority=2, most_shown_24h=2),
        offer("o3", condition="top_users", parameters="users=5", priority=3),
        offer("o4", condition="distance", parameters="over=5", priority=4, stock=3),
        offer("o5", priority=5, is_default=True),
    )
    for name in names:
        store.add("marts.rfm_segments", {"customer_id": name, "segment": random.choice(["Loyal", "Lost"])})
        store.add("predictions.customer_scores", {"customer_id": name, "category_id": "books", "probability": random.random()})
        row = {"customer_id": name, "attribute_name": "distance_to_store", "value": str(random.choice([1, 9]))}
        store.add("marts.customer_attributes", row)

    asked = []
    moments = [NOON + timedelta(minutes=15 * number) for number in range(9)]
    for number, moment in enumerate(moments):
        for customer in random.sample(names, 4 if number else 0):
            change(store, customer, random.randrange(5))
        if number == 6:  # an offer is used up, which decides for everybody
            store.add("marts.offer_activity", {"event_slice": "2026-05-04 11:45", "offer_id": "o4", "purchases": 3})
        if number == 7:  # a product has another name, which reasons of anybody may call it by
            store.connection.execute("update raw.products set name = 'Atlas' where product_id = 'b1'")
        if number == 8:
            names = names[:50]
            store.connection.execute("delete from marts.customer_features where customer_id not in (select unnest(?))", [names])
        Counting.asked.clear()
        _, counts = decide_everyone(store.connection, store.settings, Counting(), moment)
        asked.append(len(Counting.asked))
        found = everything(store)
        assert sum(counts.values()) == len(found)
        store.connection.execute("drop table predictions.offer_digests")
        decide_everyone(store.connection, store.settings, PriorityList(), moment)
        assert found == everything(store), moment
    # Everybody at first, sixth and seventh; within the hour those who changed (an active customer moves others' ranks); where
    # the hour turns, also those who explored or do now: up to twice 20%.
    assert asked[0] > 250
    assert asked[6] > 250
    assert asked[7] > 250
    assert max(asked[1], asked[2], asked[3], asked[5]) < 30
    assert 40 < asked[4] < 150
    assert asked[8] < 50


def test_a_policy_that_draws_decides_everybody_anew_where_the_hour_turns(store: Store) -> None:
    names = [f"c{number:02}" for number in range(60)]
    store.customers(*names)
    store.add("raw.offers", offer("o1", priority=1), offer("o2", priority=2))
    policy = sample([Shown(("", ""), "o1", 50.0, 5.0), Shown(("", ""), "o2", 50.0, 5.0)], 1)

    def seen(moment: datetime) -> dict[str, str]:
        decide_everyone(store.connection, store.settings, policy, moment)
        return dict(store.connection.execute("select customer_id, offer_id from predictions.current_offers").fetchall())

    first, same_hour, next_hour = (seen(NOON + timedelta(minutes=minutes)) for minutes in (0, 15, 60))
    assert first == same_hour
    assert 10 < sum(first[name] != next_hour[name] for name in names) < 50
    store.connection.execute("drop table predictions.offer_digests")
    assert seen(NOON + timedelta(minutes=60)) == next_hour


def test_who_does_not_consent_is_decided_on_as_by_a_service_on_nothing_but_the_holdouts(store: Store) -> None:
    many_customers(store)
    with_consent = current(store)
    of_all = dict(store.connection.execute(INPUTS).fetchall())
    store.consents("customer_id not like '%7'")
    rows = current(store)
    inputs = dict(store.connection.execute(INPUTS).fetchall())
    refusing = {name for name in rows if name.endswith("7")}
    assert {name for name in inputs if inputs[name] != of_all[name]} == refusing
    assert all(rows[name] == with_consent[name] for name in rows.keys() - refusing)
    for name in refusing:
        before, known = decode(of_all[name].encode()), decode(inputs[name].encode())
        bare = Customer(name, is_held_out=before.is_held_out, withheld=before.withheld)
        assert msgspec.structs.replace(known, listed=None) == bare
    assert any(with_consent[name]["affinity"] for name in refusing)
    assert not any(rows[name]["affinity"] for name in refusing)


def test_an_offer_that_runs_out_and_comes_back_changes_only_what_is_kept_of_those_who_were_to_see_it(store: Store) -> None:
    names = [f"c{number}" for number in range(9)]
    store.rules(serving=True)
    store.customers(*names)
    store.consents()
    for name in names:
        store.add("marts.rfm_segments", {"customer_id": name, "segment": "Loyal" if name in "c0c1" else "Lost"})
    store.add(
        "raw.offers",
        offer("o1", condition="segment", parameters="segments=Loyal", priority=1, stock=3),
        offer("o2", stock=3, priority=2, condition="segment", parameters="segments=Loyal|Lost", most_shown_24h=1),
        *(offer("o3", priority=3, starts_on=DAY + timedelta(days=1)), offer("o4", is_default=True)),
    )
    store.add("marts.customer_offer_activity", {"customer_id": "c8", "offer_id": "o2", "shown_24h": 1, "shown_30d": 1})

    def seen() -> tuple[dict[str, str], dict[str, str], str]:
        rows = current(store)
        ((basis,),) = store.connection.execute("select distinct basis from predictions.offer_inputs").fetchall()
        shown = {name: f"{row['offer_id']} of {row['candidates']}" for name, row in rows.items()}
        return shown, dict(store.connection.execute(INPUTS).fetchall()), basis

    def sold(offer_id: str, count: int) -> None:
        store.add("marts.offer_activity", {"event_slice": "2026-05-04 11:45", "offer_id": offer_id, "purchases": count})

    first, kept, basis = seen()
    others = {**dict.fromkeys(names[2:8], "o2 of o2|o4"), "c8": "o4 of o4"}
    assert first == {"c0": "o1 of o1|o2|o4", "c1": "o1 of o1|o2|o4", **others}
    sold("o1", 3)
    second, kept_then, basis_then = seen()
    assert second == dict.fromkeys(names[:8], "o2 of o2|o4") | {"c8": "o4 of o4"}
    assert {name for name in names if kept[name] != kept_then[name]} == {"c0", "c1"}
    assert basis != basis_then
    sold("o2", 3)
    assert seen()[0] == dict.fromkeys(names, "o4 of o4")
    store.connection.execute("delete from marts.offer_activity")
    assert seen() == (first, kept, basis)


def test_without_offers_the_table_is_empty_and_typed(store: Store) -> None:
    store.customers("c1")
    assert current(store) == {}
    described = store.connection.execute("describe predictions.current_offers").fetchall()
    assert {name: kind for name, kind, *_ in described} == TABLES["current_offers"].duckdb_types


def test_the_table_and_single_decisions_of_10000_customers_are_equal_and_so_is_a_replay(store: Store) -> None:
    many_customers(store)
    rows = current(store)
    # As a service does it: from the table, and from the book's contents as plain data.
    contents = msgspec.json.encode(read_contents(store.connection, store.settings.shop))
    book = msgspec.json.decode(contents, type=BookContents).book(DAY, store.settings.shop.offers)
    salt = known_salt(store.settings.place, store.settings.shop.campaigns.global_holdout_salt)
    read = [decode(text.encode()) for _, text in store.connection.execute(INPUTS).fetchall()]
    assert store.connection.execute("select distinct basis from predictions.offer_inputs").fetchall() == [(book.basis,)]
    alone = {each.customer_id: decide(book, each, PriorityList(), draw_key(salt), NOON) for each in read}
    bare = [msgspec.structs.replace(each, listed=None) for each in read]
    assert bare == [*customers(store, salt).values()]
    # What the list chooses is kept for all but the held out, and changes nothing, in this hour or another one.
    assert {each.is_held_out for each in read if not each.listed} == {True}
    for moment in (NOON, NOON + timedelta(hours=1)):
        for kept, found_anew in zip(read, bare, strict=True):
            arguments = PriorityList(), draw_key(salt), moment
            assert decide(book, kept, *arguments) == decide(book, found_anew, *arguments)
    assert len(rows) == len(alone) == 10_001
    for name, decision in alone.items():
        assert decision is not None
        row = rows[name]
        assert (row["offer_id"], row["reason"], row["basis"], row["policy_version"], row["propensity"]) == (
            *(decision.offer_id, decision.reason, decision.basis, decision.policy_version),
            decision.propensity,
        )
        assert row["candidates"] == "|".join(decision.candidates)
    assert {decision.offer_id for decision in alone.values() if decision and decision.affinity} == {"o4"}
    assert {decision.basis for decision in alone.values() if decision} == {"holdout", "exploration", "priority_list"}
    assert current(store) == rows
