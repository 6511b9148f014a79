"""``customer360 status``: before anything exists, after a publication, while somebody works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from customer360.lake.engine import connect
from customer360.lake.landing.listing import list_slice
from customer360.lake.operations.status import read_status
from customer360.lake.publishing.publishing import publish
from customer360.lake.slices import slice_key, slice_start
from customer360.lake.warehouse.warehouse import warehouse_lock
from customer360.services.alerts import Alert, report_failure, report_success

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
    assert ran.code == 3
    assert ran.out.startswith("state      unknown: nothing is published yet\n")
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


@pytest.mark.parametrize(
    ("behind", "code", "state"),
    [(0, 0, "healthy"), (1, 1, "warning"), (4, 1, "warning"), (5, 2, "critical"), (30, 2, "critical")],
)
def test_the_exit_code_says_how_far_what_is_published_is_behind(shop, event, behind, code, state):
    for number in range(behind + 2):
        shop.land(slice_key(slice_start(SLICE) + number * timedelta(minutes=15)), "web.jsonl", [event(f"{number}")])
    publish_slice(shop, SLICE)
    ran = shop("status")
    assert (ran.code, ran.out.split()[1].rstrip(":")) == (code, state)
    assert (f"{behind} closed slice" in ran.out.splitlines()[0]) == bool(behind)


def test_a_live_shop_is_given_five_minutes_for_the_slice_that_has_just_closed(shop):
    shop.change("live: false", "live: true")
    for minutes, problems in ((17 + 4, []), (17 + 6, ["behind"])):
        now = slice_start(NEXT) + timedelta(minutes=minutes)  # a slice closes 2 minutes after its end
        publish_slice(shop, SLICE)
        assert [problem.code for problem in read_status(shop.settings, now).problems] == problems


def test_slices_that_fail_for_good_are_critical_and_named_with_their_cause(shop, event):
    shop.land(SLICE, "web.jsonl", [event("1")])
    publish_slice(shop, SLICE)
    alert = Alert("slice_job", NEXT, "run-1", ["warehouse_models"], "dbt failed: stg_clicks: no such column")
    report_failure(shop.settings.place, alert, [NEXT], datetime(2026, 5, 1, 8, 40, tzinfo=UTC), lambda _: True)
    ran = shop("status")
    assert ran.code == 2
    assert ran.out.splitlines()[0] == (
        f"state      critical: slice_job for {NEXT} has failed since 2026-05-01T08:40:00+00:00: dbt failed: stg_clicks: "
        "no such column; docs/runbook.md#failed-slice"
    )
    report_success(shop.settings.place, "slice_job", "run-2", lambda key: key == NEXT, lambda _: True)
    assert shop("status").code == 0


@pytest.mark.parametrize(("free", "code"), [(0, 2), (99_000_000, 2), (101_000_000, 1), (999_000_000, 1), (1_001_000_000, 0)])
def test_the_exit_code_warns_of_a_disk_that_fills(shop, event, monkeypatch, free, code):
    """A small place needs 100 MB; below that nothing can be written, below ten times that it is time to look."""
    shop.land(SLICE, "web.jsonl", [event("1")])
    publish_slice(shop, SLICE)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10**12, used=0, free=free))
    ran = shop("status")
    assert ran.code == code
    assert ("docs/runbook.md#disk-full" in ran.out) == bool(code)


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="locks of other processes are shown by Linux alone")
def test_a_foreign_process_that_holds_the_warehouse_is_named_rather_than_the_run_that_waits(shop, event):
    shop.land(SLICE, "web.jsonl", [event("1")])
    publish_slice(shop, SLICE)
    code = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(shop.settings.place.warehouse)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as foreign:
        assert foreign.stdout.readline() == "open\n"
        alone = shop("status")
        with warehouse_lock(shop.settings.place, "run 1234"):
            waited_for = shop("status")
        foreign.stdin.close()
    assert (alone.code, waited_for.code) == (1, 2)
    assert f"warehouse  held by process {foreign.pid}, {sys.executable} -c import duckdb" in alone.out
    assert f"warehouse  held by process {foreign.pid}, {sys.executable} -c import duckdb" in waited_for.out
    assert f"           waited for by run 1234 (process {os.getpid()}, since " in waited_for.out
    assert "warehouse  free" in shop("status").out


def test_json_has_the_state_its_problems_and_the_facts(shop, event):
    for key in (SLICE, NEXT, LAST):
        shop.land(key, "web.jsonl", [event(key)])
    publish_slice(shop, SLICE)
    found = json.loads(shop("status", "--json").out)
    assert (found["state"], [problem["code"] for problem in found["problems"]]) == ("warning", ["behind"])
    assert found["waiting"] == {"closed": [NEXT], "open": [LAST]}
    assert found["publication"]["version"] == 1


def test_a_file_that_versions_share_is_counted_once(shop):
    versions = shop.data / "published" / "versions"
    for name in ("1", "2"):
        (versions / name).mkdir(parents=True)
    (versions / "1" / "table.parquet").write_bytes(b"x" * 3_000_000)
    os.link(versions / "1" / "table.parquet", versions / "2" / "table.parquet")
    assert "published 3.0 MB" in shop("status").out
