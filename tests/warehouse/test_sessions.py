"""Sessions of random shops, against a plain reading of their events; their ids, whatever the order in which events come in."""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import md5
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from customer360.lake.raw.raw_clicks import raw_slice_folder
from customer360.lake.slices import event_slice_minutes
from customer360.settings import Shop
from tests.support import oracle
from tests.support.lab import Lab
from tests.support.random_shop import RandomShop, random_shop, small_shop

GAP, GRACE = timedelta(minutes=30), timedelta(hours=24)
MODELS = (
    "int_purchase_lines_with_guests",
    "int_session_slices",
    "int_order_sessions",
    "int_orders",
    "orders_daily",
    "sessions",
    "funnel_daily",
    "conversion_paths",
)
ADD_UP = "the_sessions_and_what_is_made_of_them_add_up"
COLUMNS = (
    *("session_id", "visitor_id", "started_at", "ended_at", "page_and_product_views"),
    *("utm_source", "utm_medium", "device", "orders", "revenue"),
)
DAY = datetime.fromisoformat("2026-05-01")


def session_ids(events: Iterable[oracle.Row], minutes: int) -> dict[str, list[oracle.Row]]:
    """The events of one visitor by the id of their session, one after the other in plain Python."""
    groups: dict[tuple[datetime, datetime], list[oracle.Row]] = defaultdict(list)
    for event in events:
        groups[event["slice"], oracle.floor(event["event_at"], minutes)].append(event)
    parts = [sorted(group, key=lambda event: event["event_at"]) for group in groups.values()]
    parts.sort(key=lambda part: part[0]["event_at"])
    visitor = next(event["visitor_id"] or event["customer_id"] for part in parts for event in part)

    def is_on_time(part: list[oracle.Row]) -> bool:
        return bool(part[0]["slice"] <= oracle.floor(part[0]["event_at"], minutes) + GRACE)

    spans: list[list[Any]] = []  # first and last on-time event, and all events
    for part in filter(is_on_time, parts):
        if spans and part[0]["event_at"] < spans[-1][1] + GAP:
            spans[-1][1] = max(spans[-1][1], part[-1]["event_at"])
            spans[-1][2] += part
        else:
            spans.append([part[0]["event_at"], part[-1]["event_at"], [*part]])
    found = {name(visitor, first): events for first, _, events in spans}
    left_over: dict[datetime, list[list[oracle.Row]]] = defaultdict(list)
    for part in (part for part in parts if not is_on_time(part)):
        at, until = part[0]["event_at"], part[-1]["event_at"]
        near = [first for first, last, _ in spans if first <= at < last + GAP]
        near += [first for first, _, _ in spans if at < first and first - GAP < until]
        if near:
            found[name(visitor, near[0])] += part
        else:
            left_over[part[0]["slice"]].append(part)
    for start, late in left_over.items():
        ended = oracle.EPOCH
        for part in late:
            if part[0]["event_at"] >= ended + GAP:
                key = name(visitor, part[0]["event_at"], start)
                found[key] = []
            found[key] += part
            ended = part[-1]["event_at"]
    return found


def name(*parts: Any) -> str:
    """A session's id; times with as many decimals as they need."""
    texts = [
        str(part).rstrip("0").rstrip(".") if isinstance(part, datetime) and part.microsecond else str(part) for part in parts
    ]
    return md5("/".join(texts).encode(), usedforsecurity=False).hexdigest()


def expected_sessions(facts: oracle.Known, slice_minutes: int) -> dict[str, list[oracle.Row]]:
    minutes = event_slice_minutes(slice_minutes)
    by_visitor: dict[str, list[oracle.Row]] = defaultdict(list)
    for event in facts.events:
        if event["event_at"] < facts.as_of:
            by_visitor[event["visitor_id"] or event["customer_id"]].append(event)
    return {key: rows for events in by_visitor.values() for key, rows in session_ids(events, minutes).items()}


def attributes(events: list[oracle.Row]) -> tuple[Any, ...]:
    """What ``sessions`` says of a session, from its events."""
    events = sorted(events, key=lambda event: event["event_at"])
    named = [event for event in events if event["utm_source"] or event["utm_medium"]]
    first = min(
        named, key=lambda e: (e["event_at"], e["utm_source"] or "(not set)", e["utm_medium"] or "(not set)"), default=None
    )
    devices = [event for event in events if event["device"]]
    return (
        max((event["visitor_id"] for event in events if event["visitor_id"]), default=None),
        events[0]["event_at"],
        events[-1]["event_at"],
        sum(event["event_name"] in ("page_view", "view_item") for event in events),
        (first["utm_source"] or "(not set)") if first else "(direct)",
        (first["utm_medium"] or "(not set)") if first else "(none)",
        min(devices, key=lambda e: (e["event_at"], e["device"]))["device"] if devices else "(not set)",
    )


def sold(facts: oracle.Known, sessions: dict[str, list[oracle.Row]]) -> dict[str, tuple[int, Decimal]]:
    """Orders and revenue of each session: those of the order's first event, with all its lines."""
    session_of = {id(event): key for key, events in sessions.items() for event in events}
    first: dict[str, oracle.Row] = {}
    for event in sorted(facts.events, key=lambda event: (event["slice"], oracle.event_key(event["event_id"]))):
        if event["event_name"] == "purchase":
            first.setdefault(event["order_id"], event)
    lines: dict[str, list[oracle.Row]] = defaultdict(list)
    for line in facts.purchases:
        if line["at"] < facts.as_of and line["order_id"] in first:
            lines[line["order_id"]].append(line)
    found: dict[str, list[Any]] = defaultdict(lambda: [0, Decimal(0)])
    for order, of_order in lines.items():
        if id(first[order]) in session_of:
            totals = found[session_of[id(first[order])]]
            totals[0] += any(oracle.is_purchase(line) for line in of_order)
            totals[1] += sum(line["amount"] for line in of_order)
    return {key: (orders, revenue) for key, (orders, revenue) in found.items()}


@pytest.fixture(scope="module")
def lab(new_lab: Callable[[Shop], Lab]) -> tuple[RandomShop, Lab]:
    """A shop of which half comes in up to 48 hours late, its slices run in any order, and some twice."""
    shop = random_shop(21, slices=120, shop=small_shop(30), late=0.5)
    lab = new_lab(shop.shop)
    shop.write(lab.landing)
    lab.load_references()
    lab.run(Random(3).sample(shop.slices, len(shop.slices)))
    lab.run(shop.slices[:5])
    lab.transform("run", "--select", *MODELS)
    lab.transform("test", "--select", ADD_UP)
    return shop, lab


def test_sessions_are_those_of_a_plain_reading_of_the_events(lab: tuple[RandomShop, Lab]) -> None:
    shop, place = lab
    facts = oracle.known(place.landing, shop.shop, shop.as_of)
    sessions = expected_sessions(facts, shop.shop.slice_minutes)
    amounts = sold(facts, sessions)
    expected = {key: (*attributes(events), *amounts.get(key, (0, Decimal(0)))) for key, events in sessions.items()}
    found = {key: row for key, *row in place.query(f"select {', '.join(COLUMNS)} from marts.sessions")}
    assert {key: tuple(row) for key, row in found.items()} == expected
    assert len(expected) > 300
    late = [e for events in sessions.values() for e in events if e["slice"] > oracle.floor(e["event_at"], 30) + GRACE]
    assert len(late) > 80
    assert sum(orders for orders, _ in amounts.values()) > 50


def test_customers_of_sessions_are_those_of_their_events_else_the_visitors(lab: tuple[RandomShop, Lab]) -> None:
    shop, place = lab
    facts = oracle.known(place.landing, shop.shop, shop.as_of)
    expected = {}
    for key, events in expected_sessions(facts, shop.shop.slice_minutes).items():
        named = {event["customer_id"] for event in events} - {None}
        owners = named or {event["owner"] for event in events}
        expected[key] = owners.pop() if len(owners) == 1 else None
    assert dict(place.query("select session_id, customer_id from marts.sessions")) == expected
    assert None in expected.values()


def test_no_step_of_the_funnel_has_more_than_the_one_before(lab: tuple[RandomShop, Lab]) -> None:
    _, place = lab
    for who in ("sessions", "customers"):
        steps = [who, *(f"{who}_with_{step}" for step in ("view", "cart", "checkout", "order"))]
        rule = " and ".join(f"{before} >= {after}" for before, after in pairwise(steps))
        assert place.query(f"select count(*) from marts.funnel_daily where not ({rule})") == [(0,)]
    (everything,) = place.query(
        "select sum(sessions_with_order), sum(customers_with_order) from marts.funnel_daily "
        "where utm_source = '(all)' and device = '(all)' and category_id = '(all)'"
    )
    assert everything == (
        place.query("select count(*) from marts.sessions where orders > 0")[0][0],
        place.query(
            "select count(distinct (local_date, customer_id)) from marts.sessions where orders > 0 and customer_id <> ''"
        )[0][0],
    )


def test_an_id_that_is_final_stays_and_a_replay_gives_the_same_ones(
    lab: tuple[RandomShop, Lab], new_lab: Callable[[Shop], Lab]
) -> None:
    """A place that knows two thirds of the slices, and then all of them: no final session is ever lost, merged or renamed."""
    shop, place = lab
    replay = new_lab(shop.shop)
    shop.write_reference(replay.landing)
    replay.load_references()

    def arrive(slices: list[datetime]) -> None:
        for start in (start.replace(tzinfo=UTC) for start in slices):
            made, copy = (raw_slice_folder(each.settings.place.raw, start) for each in (place, replay))
            shutil.copytree(made, copy, copy_function=os.link)
        replay.run()
        replay.transform("run", "--select", *MODELS)

    arrive(shop.slices[:80])
    before = dict(replay.query("select session_id, started_at from marts.sessions where is_final"))
    arrive(shop.slices[80:])
    after = dict(replay.query("select session_id, started_at from marts.sessions"))
    assert len(before) > 100
    assert before.keys() <= after.keys()
    assert all(after[key] <= started for key, started in before.items())
    for table in ("sessions", "funnel_daily", "conversion_paths"):
        assert replay.query(f"from marts.{table} order by all") == place.query(f"from marts.{table} order by all"), table


def test_a_late_event_between_two_sessions_merges_them_only_within_the_grace(new_lab: Callable[[Shop], Lab]) -> None:
    """V1 and V2 come at 10:00 and at 10:45. V1's event of 10:20 comes in at 11:00, V2's two days later."""
    place = new_lab(small_shop())
    ten = DAY + timedelta(hours=10)
    arrivals = [("V1", 0, ten), ("V1", 45, ten + timedelta(minutes=45)), ("V1", 20, ten + timedelta(hours=1))]
    arrivals += [("V2", 0, ten), ("V2", 45, ten + timedelta(minutes=45)), ("V2", 20, ten + timedelta(days=2))]
    for visitor, minute, start in arrivals:
        folder = place.landing / "clicks" / start.strftime("%Y/%m/%d/%H%M")
        folder.mkdir(parents=True, exist_ok=True)
        event = {"event_id": f"{visitor}-{minute}", "event_name": "page_view", "visitor_id": visitor}
        place_and_time = {"page_url": f"https://s/{minute}?a=b", "event_at": f"2026-05-01T10:{minute:02}:00Z"}
        (folder / f"{visitor}-{minute}.jsonl").write_text(json.dumps({**event, **place_and_time}) + "\n", encoding="utf-8")
    place.run([*{start for *_, start in arrivals}, DAY + timedelta(days=4)])
    place.transform("run", "--select", *MODELS)
    columns = "session_id, events, entry_page, is_bounced, is_final"
    assert place.query(f"select {columns} from marts.sessions order by visitor_id, started_at") == [
        (name("V1", ten), 3, "https://s/0", False, True),
        (name("V2", ten), 2, "https://s/0", False, True),
        (name("V2", ten + timedelta(minutes=45)), 1, "https://s/45", True, True),
    ]
