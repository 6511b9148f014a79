"""The stream of `make shop`: the same traffic, file by file, at the pace asked for."""

from datetime import timedelta
from itertools import islice

import pytest

from customer360.lake.slices import slice_folder
from customer360.settings import Place
from customer360.simulation import Faults, Simulation, SimulationError, next_slice, simulate_slice, stream
from tests.simulation.test_slices import events_of

SMALL = Simulation(customers=600, days=2, seed=8)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_slice_takes_its_length_divided_by_the_speed(synthetic_shop, tmp_path):
    watch, place = Time(), Place(root=tmp_path)
    arrivals = []
    for arrived in stream(SMALL, synthetic_shop, place, speed=10, clock=watch.clock, sleep=watch.sleep):
        assert arrived.path.exists()
        arrivals.append((arrived.slice_start, watch.now - 1_000))
        if arrived.slice_start > synthetic_shop.slices_start:
            break
    in_first = [moment for start, moment in arrivals if start == synthetic_shop.slices_start]
    assert sorted(set(in_first)) == pytest.approx([30, 60, 90])
    assert arrivals[-1][1] == pytest.approx(120)


def test_streamed_slices_hold_what_a_simulated_slice_holds(synthetic_shop, tmp_path):
    watch, streamed, at_once = Time(), Place(root=tmp_path / "a"), Place(root=tmp_path / "b")
    start = synthetic_shop.slices_start
    for arrived in stream(SMALL, synthetic_shop, streamed, start, clock=watch.clock, sleep=watch.sleep):
        if arrived.slice_start > start:
            break
    report = simulate_slice(SMALL, synthetic_shop, at_once, start)
    ids = [sorted(event["event_id"] for event in events_of(place, start)) for place in (streamed, at_once)]
    assert ids[0] == ids[1]
    assert len(ids[0]) == report["total"]["events"]
    assert len(list(slice_folder(streamed.landing / "clicks", start).iterdir())) > 3


def test_the_stream_goes_on_after_the_last_slice_in_landing(synthetic_shop, tmp_path):
    watch, place = Time(), Place(root=tmp_path)
    assert next_slice(synthetic_shop, place) == synthetic_shop.slices_start
    simulate_slice(SMALL, synthetic_shop, place, synthetic_shop.slices_start + timedelta(minutes=45))
    files = stream(SMALL, synthetic_shop, place, faults=Faults.everyday(), clock=watch.clock, sleep=watch.sleep)
    assert {arrived.slice_start for arrived in islice(files, 3)} == {synthetic_shop.slices_start + timedelta(minutes=60)}


def test_an_interrupt_leaves_no_half_file(synthetic_shop, tmp_path):
    watch, place = Time(), Place(root=tmp_path)

    def interrupted(seconds: float) -> None:
        if watch.now > 1_500:
            raise KeyboardInterrupt
        watch.sleep(seconds)

    with pytest.raises(KeyboardInterrupt):
        for _ in stream(SMALL, synthetic_shop, place, clock=watch.clock, sleep=interrupted):
            pass
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if path.name.startswith(".")]


def test_a_speed_of_nothing_is_refused(synthetic_shop, tmp_path):
    with pytest.raises(SimulationError, match="speed"):
        next(stream(SMALL, synthetic_shop, Place(root=tmp_path), speed=0))
