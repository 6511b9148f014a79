"""``customer360 adapt``: what it says and what it ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

EVENT = {"event_timestamp": "1777622472000123", "event_name": "page_view", "user_pseudo_id": "v-90"}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_text(f"{json.dumps(EVENT)}\n")
    return path


def test_an_export_goes_into_the_slices_of_its_events_in_a_replay(shop, export):
    ran = shop("adapt", "ga4", str(export))
    assert (ran.code, list(shop.landed_files())) == (0, ["clicks/2026/05/01/0800/ga4-343fa4a1b02ebeb4.jsonl"])
    assert f"{export}  1 row: 1 used, 0 skipped, 0 rejected; 1 click" in ran.out
    assert shop("check", str(shop.landing)).code == 0


def test_a_slice_may_be_named_and_a_wrong_one_is_wrong_usage(shop, export):
    shop("adapt", "ga4", str(export), "--into", "2026-05-01-08:15")
    assert [name[:23] for name in shop.landed_files()] == ["clicks/2026/05/01/0815/"]
    assert shop("adapt", "ga4", str(export), "--into", "today").code == 2


def test_rejected_rows_and_broken_files_are_told_and_the_rest_is_converted(shop, export, tmp_path):
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{\n")
    export.write_text(f"{json.dumps(EVENT)}\n{{}}\n")
    ran = shop("adapt", "ga4", str(broken), str(export))
    assert ran.code == 1
    assert f"not converted: {broken} has no row in the format ga4" in ran.out
    assert "rejected  line 2: event_name: is missing" in ran.out
    assert len(shop.landed_files()) == 1


def test_history_is_said_to_be_loaded_by_hand(shop, export):
    export.write_text(json.dumps({**EVENT, "event_timestamp": "1775000000000000"}))
    assert "run history_job" in shop("adapt", "ga4", str(export)).out


def test_a_log_without_rules_is_wrong_usage(shop, tmp_path):
    (tmp_path / "access.log").write_text("x\n")
    ran = shop("adapt", "weblog", str(tmp_path / "access.log"))
    assert (ran.code, "weblog.yaml does not exist" in ran.err) == (2, True)
