"""The sensor on landing in an object store: the results of a folder; an unreachable store is reported, without loss."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from customer360.lake import object_store
from customer360.lake.landing import store_landing
from customer360.lake.landing.location import find_landing
from customer360.lake.object_store import StoreError
from customer360.lake.operations.clock import last_closed_slice
from customer360.lake.slices import FOLDER_FORMAT, slice_start
from sensors.click_slices import interval_seconds
from tests.sensors.conftest import CRASHES, Bench, names
from tests.support.object_store import ObjectStore, empty_store, storage_yaml


@dataclass
class StoreBench(Bench):
    """The bench with its landing in a store."""

    store: ObjectStore | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.store is not None
        self.write_shop(storage_yaml(self.store, publish=None))

    def write_shop(self, storage: dict[str, object] | None) -> None:
        path = self.folder / "shop" / "shop.yaml"
        shop = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump({**shop, "object_storage": storage}), encoding="utf-8")
        self.__dict__.pop("settings", None)

    def key_of(self, number: int, name: str) -> str:
        return f"landing/clicks/{self.at(number):{FOLDER_FORMAT}}/{name}"

    def land(self, number: int, name: str = "web-1.jsonl", text: str = "{}\n") -> Path:
        assert self.store is not None
        self.store.put(self.key_of(number, name), text)
        return Path(name)

    def read(self, request: dg.RunRequest) -> dict[str, str]:
        landing = find_landing(self.settings)
        return {key: landing.slice(slice_start(key)).fingerprint for key in self.slices(request)}

    def is_whole(self) -> bool:
        landing = find_landing(self.settings)
        last = last_closed_slice(self.settings, self.now)
        closed = {self.key(number) for number in range(2000) if last is not None and self.at(number) <= last}
        landed = {start: listing.fingerprint for start, listing in landing.slices()}
        return closed == set(self.done) and all(self.done[key] == landed.get(slice_start(key), "empty") for key in closed)


@pytest.fixture
def bench(tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> StoreBench:
    """A replayed shop in the store, with pages of ten objects."""
    monkeypatch.setattr(object_store, "PAGE", 10)
    return StoreBench(tmp_path, instance, store=empty_store(monkeypatch))


def test_a_slice_is_asked_for_once_and_again_when_an_object_comes_late_or_is_put_anew(bench: StoreBench) -> None:
    bench.land(0)
    assert bench.tick() == []
    assert "no slice is closed yet" in str(bench.skip_reason)
    bench.land(1)
    (first,) = bench.tick()
    assert (first.partition_key, first.run_key) == (bench.key(0), f"{bench.key(0)}:{bench.read(first)[bench.key(0)]}:1")
    bench.succeed(first)
    assert bench.tick() == []

    bench.land(0, text="[]\n")  # of the same size
    (repaired,) = bench.tick()
    assert repaired.partition_key == bench.key(0)
    bench.succeed(repaired)
    bench.land(0, "late.jsonl")
    (late,) = bench.tick()
    assert late.partition_key == bench.key(0)
    bench.succeed(late)
    bench.land(0, "_not yet.jsonl")
    bench.land(0, "not yet.jsonl.tmp")
    assert bench.tick() == []


def test_an_object_that_is_late_by_days_is_found_by_the_round(bench: StoreBench) -> None:
    for number in range(0, 400, 4):
        bench.land(number)
    bench.settle()
    bench.land(160, "late.jsonl")  # 2.5 days before the last one, in the third piece of the round
    asked = [names(bench.tick()) for _ in range(10)]
    assert [found for found in asked if found] == [[bench.key(160)]]
    bench.settle()
    assert bench.is_whole()
    assert max(bench.made.values()) == 1


def test_a_live_slice_without_objects_is_run_as_an_empty_one(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = StoreBench(tmp_path, instance, live=True, store=empty_store(monkeypatch))
    live.land(0)
    live.now = live.at(2) + timedelta(minutes=3)
    (request,) = live.tick()
    assert names([request]) == [(live.key(0), live.key(1))]
    assert live.read(request)[live.key(1)] == "empty"


def test_whatever_happens_around_it_every_slice_is_done_as_it_is_in_the_store(
    bench: StoreBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(2)
    monkeypatch.setattr(store_landing, "NEW_PAGES", 2)
    monkeypatch.setattr(store_landing, "OLD_PAGES", 1)
    newest = 0
    for _ in range(12):
        newest += chance.choice((0, 1, 1, 2, 30))
        for _ in range(chance.randrange(4)):
            bench.land(chance.randrange(newest + 1), f"web-{chance.randrange(3)}.jsonl", chance.choice("abcdef") * 3)
        bench.land(newest)
        bench.tick(crash=chance.choice((None, None, *CRASHES)))
        for request in bench.under_way():
            chance.choice((bench.succeed, bench.succeed, bench.fail))(request)
        bench.wait(minutes=chance.choice((1, 7, 90)))
    bench.land(0)  # the first slice of all has objects: from it on every slice is done
    bench.settle()
    for _ in range(12):  # a whole round
        bench.tick()
    bench.settle()
    assert bench.is_whole()


def test_a_lost_store_fails_the_tick_with_its_words_and_keeps_the_cursor(bench: StoreBench) -> None:
    bench.land(0)
    bench.land(1)
    bench.succeed(*bench.tick())
    bench.land(2)
    kept = bench.cursor
    assert bench.store is not None
    for endpoint, message in (
        ("http://127.0.0.1:1", "s3://acme/landing at http://127.0.0.1:1: cannot be listed: the store does not answer"),
        (bench.store.endpoint.replace("http", "https"), "the store does not answer"),
    ):
        bench.write_shop(storage_yaml(bench.store, publish=None, endpoint=endpoint))
        with pytest.raises(StoreError, match=re.escape(message)):
            bench.tick()
        assert bench.cursor == kept
    bench.write_shop(storage_yaml(bench.store, publish=None))
    assert names(bench.tick()) == [bench.key(1)]


def test_a_shop_that_moves_into_a_store_goes_on_and_runs_nothing_again_that_stayed_behind(bench: StoreBench) -> None:
    bench.write_shop(None)
    for number in range(3):
        Bench.land(bench, number)
    (request,) = bench.tick()
    bench.succeed(request, Bench.read(bench, request))
    assert bench.store is not None
    bench.write_shop(storage_yaml(bench.store, publish=None))
    bench.land(2)
    bench.land(3)
    assert names(bench.tick()) == [bench.key(2)]


def test_a_folder_is_looked_at_every_five_seconds_and_a_store_that_is_paid_for_every_fifteen(bench: StoreBench) -> None:
    # One second under a multiple of the daemon's own round of 5 seconds, so that no round is missed.
    assert interval_seconds(bench.settings.shop) == 15 - 1
    bench.write_shop(None)
    assert interval_seconds(bench.settings.shop) == 5 - 1
