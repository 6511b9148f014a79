"""The oracle itself, on cases small enough to work out by hand."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from customer360.features import feature_list
from tests.support import oracle
from tests.support.random_shop import random_shop, small_shop, write_slice

SHOP = small_shop()
NOON = datetime.fromisoformat("2026-05-01T12:00")
QUARTER = timedelta(minutes=15)
at = datetime.fromisoformat


def event(event_id: str, name: str = "view_item", when: str = "2026-05-01T12:05:00Z", **columns: Any) -> dict[str, Any]:
    who = {} if {"customer_id", "visitor_id"} & columns.keys() else {"customer_id": "ann"}
    return {"event_id": event_id, "event_name": name, "event_at": when, **who, **columns}


def purchase(event_id: str, amount: float, when: str = "2026-05-01T12:05:00Z", **columns: Any) -> dict[str, Any]:
    values = {"order_id": event_id, "product_id": "P1", "amount": amount, "category_id": "books", **columns}
    return event(event_id, "purchase", when, **values)


def reference(landing: Path, table: str, *rows: dict[str, Any]) -> None:
    path = landing / "reference" / table / "rows.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(json.dumps(row) for row in rows))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"event_id": "e', "unreadable"),
        ("[1]", "unreadable"),
        (event(""), "event_id"),
        (event("e", customer_id=None), "customer_id or visitor_id"),
        (event("e", when="soon"), "event_at"),
        (event("e", when="2026-05-01T13:15:00.001Z"), "event_at in the future"),
        (event("e", when="2025-03-27T11:59:59Z"), "event_at too old"),
        (event("e", dwell_seconds=-0.1), "dwell_seconds"),
        (event("e", dwell_seconds="NaN"), "dwell_seconds"),
        (event("e", quantity="many"), "quantity"),
        (event("e", line_no="x"), "line_no"),
        (event("e", "purchase", amount=1), "order_id"),
        (event("e", "purchase", order_id="1"), "amount"),
        (event("e", "purchase", order_id="1", amount="inf"), "amount"),
        (event("e", "purchase", order_id="1", amount="NaN"), "amount"),
        (purchase("e", 1, currency="USD"), "currency"),
    ],
)
def test_a_line_that_breaks_a_rule_is_quarantined(tmp_path: Path, line: Any, reason: str) -> None:
    write_slice(tmp_path, NOON, [line])
    found = oracle.read_clicks(tmp_path / "clicks", SHOP)[NOON]
    assert (found.good, found.quarantined) == ([], [("part-0.jsonl", 1, reason)])


@pytest.mark.parametrize(
    ("when", "utc"),
    [
        ("2026-05-01T13:15:00", "2026-05-01T13:15:00"),  # one hour after the slice's end is still good
        ("2026-05-01T14:00:00+02:00", "2026-05-01T12:00:00"),
        ("2025-03-27T12:00:00Z", "2025-03-27T12:00:00"),  # exactly 400 days
    ],
)
def test_times_are_utc_and_their_limits_belong_to_the_good(tmp_path: Path, when: str, utc: str) -> None:
    write_slice(tmp_path, NOON, [event("e", when=when)])
    assert [e["event_at"] for e in oracle.read_clicks(tmp_path / "clicks", SHOP)[NOON].good] == [at(utc)]


def test_the_lowest_line_of_the_lowest_file_stays(tmp_path: Path) -> None:
    write_slice(tmp_path, NOON, [event(i, product_id=product) for i, product in ("a1", "a2", "b3", "b4", "a5")])
    found = oracle.read_clicks(tmp_path / "clicks", SHOP)[NOON]  # five lines make a file of two and a file of three
    assert [e["product_id"] for e in found.good] == ["1", "3"]
    assert found.duplicates == [("part-0.jsonl", 2), ("part-1.jsonl.gz", 2), ("part-1.jsonl.gz", 3)]


def test_copies_suppress_each_other_for_three_days_even_when_dropped(tmp_path: Path) -> None:
    for days in (0, 2, 4, 8):  # 2 is dropped by 0, 4 by 2 although 2 was dropped, 8 is alone again
        write_slice(tmp_path, NOON + timedelta(days=days), [event("a", when=(NOON + timedelta(days=days)).isoformat())])
    kept = oracle.deduplicate(oracle.read_clicks(tmp_path / "clicks", SHOP))
    assert [e["slice"] for e in kept] == [NOON, NOON + timedelta(days=8)]


def test_exactly_three_days_apart_is_a_copy(tmp_path: Path) -> None:
    for later in (timedelta(0), timedelta(days=3)):
        write_slice(tmp_path, NOON + later, [event("a", when=(NOON + later).isoformat())])
    assert len(oracle.deduplicate(oracle.read_clicks(tmp_path / "clicks", SHOP))) == 1


def test_a_visitor_of_one_customer_is_that_customer_and_of_two_is_nobody(tmp_path: Path) -> None:
    write_slice(tmp_path, NOON, [event("1", visitor_id="v"), event("2", visitor_id="v", customer_id="ann")])
    write_slice(tmp_path, NOON + QUARTER, [event("3", visitor_id="v", customer_id="bob")])
    write_slice(tmp_path, NOON + 2 * QUARTER, [event("4", visitor_id="w", customer_id=None)])
    owners = {
        quarters: [e["owner"] for e in oracle.known(tmp_path, SHOP, NOON + quarters * QUARTER).events] for quarters in (1, 2, 3)
    }
    assert owners == {1: ["ann", "ann"], 2: [None, "ann", "bob"], 3: [None, "ann", "bob", None]}


def test_a_window_holds_its_first_moment_and_not_its_last(tmp_path: Path) -> None:
    moments = ("2026-04-28T12:14:59Z", "2026-04-28T12:15:00Z", "2026-05-01T12:14:59Z", "2026-05-01T12:15:00Z")
    write_slice(tmp_path, NOON, [event(when, when=when, category_id="books") for when in moments])
    table = oracle.state(tmp_path, SHOP, NOON + QUARTER)["customer_category_activity"]
    assert {key[2]: row["views"] for key, row in table.items()} == {3: 2, 10: 3, 30: 3}


def test_categories_come_from_the_event_then_the_product_then_other(tmp_path: Path) -> None:
    reference(tmp_path, "products", {"product_id": "P3", "category_id": "music"}, {"product_id": "P6", "category_id": "toys"})
    products = [("1", "P3", None), ("2", "P3", "books"), ("3", "P6", None), ("4", "P9", None), ("5", None, None)]
    write_slice(tmp_path, NOON, [event(i, product_id=product, category_id=own) for i, product, own in products])
    found = [e["category"] for e in oracle.known(tmp_path, SHOP, NOON + QUARTER).events]
    assert found == ["music", "books", "other", "other", None]


def test_a_reference_purchase_wins_and_a_return_is_netted(tmp_path: Path) -> None:
    write_slice(
        tmp_path,
        NOON,
        [
            purchase("o1", 10, line_no=1, order_id="o1"),
            purchase("o1-again", 11, line_no=1, order_id="o1"),  # the same line again: it stays, its event_key is lower
            purchase("o1-return", -4, line_no=2, order_id="o1"),
            purchase("o2", 7, order_id="o2"),
        ],
    )
    row = {"order_id": "o2", "product_id": "P1", "customer_id": "ann", "purchased_at": "2026-05-01T12:01:00Z", "amount": 8}
    reference(tmp_path, "purchases", {**row, "category_id": "music"})
    tables = oracle.state(tmp_path, SHOP, NOON + QUARTER)
    assert tables["customer_category_activity"]["ann", "books", 3] == {
        "views": 0,
        "dwell_seconds": 0,
        "orders": 1,
        "spend": Decimal(7),
    }
    assert tables["customer_category_activity"]["ann", "music", 3]["spend"] == Decimal(8)
    assert tables["customer_features"]["ann",]["monetary"] == Decimal(15)


def test_the_event_key_is_the_one_that_duckdb_computes() -> None:
    # select md5_number_lower('a') >> 1, md5_number_lower('e-1') >> 1
    assert [oracle.event_key(event_id) for event_id in ("a", "e-1")] == [3500206983725506968, 7824656112302224160]


def test_a_reference_purchase_of_the_future_makes_no_customer(tmp_path: Path) -> None:
    rows = [
        {"order_id": when, "product_id": "P1", "customer_id": when, "purchased_at": f"2026-05-01T{when}:00Z", "amount": 1}
        for when in ("12:14", "12:15")
    ]
    reference(tmp_path, "purchases", *rows)
    assert oracle.known(tmp_path, SHOP, NOON + QUARTER).customers == {"12:14"}


def test_equal_values_get_equal_scores_and_prospects_none(tmp_path: Path) -> None:
    spent = {"a": 10, "b": 20, "c": 20, "d": 30, "e": 40, "f": 50}
    write_slice(tmp_path, NOON, [purchase(name, amount, customer_id=name) for name, amount in spent.items()])
    reference(tmp_path, "customers", {"customer_id": "prospect"})
    table = oracle.state(tmp_path, SHOP, NOON + QUARTER)["rfm_segments"]
    # percent_rank 0, 1/5, 1/5, 3/5, 4/5, 1
    assert {key[0]: row["monetary_score"] for key, row in table.items()} == {
        **{"a": 1, "b": 2, "c": 2, "d": 4, "e": 5, "f": 5},
        "prospect": None,
    }
    assert {row["frequency_score"] for row in table.values()} == {1, None}


def test_who_bought_only_before_the_window_has_the_lowest_scores(tmp_path: Path) -> None:
    bought = [purchase("now", 1, customer_id="ann"), purchase("then", 99, "2025-04-10T12:00:00Z", customer_id="bob")]
    write_slice(tmp_path, NOON, bought)
    table = oracle.state(tmp_path, SHOP, NOON + QUARTER)["rfm_segments"]
    bob = {"frequency": 0, "monetary": 0, "recency_score": 1, "frequency_score": 1, "monetary_score": 1}
    assert table["bob",] == {"recency_days": 386, **bob}
    assert table["ann",]["recency_score"] is None  # of fewer than five buyers


def test_a_promotion_counts_where_it_names_its_offer(tmp_path: Path) -> None:
    write_slice(tmp_path, NOON, [event("1", "view_promotion", offer_id="O1"), event("2", "view_promotion")])
    assert oracle.state(tmp_path, SHOP, NOON + QUARTER)["customer_features"]["ann",]["offers_shown_3d"] == 1


def test_recency_counts_shop_local_days(tmp_path: Path) -> None:
    # 21:59 UTC is 23:59 in Amsterdam, 22:00 is the next day there.
    times = ("21:57", "21:58", "21:59", "22:00", "22:01")
    write_slice(tmp_path, NOON, [purchase(i, 1, f"2026-04-30T{i}:00Z", customer_id=i) for i in times])
    table = oracle.state(tmp_path, SHOP, NOON + QUARTER)["rfm_segments"]
    assert {key[0]: (row["recency_days"], row["recency_score"]) for key, row in table.items()} == {
        **dict.fromkeys(times[:3], (1, 1)),
        **dict.fromkeys(times[3:], (0, 4)),  # percent_rank 3/4
    }


def test_short_windows_and_event_slices(tmp_path: Path) -> None:
    write_slice(
        tmp_path,
        NOON,
        [
            event("1", product_id="P1", when="2026-05-01T11:14:00Z"),
            event("2", product_id="P1", when="2026-05-01T11:20:00Z", customer_id="bob"),
            event("3", "add_to_cart", product_id="P1"),
            event("4", "view_promotion", offer_id="O1", visitor_id="v"),
            event("5", "select_promotion", offer_id="O1", visitor_id="v"),
            purchase("6", 5, offer_id="O1", order_id="o"),
            purchase("7", 5, offer_id="O1", order_id="o", line_no=1),
        ],
    )
    tables = oracle.state(tmp_path, SHOP, NOON + QUARTER)
    ann = tables["customer_product_activity"]["ann", "P1"]
    assert [ann[f"views_{w}"] for w in oracle.SHORT_WINDOWS] == [0, 0, 1, 1]
    assert [ann[f"carts_{w}"] for w in oracle.SHORT_WINDOWS] == [1, 1, 1, 1]
    assert ann["orders_15m"] == 1
    assert ("ann", "O1") not in tables["customer_offer_activity"]  # v is nobody's
    assert tables["product_activity"][at("2026-05-01T11:15"), "P1"]["views"] == 1
    ordered = {"purchases": 1, "visitors": 2, "revenue": 10}
    assert tables["offer_activity"][NOON, "O1"] == {"shown": 1, "clicked": 1, **ordered}
    assert tables["traffic"][NOON,] == {"page_and_product_views": 0, "offers_clicked": 1, **ordered}


def test_a_visitor_comes_from_the_last_source_of_the_last_30_minutes(tmp_path: Path) -> None:
    write_slice(
        tmp_path,
        NOON,
        [
            event("1", "page_view", visitor_id="v", utm_source="news", when="2026-05-01T11:29:00Z"),
            event("2", "page_view", visitor_id="v", device="phone", when="2026-05-01T11:46:00Z"),
            event("3", visitor_id="v", customer_id="ann"),
            purchase("4", 5, visitor_id="v"),
            event("5", "page_view"),
        ],
    )
    table = oracle.state(tmp_path, SHOP, NOON + QUARTER)["traffic_sources"]
    nobody = {"visitors": 1, "visits": 0, "page_and_product_views": 1, "purchases": 0, "revenue": 0}
    bought = {"visitors": 2, "visits": 1, "page_and_product_views": 2, "purchases": 1, "revenue": 5}
    assert table == {
        (at("2026-05-01T11:15"), "news", "(not set)", "(not set)"): {**nobody, "visits": 1},
        (at("2026-05-01T11:45"), "news", "(not set)", "phone"): nobody,
        (NOON, "(direct)", "(none)", "(not set)"): bought,
    }


def test_a_visit_begins_30_minutes_after_the_visitors_event_before(tmp_path: Path) -> None:
    moments = ("11:29:59", "11:30:01", "11:59:58", "12:29:58")  # the third 29:57 after the second, the fourth 30:00 after it
    write_slice(tmp_path, NOON, [event(time, when=f"2026-05-01T{time}Z", visitor_id="v") for time in moments])
    table = oracle.state(tmp_path, SHOP, NOON + 2 * QUARTER)["traffic_sources"]
    assert {f"{start:%H:%M}": row["visits"] for (start, *_), row in table.items()} == {
        "11:15": 1,
        "11:30": 0,
        "11:45": 0,
        "12:15": 1,
    }


def test_a_return_is_no_order_and_a_repeat_counts_once_in_every_table(tmp_path: Path) -> None:
    """Ann bought for 10 and 3, the line of 10 came again 20 minutes later, and returned it under an order id of its own."""
    later = {"when": "2026-05-01T12:25:00Z", "order_id": "o"}
    write_slice(tmp_path, NOON, [purchase("1", 10, order_id="o", line_no=1), purchase("2", 3, order_id="o", line_no=2)])
    write_slice(tmp_path, NOON + QUARTER, [purchase("1 again", 10, line_no=1, **later), purchase("return", -10, later["when"])])
    tables = oracle.state(tmp_path, SHOP, NOON + 2 * QUARTER)
    assert tables["rfm_segments"]["ann",]["frequency"] == 1
    assert tables["customer_features"]["ann",]["monetary"] == 3
    assert tables["customer_category_activity"]["ann", "books", 3]["orders"] == 1
    assert tables["customer_product_activity"]["ann", "P1"]["orders_1h"] == 1
    sales = {start: (row["purchases"], row["revenue"]) for (start, *_), row in tables["traffic"].items()}
    assert sales == {NOON: (1, 13), NOON + QUARTER: (0, -10)}
    for name in ("traffic_sources", "product_activity"):
        rows = [(key[0], (row["purchases"], row["revenue"])) for key, row in tables[name].items()]
        assert dict(rows) == sales


def test_each_event_without_a_line_number_is_a_line_however_often_it_comes(tmp_path: Path) -> None:
    unnumbered = [purchase(str(number), amount, order_id="o") for number, amount in enumerate((4, 6, 6, -4))]
    write_slice(tmp_path, NOON, [*unnumbered, purchase("numbered", 8, order_id="o", line_no=0)])
    write_slice(tmp_path, NOON + timedelta(days=4), [unnumbered[0]])  # no copy any more, and the same line still
    tables = oracle.state(tmp_path, SHOP, NOON + timedelta(days=4) + QUARTER)
    assert (tables["rfm_segments"]["ann",]["monetary"], tables["traffic"][NOON,]["revenue"]) == (20, 20)


@pytest.mark.parametrize(
    ("amount", "quantity", "is_purchase"),
    [
        *[(5, 1, True), (5, None, True), (5, -1, True), (-5, 1, False), (-5, -1, False), (-5, None, False)],
        *[(0, None, True), (0, 2, True), (0, 0, False), (0, -1, False)],
    ],
)
def test_a_purchase_costs_something_or_gives_something(amount: float, quantity: float | None, is_purchase: bool) -> None:
    assert oracle.is_purchase(oracle.Row(amount=Decimal(amount), quantity=quantity)) is is_purchase


def test_the_label_is_the_category_of_the_most_net_spend_whenever_it_became_known(tmp_path: Path) -> None:
    as_of = NOON + QUARTER
    write_slice(tmp_path, NOON, [event(name, customer_id=name) for name in ("tie", "returned", "late", "too late")])
    late = "2026-05-08T12:14:59Z"
    lines = [
        purchase("1", 5, "2026-05-02T10:00:00Z", customer_id="tie", category_id="music"),
        purchase("2", 5, "2026-05-02T10:00:00Z", customer_id="tie", category_id="books"),
        purchase("3", 5, "2026-05-02T10:00:00Z", customer_id="returned"),
        purchase("4", -5, "2026-05-02T10:00:00Z", customer_id="returned", line_no=1),
        purchase("5", 5, late, customer_id="late"),
        purchase("6", 5, "2026-05-08T12:15:00Z", customer_id="too late"),
        purchase("7", 5, customer_id="unknown at the time", when="2026-05-02T10:00:00Z"),
    ]
    write_slice(tmp_path, NOON + timedelta(days=9), lines)
    assert oracle.labels(tmp_path, SHOP, as_of) == {"tie": "books", "returned": "none", "late": "books", "too late": "none"}


def test_spend_is_net_of_returns_and_churn_is_unknown_until_its_horizon_has_passed(tmp_path: Path) -> None:
    as_of = NOON + QUARTER
    names = ("net", "below zero", "only returns", "later")
    write_slice(tmp_path, NOON, [event(name, customer_id=name) for name in names])
    lines = [
        purchase("1", 5, "2026-05-02T10:00:00Z", customer_id="net"),
        purchase("2", 7, "2026-05-08T12:14:59Z", customer_id="net", line_no=1),
        purchase("3", 9, "2026-05-08T12:15:00Z", customer_id="net", line_no=2),
        purchase("4", 5, "2026-05-02T10:00:00Z", customer_id="below zero"),
        purchase("5", -8, "2026-05-02T10:00:00Z", customer_id="below zero", line_no=1),
        purchase("6", -8, "2026-05-02T10:00:00Z", customer_id="only returns"),
        purchase("7", 1, "2026-05-29T12:14:59Z", customer_id="later"),
    ]
    write_slice(tmp_path, NOON + timedelta(days=40), lines)
    horizon = as_of + timedelta(days=28)
    found = oracle.outcomes(tmp_path, SHOP, as_of, horizon + timedelta(days=2), set(names))
    assert {name: (row["spend"], row["is_churned"]) for name, row in found.items()} == {
        "net": (12, False),
        "below zero": (0, False),
        "only returns": (0, True),
        "later": (0, False),
    }
    early = oracle.outcomes(tmp_path, SHOP, as_of, horizon + timedelta(days=2) - QUARTER, set(names))
    assert {row["is_churned"] for row in early.values()} == {None}


def test_history_is_cut_into_slices_by_event_time(tmp_path: Path) -> None:
    path = tmp_path / "history" / "april" / "clicks.csv"
    path.parent.mkdir(parents=True)
    path.write_text(
        "event_id,event_name,event_at,customer_id,dwell_seconds\n"
        "1,view_item,2026-04-01T10:16:00Z,ann,3.5\n"
        "2,view_item,never,ann,\n"
        "3,view_item,2026-05-01T00:00:00Z,ann,\n"
        "1,view_item,2026-04-01T10:17:00Z,ann,\n"
    )
    slices = oracle.read_landing(tmp_path, SHOP)
    assert [e["dwell_seconds"] for e in slices[at("2026-04-01T10:15")].good] == [3.5]
    assert slices[at("2026-04-01T10:15")].duplicates == [("april/clicks.csv", 5)]
    assert [found[1] for found in slices[oracle.EPOCH].quarantined] == [3, 4]  # no time, and the time of a live slice


def test_features_have_the_declared_names(tmp_path: Path) -> None:
    write_slice(tmp_path, NOON, [event("1")])
    row = oracle.state(tmp_path, SHOP, NOON + QUARTER)["customer_features"]["ann",]
    assert set(row) == {feature.name for feature in feature_list(SHOP)}


@pytest.mark.parametrize("seed", [1, 2])
def test_faults_and_delays_change_nothing_in_the_end(tmp_path: Path, seed: int) -> None:
    shop = random_shop(seed, slices=60)
    shop.write(tmp_path / "faulty")
    shop.write_clean(tmp_path / "clean")
    faulty, clean = (oracle.state(tmp_path / name, SHOP, shop.as_of) for name in ("faulty", "clean"))
    assert faulty == clean
    assert all(faulty.values())


def test_the_random_shop_has_every_kind_of_fault(tmp_path: Path) -> None:
    shop = random_shop(3)
    shop.write(tmp_path)
    slices = oracle.read_clicks(tmp_path / "clicks", SHOP)
    good = [e for found in slices.values() for e in found.good]
    kept = oracle.deduplicate(slices)
    written = sum(len(lines) for lines in shop.arrivals.values())
    quarantined = [line for found in slices.values() for line in found.quarantined]
    duplicates = [line for found in slices.values() for line in found.duplicates]
    assert len(good) + len(quarantined) + len(duplicates) == written
    assert len(kept) == len(shop.clean)
    assert {e["event_id"] for e in kept} == {line["event_id"] for line in shop.clean}
    assert len({reason for *_, reason in quarantined}) >= 12
    assert min(len(duplicates), len(good) - len(kept)) > 20
    delays = [e["slice"] - e["event_at"] for e in kept]
    assert max(delays) > timedelta(hours=40)
    links = {(e["visitor_id"], e["customer_id"]) for e in kept if e["visitor_id"] and e["customer_id"]}
    assert set(Counter(visitor for visitor, _ in links).values()) == {1, 2}
    bought = [e for e in kept if e["event_name"] == "purchase"]
    assert min(Counter(e["order_id"][0] for e in bought if e["amount"] < 0).values()) > 10  # under both kinds of order ids
    assert {e["line_no"] is None for e in bought} == {True, False}
    assert {oracle.is_purchase(e) for e in bought if e["amount"] == 0} == {True, False}
    assert sum(e["event_id"].endswith("-again") for e in bought) > 20
    lines = Counter((e["order_id"], e["product_id"], e["amount"]) for e in bought if e["line_no"] is None)
    assert sum(count > 1 for count in lines.values()) > 5  # alike, and each of them a line
    rows = oracle.read_reference(tmp_path, "purchases")
    assert sum(row["customer_id"] is None for row in rows) > 5
    assert max(Counter((row["order_id"], row["product_id"]) for row in rows if row["line_no"] is None).values()) > 1
    assert {row["known_since"] is None for row in oracle.read_reference(tmp_path, "customers")} == {True, False}
    assert len(slices) < len(shop.slices)


def test_features_do_not_depend_on_later_slices(tmp_path: Path) -> None:
    shop = random_shop(4, slices=40)
    as_of = shop.slices[19] + SHOP.slice_width
    shop.write(tmp_path / "all")
    shop.write(tmp_path / "half", only=set(shop.slices[:20]))
    assert oracle.state(tmp_path / "all", SHOP, as_of) == oracle.state(tmp_path / "half", SHOP, as_of)
