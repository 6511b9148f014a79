"""The sensor's requests as a function of folders, runs and published slices, without clock, disk or orchestrator."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

import pytest

from customer360.lake.landing.listing import NO_FILES
from customer360.lake.operations.slice_requests import (
    LOST_AFTER,
    MAX_ATTEMPTS,
    MAX_RANGE,
    MAX_REQUESTS,
    Cursor,
    Inputs,
    Request,
    RunState,
    decide,
)
from customer360.lake.slices import slice_key, slice_start

WIDTH = timedelta(minutes=15)
START = datetime(2026, 5, 1, tzinfo=UTC)
SECOND = 1_000_000_000


def at(number: int) -> datetime:
    return START + number * WIDTH


def key(number: int) -> str:
    return slice_key(at(number))


@dataclass
class Sensor:
    """A sensor and what it looks at."""

    files: dict[int, int] = field(default_factory=dict)  # slice number -> how many files it has
    modified: dict[int, int] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)
    runs: dict[str, RunState] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    cursor: Cursor = field(default_factory=Cursor)
    closed: int = -1
    now: datetime = START
    has_history: bool = False

    def land(self, number: int) -> None:
        """A file appears."""
        self.files[number] = self.files.get(number, 0) + 1
        self.modified[number] = int(self.now.timestamp()) * SECOND

    def fingerprint(self, start: datetime) -> str:
        number = int((start - START) / WIDTH)
        return f"{self.files[number]} files" if number in self.files else NO_FILES

    def tick(self, closed: int | None = None, seconds: int = 15, keep_cursor: bool = True) -> list[Request]:
        """Time passes and the sensor looks; without ``keep_cursor`` it dies before its cursor is kept."""
        self.closed = self.closed if closed is None else closed
        self.now += timedelta(seconds=seconds)
        decision = decide(
            self.cursor,
            Inputs(
                folders=lambda: [(at(number), self.modified[number]) for number in sorted(self.files)],
                fingerprint=self.fingerprint,
                done=lambda: self.done,
                run_state=self.runs.get,
                last_closed=at(self.closed) if self.closed >= 0 else None,
                slices_start=START,
                width=WIDTH,
                now=self.now,
                has_history=self.has_history,
            ),
        )
        new = [request for request in decision.requests if request.run_key not in self.runs]  # a used key makes no run
        for request in new:
            self.runs[request.run_key] = RunState.WORKING
            self.requests[request.run_key] = request
        if keep_cursor:
            self.cursor = Cursor.loads(decision.cursor.dumps())
            assert self.cursor == decision.cursor
        return new

    def finish(self, request: Request, succeeded: bool = True) -> None:
        """A run ends; one that succeeded has published its slices as they were."""
        self.runs[request.run_key] = RunState.SUCCEEDED if succeeded else RunState.FAILED
        first = slice_start(request.first)
        for number in range(request.slices if succeeded else 0):
            self.done[slice_key(first + number * WIDTH)] = self.fingerprint(first + number * WIDTH)


def asked(requests: list[Request]) -> list[tuple[str, str]]:
    return [(request.first, request.last) for request in requests]


def test_nothing_is_asked_for_before_a_slice_with_files_is_closed() -> None:
    sensor = Sensor()
    assert sensor.tick() == []
    assert sensor.tick(closed=3) == []
    sensor.land(5)
    assert sensor.tick(closed=4) == []
    assert asked(sensor.tick(closed=5)) == [(key(5), key(5))]


def test_a_published_shop_without_click_folders_runs_its_newest_closed_slice_and_those_after_it() -> None:
    sensor = Sensor(has_history=True)
    (request,) = sensor.tick(closed=70)
    assert (request.first, request.last) == (key(70), key(70))
    sensor.finish(request)
    assert sensor.tick() == []
    assert asked(sensor.tick(closed=72)) == [(key(71), key(72))]
    sensor.land(69)  # the first file, late
    assert asked(sensor.tick(closed=72)) == [(key(69), key(69))]


def test_a_closed_slice_is_asked_for_once_and_its_key_names_slice_files_and_attempt() -> None:
    sensor = Sensor()
    sensor.land(0)
    (request,) = sensor.tick(closed=0)
    assert (request.run_key, request.isolate) == (f"{key(0)}:1 files:1", False)
    assert sensor.tick() == []
    sensor.finish(request)
    assert sensor.tick() == []
    assert sensor.cursor.pending == {}


def test_closed_slices_without_files_are_asked_for_too() -> None:
    sensor = Sensor()
    sensor.land(0)
    sensor.finish(*sensor.tick(closed=0))
    sensor.land(3)
    assert asked(sensor.tick(closed=3)) == [(key(1), key(3))]


def test_a_late_file_requests_its_slice_again() -> None:
    sensor = Sensor()
    for number in range(200):
        sensor.land(number)
    for request in sensor.tick(closed=199):
        sensor.finish(request)
    sensor.tick(seconds=100)
    sensor.land(7)  # two days old
    (repair,) = sensor.tick()
    assert asked([repair]) == [(key(7), key(7))]
    sensor.finish(repair)
    assert sensor.tick() == []


def test_a_file_that_lands_while_its_slice_runs_makes_another_run() -> None:
    sensor = Sensor()
    sensor.land(0)
    (first,) = sensor.tick(closed=0)
    sensor.land(0)
    (second,) = sensor.tick()
    assert second.run_key == f"{key(0)}:2 files:1"
    sensor.finish(first)
    sensor.finish(second)
    assert sensor.tick() == []


def test_a_run_that_succeeded_after_a_file_had_landed_is_followed_by_another() -> None:
    sensor = Sensor()
    sensor.land(0)
    (first,) = sensor.tick(closed=0)
    sensor.finish(first)  # done with one file
    sensor.land(0)
    assert len(sensor.tick()) == 1


def test_a_failed_slice_is_retried_with_pauses_and_a_failing_file_is_set_aside_the_last_time() -> None:
    sensor = Sensor()
    sensor.land(0)
    (request,) = sensor.tick(closed=0)
    pauses, attempts = [], [request]
    while request.attempt < MAX_ATTEMPTS:
        sensor.finish(request, succeeded=False)
        for waited in count(5, 5):
            found = sensor.tick(seconds=5)
            if found:
                (request,) = found
                pauses.append(waited)
                attempts.append(request)
                break
    assert pauses == [15, 60, 300]
    assert [request.isolate for request in attempts] == [False, False, False, True]
    assert len({request.run_key for request in attempts}) == 4
    sensor.finish(request, succeeded=False)
    assert sensor.tick(seconds=3_595) == []
    (later,) = sensor.tick(seconds=5)
    assert (later.attempt, later.isolate) == (5, True)  # the cause may be gone after an hour, or after many
    sensor.finish(later, succeeded=False)
    sensor.land(0)  # a repair begins anew
    (again,) = sensor.tick()
    assert again.attempt == 1


def test_after_two_days_off_everything_is_asked_for_in_ranges_of_at_most_a_day() -> None:
    sensor = Sensor()
    sensor.land(0)
    sensor.finish(*sensor.tick(closed=0))
    sensor.land(100)
    requests = sensor.tick(closed=192)
    assert asked(requests) == [(key(1), key(96)), (key(97), key(192))]
    assert max(request.slices for request in requests) == MAX_RANGE
    sensor.finish(requests[0])
    sensor.finish(requests[1], succeeded=False)
    assert asked(sensor.tick(seconds=20)) == [(key(97), key(192))]


def test_a_file_in_the_middle_of_a_running_range_makes_a_run_of_its_own() -> None:
    sensor = Sensor()
    sensor.land(0)
    sensor.finish(*sensor.tick(closed=0))
    (gap,) = sensor.tick(closed=10)
    sensor.land(5)
    (repair,) = sensor.tick()
    assert asked([repair]) == [(key(5), key(5))]
    sensor.finish(repair)
    sensor.finish(gap)
    assert sensor.tick() == []


def test_a_run_that_was_lost_is_asked_for_again_under_the_same_key() -> None:
    sensor = Sensor()
    sensor.land(0)
    (request,) = sensor.tick(closed=0)
    del sensor.runs[request.run_key]  # the daemon died between the cursor and the run
    assert sensor.tick() == []
    (again,) = sensor.tick(seconds=int(LOST_AFTER.total_seconds()))
    assert again == request


def test_a_sensor_that_dies_before_it_keeps_its_cursor_asks_for_the_same_again() -> None:
    sensor = Sensor()
    for number in range(3):
        sensor.land(number)
    first = sensor.tick(closed=2, keep_cursor=False)
    assert asked(first) == [(key(0), key(2))]
    assert sensor.tick() == []  # the same key: no second run
    sensor.finish(first[0])
    assert sensor.tick() == []


def test_a_lost_cursor_costs_a_listing_and_no_run() -> None:
    sensor = Sensor()
    for number in range(0, 50, 2):
        sensor.land(number)
    for request in sensor.tick(closed=49):
        sensor.finish(request)
    sensor.cursor = Cursor.loads("no cursor of ours")
    assert sensor.tick() == []


def test_folders_before_the_first_slice_are_left_alone() -> None:
    sensor = Sensor()
    sensor.land(-3)
    sensor.land(0)
    assert asked(sensor.tick(closed=0)) == [(key(0), key(0))]


def test_at_most_twenty_runs_are_asked_for_at_once_and_the_rest_later() -> None:
    sensor = Sensor()
    for number in range(100):
        sensor.land(number)
    for request in sensor.tick(closed=99):
        sensor.finish(request)
    sensor.tick(seconds=100)
    for number in range(0, 100, 2):  # none beside another
        sensor.land(number)
    seen: list[Request] = []
    for _ in range(4):
        found = sensor.tick()
        assert len(found) <= MAX_REQUESTS
        seen += found
        for request in found:
            sensor.finish(request)
    assert [request.first for request in seen] == [key(number) for number in range(0, 100, 2)]


@pytest.mark.parametrize("seed", range(10))
def test_whatever_happens_every_slice_is_done_in_the_end_and_none_is_run_for_nothing(seed: int) -> None:
    random, sensor, closed = Random(seed), Sensor(), -1
    sensor.land(0)
    for _ in range(120):
        closed += random.choice([0, 0, 1, 1, 2, 60])
        for _ in range(random.choice([0, 1, 2])):
            sensor.land(max(0, min(closed + 1, closed - int(random.expovariate(0.1)))))
        sensor.tick(closed=max(closed, 0), seconds=random.choice([15, 15, 60, 700]), keep_cursor=random.random() < 0.9)
        for run_key, state in list(sensor.runs.items()):
            if state is RunState.WORKING and random.random() < 0.5:
                last = sensor.requests[run_key].attempt == MAX_ATTEMPTS
                sensor.finish(sensor.requests[run_key], succeeded=last or random.random() < 0.8)
    for _ in range(30):
        sensor.tick(seconds=400)
        for run_key, state in list(sensor.runs.items()):
            if state is RunState.WORKING:
                sensor.finish(sensor.requests[run_key])
    closed = max(closed, 0)
    wrong = [number for number in range(closed + 1) if sensor.done.get(key(number)) != sensor.fingerprint(at(number))]
    assert wrong == []
    assert sensor.tick() == []
    assert sensor.cursor.pending == {}
    single = Counter(
        (request.first, request.run_key.split(":")[2])
        for request in sensor.requests.values()
        if request.slices == 1 and request.attempt == 1
    )
    assert max(single.values(), default=1) == 1
