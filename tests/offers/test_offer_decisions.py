"""Logged decisions: from landed lines to raw slices and quarantine, and the table with what became of each."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from customer360.lake.engine import column_types
from customer360.lake.publishing.tables import TABLES
from customer360.lake.raw.quarantine import quarantined_lines
from customer360.lake.raw.raw_clicks import SliceCounts
from customer360.lake.slices import slice_folder
from customer360.offers.landed import raw_folder, take_landed
from customer360.offers.outcomes import TABLE, rebuild
from tests.offers.conftest import NOON, Store

Row = dict[str, Any]
INTERMEDIATE = {
    "int_offer_activity_by_slice": "shown bigint, clicked bigint",
    "int_purchases_by_slice": (
        "event_key bigint, order_id varchar, product_id varchar, line_no bigint, unnumbered_amount decimal(18, 2), "
        "quantity double, amount decimal(18, 2)"
    ),
}
IDS = "slice timestamp, event_slice timestamp, customer_id varchar, visitor_id varchar, offer_id varchar, decision_id varchar"


def line(decision_id: str = "d1", at: datetime = NOON, **values: Any) -> Row:
    return {
        "decision_id": decision_id,
        "decided_at": at.isoformat(),
        "customer_id": "c1",
        "offer_id": "o1",
        "basis": "priority_list",
        "reason": "the default",
        "policy_version": "priority_list-1.abc",
        "propensity": 0.95,
        "candidates": ["o1", "o2"],
        "propensities": [0.95, 0.05],
        "list_offer_id": "o1",
        **values,
    }


def land(store: Store, start: datetime, name: str, *lines: Row | str) -> Path:
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in lines).encode()
    path = slice_folder(store.settings.place.landing / "offer_decisions", start) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


@pytest.fixture
def log(store: Store) -> Store:
    """The store of a test as of the end of the slice 12:00, with the tables of events."""
    store.connection.execute("create schema intermediate; create schema ops; create table ops.clock (as_of timestamp)")
    store.connection.execute("insert into ops.clock values ('2026-05-04 12:15')")
    for name, columns in INTERMEDIATE.items():
        store.connection.execute(f"create table intermediate.{name} ({IDS}, {columns})")
    return store


def event(log: Store, at: datetime = NOON, kind: str = "shown", **values: Any) -> None:
    counts = {"shown": 0, "clicked": 0, kind: 1}
    base = {"slice": at.replace(tzinfo=None), "event_slice": at.replace(tzinfo=None), "offer_id": "o1"}
    log.add("intermediate.int_offer_activity_by_slice", {**base, **counts, **values})


def purchase(log: Store, order: str, amount: float, key: int = 1, at: datetime = NOON, **values: Any) -> None:
    base = {"slice": at.replace(tzinfo=None), "event_slice": at.replace(tzinfo=None), "event_key": key, "order_id": order}
    log.add("intermediate.int_purchases_by_slice", {**base, "product_id": "p1", "line_no": 1, "amount": amount, **values})


def taken(log: Store, **how: Any) -> tuple[SliceCounts, list[datetime]]:
    return take_landed(log.settings, NOON, **how)


def decisions(log: Store) -> dict[str, Row]:
    _, changed = taken(log)
    rebuild(log.connection, log.settings, "content", changed=bool(changed))
    cursor = log.connection.execute(f"from {TABLE}")
    names = [column[0] for column in cursor.description]
    return {row[0]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}


def test_lines_are_good_copies_or_quarantined_with_file_line_field_and_remedy(log: Store) -> None:
    bad = line("d3", propensity=2)
    land(log, NOON, "a.jsonl", line(), "", line("d2"), bad, '{"decision_id": ')
    land(log, NOON, "b.jsonl.gz", line("d2", customer_id="c9"), line("d4", at=NOON + timedelta(hours=3)))
    land(log, NOON, "c.csv", "decision_id,offer_id")
    land(log, NOON, ".d.jsonl", line("unfinished"))
    without = {name: value for name, value in line("d5").items() if name != "reason"}
    land(log, NOON, "e.jsonl", without, line("d6", offer_id="o9"), line("d7", propensity="often"))
    counts, changed = taken(log)
    assert (counts, changed) == (SliceCounts(files=4, lines=10, good=2, quarantined=7, duplicates=1), [NOON])
    rows = pq.read_table(raw_folder(log.settings.place.raw, NOON) / "part.parquet").to_pylist()
    assert [(row["decision_id"], row["customer_id"], row["source_file"], row["source_line"]) for row in rows] == [
        ("d1", "c1", "a.jsonl", 1),
        ("d2", "c1", "a.jsonl", 3),  # the lowest file and line stays
    ]
    assert rows[0]["decided_at"] == datetime(2026, 5, 4, 12)  # noqa: DTZ001  as Parquet has it
    found = quarantined_lines(log.settings.place)
    assert {entry.slice for entry in found} == {"offer_decisions/2026-05-04-12:00"}
    assert [(entry.file, entry.line, entry.column) for entry in found] == [
        ("a.jsonl", 4, "propensity"),
        ("a.jsonl", 5, ""),
        ("b.jsonl.gz", 2, "decided_at"),
        ("c.csv", 0, ""),
        ("e.jsonl", 1, "reason"),
        ("e.jsonl", 2, "offer_id"),
        ("e.jsonl", 3, "propensity"),
    ]
    remedy = "customer360.offers.log declares the record; correct the writer, and land the line again"
    assert [entry.reason for entry in found] == [
        f"is not right: expected `float` <= 1.0; {remedy}",
        "not valid JSON",
        "2026-05-04T15:00:00+00:00 is more than 1 hour after the end of its slice; set the writer's clock",
        "file is of no known type: .jsonl or .jsonl.gz",
        f"is missing; {remedy}",
        "is none of the candidates; log every offer that could have been shown",
        f"is not right: expected `float`, got `str`; {remedy}",
    ]
    assert found[0].text == json.dumps(bad)


def test_a_late_file_is_read_with_the_next_slice_and_nothing_else_is_read_again(log: Store) -> None:
    before = NOON - timedelta(minutes=15)
    land(log, before, "a.jsonl", line("d1", at=before))
    land(log, NOON, "a.jsonl", line("d2"))
    assert taken(log)[1] == [before, NOON]
    assert taken(log) == (SliceCounts(0, 0, 0, 0, 0), [])
    late = land(log, before, "late.jsonl", line("d3", at=before))
    assert taken(log)[1] == [before]
    assert set(decisions(log)) == {"d1", "d2", "d3"}
    late.unlink()
    assert taken(log)[0] == SliceCounts(1, 1, 1, 0, 0)


def test_folders_of_days_ago_are_looked_at_by_night_and_later_slices_never(log: Store) -> None:
    old, later = NOON - timedelta(days=20), NOON + timedelta(minutes=15)
    land(log, old, "a.jsonl", line("d1", at=old))
    land(log, later, "a.jsonl", line("d2"))
    assert taken(log)[1] == []
    assert taken(log, everything=True)[1] == [old]


def test_a_shop_without_decisions_has_an_empty_typed_table_that_is_made_once(log: Store) -> None:
    assert rebuild(log.connection, log.settings, "first", changed=False)
    assert not rebuild(log.connection, log.settings, "second", changed=False)
    assert column_types(log.connection, TABLE) == TABLES["offer_decisions"].duckdb_types
    assert log.connection.execute("from ops.built_contents").fetchall() == [("offer_decisions", "first")]
    assert not (log.settings.place.raw / "offer_decisions").exists()


def test_a_decision_is_a_row_with_its_context_and_comes_once(log: Store) -> None:
    context = {"segment": "Loyal", "category_id": "books", "top_products": ["p2", "p1"], "session_products": ["p9"]}
    asked = {"visitor_id": "v1", "session_id": "s1", "page": "/", "store_version": 7}
    shares = [0.1 + 0.2, 1 - (0.1 + 0.2)]  # .30000000000000004: propensities come back to the last digit
    land(log, NOON, "a.jsonl", line(**context, **asked, propensity=shares[0], propensities=shares))
    again = NOON - timedelta(minutes=15)
    land(log, again, "b.jsonl", line("d1", at=again, offer_id="o2", propensity=0.05, customer_id="c2"))
    row = decisions(log)["d1"]
    assert len(decisions(log)) == 1
    assert row["customer_id"] == "c2"  # that of the earlier slice stays
    (log.settings.place.landing / "offer_decisions" / "2026/05/04/1145/b.jsonl").unlink()
    row = decisions(log)["d1"]
    assert {name: row[name] for name in asked} == asked
    assert (row["segment"], row["category_id"]) == ("Loyal", "books")
    assert (row["top_products"], row["session_products"], row["candidates"]) == ("p2|p1", "p9", "o1|o2")
    assert [float(text) for text in row["propensities"].split("|")] == shares
    assert row["decision_date"] == date(2026, 5, 4)
    assert (row["is_shown"], row["is_clicked"], row["is_bought"], row["orders"], row["revenue"]) == (False,) * 3 + (0, 0)


def test_events_count_for_the_decision_that_they_name(log: Store) -> None:
    land(log, NOON, "a.jsonl", line("d1"), line("d2", customer_id="c2"), line("d3", customer_id="c3"))
    event(log, decision_id="d1")
    event(log, decision_id="d2", kind="clicked")  # a shop may log clicks only: it was shown
    event(log, decision_id="elsewhere", customer_id="c3")
    purchase(log, "n1", 30, decision_id="d2")
    purchase(log, "n1", 30, decision_id="d2", at=NOON + timedelta(minutes=15))  # a repeat of the line
    purchase(log, "n1", 12, key=2, line_no=2, decision_id="d2")
    purchase(log, "n2", -10, key=3, decision_id="d2")  # a return is no order
    found = decisions(log)
    assert [(row["is_shown"], row["is_clicked"], row["is_bought"]) for row in found.values()] == [
        (True, False, False),
        (True, True, True),
        (False, False, False),
    ]
    assert (found["d2"]["orders"], found["d2"]["revenue"]) == (1, 32)


def test_an_event_without_a_decision_counts_for_the_newest_one_of_its_offer_and_person(log: Store) -> None:
    minute = timedelta(minutes=1)
    days = log.settings.shop.campaigns.attribution_days
    assert days == 3
    land(
        log,
        NOON,
        "a.jsonl",
        line("old", at=NOON - timedelta(days=5)),
        line("first", at=NOON - 20 * minute),
        line("newest", at=NOON + 5 * minute),  # within the slice of the event: its time is known to 15 minutes
        line("other", at=NOON + 6 * minute, offer_id="o2", propensity=0.05),
        line("visitor", at=NOON - 30 * minute, customer_id=None, visitor_id="v1"),
    )
    event(log, customer_id="c1", kind="clicked")
    event(log, visitor_id="v1")
    event(log, visitor_id="unknown")
    event(log, NOON - timedelta(days=1, minutes=45), customer_id="c1")  # nearest before it is `old`, 4 days earlier
    found = decisions(log)
    assert {name for name, row in found.items() if row["is_clicked"]} == {"newest"}
    assert {name for name, row in found.items() if row["is_shown"]} == {"newest", "visitor"}


def test_decisions_of_unchanged_raw_slices_come_from_the_table_and_are_those_of_raw(log: Store) -> None:
    before = NOON - timedelta(minutes=15)
    land(log, before, "a.jsonl", line("d1", at=before, top_products=["p1", "p2"]), line("d2", at=before))
    event(log, decision_id="d1", kind="clicked")
    decisions(log)
    land(log, NOON, "a.jsonl", line("d2", customer_id="c2"), line("d3"))
    event(log, decision_id="d2")
    part = raw_folder(log.settings.place.raw, before) / "part.parquet"
    content, state = part.read_bytes(), part.stat()
    part.write_bytes(b"not to be read")
    os.utime(part, ns=(state.st_atime_ns, state.st_mtime_ns))
    found = decisions(log)
    assert [(name, row["customer_id"], row["is_shown"]) for name, row in found.items()] == [
        ("d1", "c1", True),
        ("d2", "c1", True),
        ("d3", "c1", False),
    ]
    part.write_bytes(content)
    rebuild(log.connection, log.settings, "content", changed=True, anew=True)
    assert decisions(log) == found
    part.unlink()
    assert set(decisions(log)) == {"d1", "d2", "d3"}  # taken from landing again


def test_decisions_older_than_90_days_are_in_raw_alone(log: Store) -> None:
    old = NOON - timedelta(days=91)
    land(log, old, "a.jsonl", line("d1", at=old))
    assert taken(log, everything=True)[0].good == 1
    rebuild(log.connection, log.settings, "content", changed=True)
    assert log.connection.execute(f"select count(*) from {TABLE}").fetchone() == (0,)


def test_the_time_of_a_raw_slice_is_that_of_its_folder(log: Store) -> None:
    folder = land(log, NOON, "a.jsonl", line()).parent
    taken(log)
    os.utime(folder, ns=(1, NOON.astimezone(UTC).microsecond + 2))
    assert taken(log)[1] == [NOON]
