"""The sensor that requests slices: no slice is lost or run twice, whatever fails around it."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.raw.clicks import ISOLATE_TAG
from customer360.lake.operations.slice_requests import BACK_OFF, LOST_AFTER, MAX_ATTEMPTS, MAX_RANGE, Cursor, Inputs, decide
from sensors import click_slices as click_slices_module
from tests.sensors.conftest import CRASHES, SLICE, START, Bench, age_folder, names

ATTEMPT = "customer360/attempt"


@pytest.mark.parametrize("shop", ["live", "replay"])
def test_the_first_tick_of_an_empty_shop_asks_for_nothing(request: pytest.FixtureRequest, shop: str) -> None:
    bench = request.getfixturevalue(shop)
    bench.now = bench.at(40)
    assert bench.tick() == []
    assert "no closed slice has new files" in bench.skip_reason


def test_a_replayed_slice_is_asked_for_when_a_later_one_has_files(replay: Bench) -> None:
    replay.land(0)
    assert replay.tick() == []
    replay.land(1)
    (request,) = replay.tick()
    assert request.partition_key == "2026-04-30-16:00"
    assert request.run_key == f"2026-04-30-16:00:{replay.read(request)['2026-04-30-16:00']}:1"
    replay.succeed(request)
    assert replay.tick() == []


def test_a_live_slice_is_asked_for_after_its_end_and_the_grace(live: Bench) -> None:
    live.land(0)
    live.now = START + SLICE + timedelta(seconds=119)
    assert live.tick() == []
    live.wait(seconds=1)
    assert names(live.tick()) == [live.key(0)]


def test_a_live_slice_without_files_is_run_as_an_empty_one(live: Bench) -> None:
    live.land(0)
    live.now = live.at(1) + timedelta(minutes=3)
    live.succeed(*live.tick())
    live.wait(minutes=15)
    (request,) = live.tick()
    assert live.read(request) == {live.key(1): "empty"}
    live.succeed(request)
    assert live.tick() == []


def test_gaps_of_a_replay_are_run_as_empty_slices(replay: Bench) -> None:
    replay.land(0)
    replay.land(4)
    assert names(replay.tick()) == [(replay.key(0), replay.key(3))]


def test_a_late_file_requests_its_slice_again(replay: Bench) -> None:
    for number in range(300):
        replay.land(number)
    replay.settle()
    for number in range(300):
        age_folder(replay, number, timedelta(hours=9))
    replay.tick()
    replay.land(5, "web-2.jsonl")  # three days before the last one
    assert names(replay.tick()) == [replay.key(5)]
    replay.settle()
    assert replay.is_whole()
    assert max(replay.made.values()) == 1


def test_the_same_name_with_new_content_requests_its_slice_again(replay: Bench) -> None:
    for number in range(3):
        replay.land(number)
    replay.settle()
    replay.land(0, text='{"event_id": "other"}\n')
    assert names(replay.tick()) == [replay.key(0)]


def test_a_file_that_is_taken_away_and_put_back_is_processed_three_times(replay: Bench) -> None:
    kept = replay.land(0)
    replay.land(1)
    replay.settle()
    aside = kept.rename(replay.folder / "aside")
    replay.settle()
    assert replay.done[replay.key(0)] == "empty"
    aside.rename(kept)
    replay.settle()
    assert replay.is_whole()


def test_a_file_still_being_written_is_not_seen(live: Bench) -> None:
    final = live.land(0)
    live.now = live.at(1) + timedelta(minutes=3)
    live.succeed(*live.tick())
    for hidden in (".web-2.jsonl", "_web-2.jsonl", "web-2.jsonl.tmp"):
        final.with_name(hidden).write_text("{", encoding="utf-8")
        assert live.tick() == []
    final.with_name(".web-2.jsonl").rename(final.with_name("web-2.jsonl"))
    assert names(live.tick()) == [live.key(0)]


def test_a_file_that_lands_while_its_slice_runs_is_not_lost(replay: Bench) -> None:
    replay.land(0)
    replay.land(1)
    (request,) = replay.tick()
    seen = replay.read(request)
    replay.land(0, "web-2.jsonl")
    (second,) = replay.tick()
    replay.succeed(request, seen)
    assert replay.tick() == []
    replay.succeed(second)
    assert replay.tick() == []
    assert replay.is_whole()


def test_a_failed_slice_is_retried_with_back_off_and_at_last_sets_its_file_aside(replay: Bench) -> None:
    replay.land(0)
    replay.land(1)
    keys = []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        (request,) = replay.tick()
        keys.append(request.run_key)
        assert request.tags[ATTEMPT] == str(attempt)
        assert (request.tags.get(ISOLATE_TAG) == "true") == (attempt == MAX_ATTEMPTS)
        assert replay.tick() == []  # it is at work
        replay.fail(request)
        if attempt < MAX_ATTEMPTS:
            replay.now += BACK_OFF[attempt - 1] - timedelta(seconds=1)
            assert replay.tick() == []
            replay.wait(seconds=1)
    assert len(set(keys)) == MAX_ATTEMPTS == 4
    assert [pause.total_seconds() for pause in BACK_OFF] == [15, 60, 300]
    replay.wait(minutes=59)
    assert replay.tick() == []
    assert "failed 4 times and is tried again every hour" in replay.skip_reason
    replay.wait(minutes=1)
    (request,) = replay.tick()
    assert (request.tags[ATTEMPT], request.tags[ISOLATE_TAG]) == ("5", "true")
    replay.fail(request)
    replay.land(0, text="[]\n")
    (request,) = replay.tick()
    assert request.tags[ATTEMPT] == "1"


def test_a_slice_whose_run_was_killed_is_asked_for_at_once_and_after_pauses_if_it_is_killed_again(replay: Bench) -> None:
    replay.land(0)
    replay.land(1)
    (request,) = replay.tick()
    replay.kill(request)
    (request,) = replay.tick()
    assert request.tags[ATTEMPT] == "2"
    for attempt, seconds in (("3", 15), ("4", 300), ("5", 3600)):
        replay.kill(request)
        replay.wait(seconds=seconds - 1)
        assert replay.tick() == []
        replay.wait(seconds=1)
        (request,) = replay.tick()
        assert request.tags[ATTEMPT] == attempt
    replay.succeed(request)
    assert replay.tick() == []
    assert replay.is_whole()


def test_a_slice_that_was_run_by_hand_after_its_last_attempt_is_done(replay: Bench) -> None:
    replay.land(0)
    replay.land(1)
    for _ in range(MAX_ATTEMPTS):
        (request,) = replay.tick()
        replay.fail(request)
        replay.wait(minutes=5)
    by_hand = dg.RunRequest(run_key="by hand", partition_key=replay.key(0))
    replay._launch(by_hand)
    replay.succeed(by_hand)
    replay.tick()
    assert "tried again" not in replay.skip_reason


def test_a_gap_of_two_days_is_asked_for_in_ranges_of_at_most_a_day(live: Bench) -> None:
    live.land(0)
    live.now = live.at(1) + timedelta(minutes=3)
    live.succeed(*live.tick())
    live.land(100)
    live.wait(days=2)
    requests = live.tick()
    assert names(requests) == [(live.key(1), live.key(96)), (live.key(97), live.key(192))]
    assert MAX_RANGE == 96
    for request in requests:
        live.succeed(request)
    assert live.tick() == []
    assert live.is_whole()
    assert max(live.made.values()) == 1


def test_a_failed_range_is_asked_for_again_as_a_range(live: Bench) -> None:
    live.land(0)
    live.now = live.at(10) + timedelta(minutes=3)
    (request,) = live.tick()
    live.fail(request)
    live.wait(seconds=15)
    (again,) = live.tick()
    assert live.slices(again) == live.slices(request)
    assert again.run_key != request.run_key


def test_after_an_outage_of_months_requests_come_in_portions(live: Bench) -> None:
    live.land(0)
    live.now = live.at(0) + timedelta(days=25)
    began = time.process_time()
    first = live.tick()
    assert [len(live.slices(request)) for request in first] == [MAX_RANGE] * 20
    assert time.process_time() - began < 30
    live.settle()
    assert live.is_whole()
    assert max(live.made.values()) == 1


def test_ten_thousand_files_are_listed_in_a_moment(replay: Bench) -> None:
    folder = replay.land(0).parent
    for number in range(10_000):
        (folder / f"part-{number:05}.jsonl").write_bytes(b"")
    replay.land(1)
    began = time.process_time()
    (request,) = replay.tick()
    replay.succeed(request)
    assert replay.tick() == []
    assert time.process_time() - began < 20
    (folder / "part-05000.jsonl").unlink()
    assert names(replay.tick()) == [replay.key(0)]


def test_a_lost_cursor_asks_for_nothing_that_is_done(replay: Bench) -> None:
    for number in range(200):
        replay.land(number)
    replay.settle()
    replay.land(50, "web-2.jsonl")
    replay.cursor = None
    assert names(replay.tick()) == [replay.key(50)]
    replay.settle()
    assert replay.is_whole()
    assert max(replay.made.values()) == 1


def test_an_unreadable_cursor_is_a_fresh_start(replay: Bench) -> None:
    replay.land(0)
    replay.land(1)
    for cursor in ("{", "[]", '{"watermark_ns": 1}', '{"watermark_ns": 1, "high": null, "wanted": {"x": {"colour": 1}}}'):
        assert Cursor.loads(cursor) == Cursor()
    replay.cursor = "not JSON"
    assert names(replay.tick()) == [replay.key(0)]


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_between_any_two_steps_loses_nothing_and_repeats_no_run(replay: Bench, crash: str) -> None:
    for number in (0, 1, 2, 3, 150):
        replay.land(number)
    replay.land(152)
    assert len(replay.tick(crash)) <= 2
    before = [request.run_key for request in replay.under_way()]
    again = replay.tick()
    assert set(before).isdisjoint(request.run_key for request in again)
    for request in replay.under_way():
        replay.succeed(request)
    if crash == "cursor saved, no run launched":
        assert again == []
        replay.wait(minutes=LOST_AFTER.total_seconds() / 60 + 1)
    replay.settle()
    assert replay.is_whole()
    assert set(replay.made.values()) == {1}


@pytest.mark.parametrize("crash", CRASHES)
def test_a_retry_survives_a_crash_too(replay: Bench, crash: str) -> None:
    replay.land(0)
    replay.land(1)
    replay.fail(*replay.tick())
    replay.wait(seconds=20)
    replay.tick(crash)
    replay.tick()
    replay.wait(minutes=11)
    replay.settle()
    assert replay.is_whole()
    assert set(replay.made.values()) == {1}


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_nothing_is_lost(tmp_path: Path, instance: dg.DagsterInstance, seed: int) -> None:
    chance = random.Random(seed)
    bench = Bench(tmp_path, instance, live=bool(seed % 2))
    bench.land(0)
    lost_cursors = newest = 0
    for _ in range(40):
        event = chance.choice(["land", "land", "repair", "tick", "tick", "crash", "end", "end", "wait", "forget"])
        if event == "land":
            newest += chance.choice([1, 1, 2, 7])
            bench.land(newest, f"web-{chance.randrange(3)}.jsonl", f"{chance.random()}\n")
            bench.now = max(bench.now, bench.at(newest))
        elif event == "repair":
            bench.land(chance.randint(0, newest), f"late-{chance.random()}.jsonl")
        elif event == "tick":
            bench.tick()
        elif event == "crash":
            bench.tick(chance.choice(CRASHES))
            lost_cursors += 1
        elif event == "end" and bench.runs:
            request = chance.choice(bench.under_way())
            bench.fail(request) if chance.random() < 0.3 else bench.succeed(request)
        elif event == "wait":
            bench.wait(minutes=chance.choice([0.2, 1, 5, 16, 200]))
        elif event == "forget" and chance.random() < 0.3:
            bench.cursor = None
            lost_cursors += 1
    bench.wait(minutes=11)
    bench.settle()
    assert bench.is_whole()
    assert max(bench.made.values(), default=1) <= 1 + lost_cursors


def test_data_that_have_passed_the_partitions_wait_for_the_code_server_that_knows_them(
    replay: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that an outage is caught up in ranges of a day, and not in one to the end of the partitions and others after it."""
    monkeypatch.setattr(click_slices_module, "END", replay.at(2))
    replay.land(0)
    replay.land(2)
    assert names(replay.tick()) == [(replay.key(0), replay.key(1))]
    replay.land(4)
    assert replay.tick() == []
    assert "the data have passed the end of the partitions, 2026-04-30 16:30" in str(replay.skip_reason)
    monkeypatch.setattr(click_slices_module, "END", replay.at(96))
    assert names(replay.tick()) == [(replay.key(2), replay.key(3))]


def test_a_change_during_a_slow_look_is_seen_at_the_next_one() -> None:
    now = datetime(2026, 5, 20, tzinfo=UTC)
    seconds = 1_000_000_000
    tick_ns = int(now.timestamp()) * seconds
    old, young = START, START + timedelta(days=10)
    fingerprints = {old: "before", young: "young"}
    done = {"2026-04-30-16:00": "before"}

    def inputs(folders: list[tuple[datetime, int]]) -> Inputs:
        return Inputs(
            folders=lambda: folders,
            fingerprint=lambda start: fingerprints.get(start, "empty"),
            done=lambda: done,
            run_state=lambda _: None,
            last_closed=young,
            slices_start=START,
            width=SLICE,
            now=now,
        )

    # The look takes long: after the old folder was looked at, a file lands there, and 5 s later one in the young folder.
    cursor = decide(
        Cursor(high="2026-05-10-16:00"), inputs([(old, tick_ns - 9 * seconds), (young, tick_ns + 9 * seconds)])
    ).cursor
    fingerprints[old] = "after"
    decision = decide(cursor, inputs([(old, tick_ns + 4 * seconds), (young, tick_ns + 9 * seconds)]))
    assert "2026-04-30-16:00" in decision.cursor.pending
