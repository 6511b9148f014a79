"""``customer360 status``: before anything exists, after a publication, while somebody works."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from customer360.lake.engine import connect
from customer360.lake.landing.listing import list_slice
from customer360.lake.publishing.publishing import publish
from customer360.lake.slices import slice_start
from customer360.lake.warehouse.warehouse import warehouse_lock

SLICE, NEXT, LAST = "2026-05-01-08:00", "2026-05-01-08:15", "2026-05-01-08:30"


def publish_slice(shop, key: str) -> None:
    """Publish a slice log with one history slice and the slice ``key`` as it lies in landing."""
    place, start = shop.settings.place, slice_start(key)
    fingerprint = list_slice(place.landing, start).fingerprint
    log = f"""
        select * from (values
            (timestamp '2026-04-30 10:00', 'click_history', 'h', true, null, 7, 7, 0, 0, 0, null),
            (timestamp '{start:%Y-%m-%d %H:%M}', 'clicks', '{fingerprint}', true, 2, 1234, 1200, 30, 4, 9,
                timestamp '2026-05-02 09:10:11')
        ) as log (slice, source, raw_fingerprint, is_transformed, files, lines, good, quarantined, duplicates, repeats,
            repaired_at)
    """
    with connect(place.root / ".tmp") as connection:
        now = datetime.now(UTC) - timedelta(hours=3)
        publish(place, connection, {"slice_log": log}, start + timedelta(minutes=15), now)


def test_status_works_before_anything_exists_and_makes_nothing(shop):
    shop.data.mkdir()
    ran = shop("status")
    assert ran.code == 0
    assert "published  nothing yet" in ran.out
    assert "warehouse  free" in ran.out
    assert "quarantine 0 lines" in ran.out
    assert "champion   none yet" in ran.out
    assert not list(shop.data.iterdir())


def test_status_shows_what_is_published(shop, event):
    shop.land(SLICE, "web.jsonl", [event("1")])
    publish_slice(shop, SLICE)
    out = shop("status").out
    assert "published  version 1 as of 2026-05-01 08:15 UTC, published 3 hours ago" in out
    assert "up to date" in out
    assert "history    1 slice, 7 good lines" in out
    row = next(line for line in out.splitlines() if line.startswith(SLICE))
    assert row.split() == [SLICE, "2", "1,234", "1,200", "30", "4", "9", "repaired", "05-02", "09:10"]


def test_status_counts_closed_slices_that_wait_and_open_ones(shop, event):
    shop.land(SLICE, "web.jsonl", [event("1")])
    publish_slice(shop, SLICE)
    assert "no closed slice has new files" in shop("status").out
    shop.land(NEXT, "web.jsonl", [event("2")])
    shop.land(LAST, "web.jsonl", [event("3")])
    out = shop("status").out
    assert "1 closed slice behind" in out
    assert f"waiting    1 closed slice with new files: {NEXT}" in out
    assert f"1 open slice with files so far: {LAST}" in out


def test_a_repair_of_a_published_slice_waits(shop, event):
    shop.land(SLICE, "web.jsonl", [event("1")])
    shop.land(NEXT, "web.jsonl", [event("2")])
    publish_slice(shop, SLICE)
    shop.land(SLICE, "late.jsonl", [event("3")])
    assert f"1 closed slice with new files: {SLICE}" in shop("status").out


def test_status_names_the_holder_of_the_warehouse(shop):
    with warehouse_lock(shop.settings.place, "run 1234"):
        assert f"warehouse  held by run 1234 (process {os.getpid()}, since " in shop("status").out
    assert "warehouse  free" in shop("status").out


def test_status_shows_quarantine_champion_plan_report_and_disk(shop, event):
    shop.land(SLICE, "web.jsonl", [event("1"), "{", event("2", event_at=None), event("3", event_at=None)])
    shop.run_slice(SLICE)
    place = shop.settings.place
    for path, text in (
        (place.models / "affinity" / "champion", "20260501T080000Z-abc\n"),
        (place.plans / "2026-05-01" / "campaign_plan.parquet", "x"),
        (place.reports / "drift" / "2026-05-01.html", "x" * 5_000_000),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(text, "utf-8")
    out = shop("status").out
    assert "quarantine 3 lines" in out
    assert "2 in 1 slice  event_at: is missing" in out
    assert "champion   affinity 20260501T080000Z-abc" in out
    assert "plan       plans/2026-05-01/campaign_plan.parquet" in out
    assert "drift      reports/drift/2026-05-01.html" in out
    assert "reports 5.0 MB" in out


@pytest.mark.parametrize("note", ["", "half a no", "[]"])
def test_an_unreadable_lock_note_is_shown_as_it_is(shop, note):
    place = shop.settings.place
    with warehouse_lock(place, "run 1"):
        (place.root / "warehouse.lock").write_text(note, "utf-8")
        assert "warehouse  held by" in shop("status").out
