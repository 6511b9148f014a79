"""Clocks that are wrong by two hours, at producers and here, and the two days a year on which the local clock jumps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import duckdb
import pytest

from customer360.lake.operations.clock import last_closed_slice
from customer360.lake.slices import floor_to_slice, folder_start, slice_folder, slice_key, slice_start
from customer360.settings import REPOSITORY, Settings
from orchestration.partitions import day_key, day_partitions, slice_partitions
from tests.safety.bad_files import as_csv, as_jsonl, as_parquet, clicks
from tests.safety.slices import NOON, land, run_slice
from tests.sensors.conftest import Bench
from tests.support.random_shop import small_shop

SKEW = timedelta(hours=2)
SLICE = timedelta(minutes=15)
SPRING, AUTUMN = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)
AMSTERDAM = ZoneInfo("Europe/Amsterdam")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Bench]:
    """A live shop's sensor, with slices of 15 minutes."""
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield Bench(tmp_path, instance, live=True)


# ---- the clocks of producers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [as_jsonl, as_csv, as_parquet])
def test_events_two_hours_ahead_are_set_aside_with_the_reason_and_those_two_hours_behind_are_late_events(
    settings: Settings, write: object
) -> None:
    assert callable(write)
    suffix = {as_jsonl: "jsonl", as_csv: "csv", as_parquet: "parquet"}[write]  # type: ignore[index]
    moments = {"ahead": SKEW, "behind": -SKEW, "an hour after the end": timedelta(hours=1, minutes=15)}
    for name, skew in moments.items():
        lines = [{**line, "event_at": (NOON + skew).isoformat()} for line in clicks(f"{name} {suffix}", 3)]
        land(settings, {f"{name}.{suffix}": write(lines)})
    outcome = run_slice(settings)
    assert (outcome.counts.good, outcome.counts.quarantined) == (6, 3)
    assert {row["source_file"] for row in outcome.good} == {f"behind.{suffix}", f"an hour after the end.{suffix}"}
    assert {row["event_at"] for row in outcome.good} == {datetime(2026, 5, 1, 10), datetime(2026, 5, 1, 13, 15)}  # noqa: DTZ001
    for row in outcome.bad:
        assert (row["source_file"], row["column_name"]) == (f"ahead.{suffix}", "event_at")
        assert row["reason"].endswith(" is more than 1 hour after the end of its slice")


def test_a_file_in_a_folder_of_two_hours_ahead_waits_for_its_slice_and_one_of_two_hours_behind_is_a_repair(live: Bench) -> None:
    for number in range(9):
        live.land(number)
    live.now = live.at(9) + timedelta(minutes=3)
    (request,) = live.tick()
    live.succeed(request)
    live.land(17, name="ahead.jsonl")
    live.land(1, name="behind.jsonl")
    asked = [key for request in live.tick() for key in live.slices(request)]
    assert asked == [live.key(1)]
    live.settle()
    live.now = live.at(18) + timedelta(minutes=1)
    assert live.key(17) not in [key for request in live.tick() for key in live.slices(request)]
    live.settle()
    live.now = live.at(18) + timedelta(minutes=2)
    assert live.key(17) in [key for request in live.tick() for key in live.slices(request)]
    live.settle()
    assert live.is_whole()


# ---- the clock of this machine ---------------------------------------------------------------------------------------


def test_no_slice_of_the_future_is_closed_by_a_clock_that_is_right_or_slow(live: Bench) -> None:
    settings = live.settings
    for skew in (timedelta(0), -SKEW):
        for minutes in range(0, 24 * 60, 7):
            moment = live.at(0) + timedelta(minutes=minutes)
            closed = last_closed_slice(settings, moment + skew)
            assert closed is None or closed + SLICE + settings.shop.grace <= moment


@pytest.mark.parametrize("skew", [SKEW, -SKEW], ids=["ahead", "behind"])
def test_a_clock_that_was_wrong_for_a_while_costs_repairs_or_delay_but_no_event(live: Bench, skew: timedelta) -> None:
    """Files land by the true time; the sensor has the wrong time, and then the right one."""
    for number in range(14):
        live.now = live.at(number) + timedelta(minutes=4)
        live.land(number)
        if 4 <= number < 6:
            live.now += skew
        for request in live.tick():
            live.succeed(request)
    live.now = live.at(14) + timedelta(minutes=4)
    live.settle()
    assert live.is_whole()
    assert {live.key(number) for number in range(14)} <= live.done.keys()


def test_a_failed_slice_is_not_kept_waiting_by_a_clock_that_is_set_back(live: Bench) -> None:
    live.land(0)
    live.now = live.at(1) + timedelta(minutes=3) + SKEW
    failed = [request for request in live.tick() if live.key(0) in live.slices(request)]
    live.fail(failed[0])
    live.now -= SKEW
    again = [key for request in live.tick() for key in live.slices(request)]
    assert live.key(0) in again


# ---- the days on which the local clock jumps -------------------------------------------------------------------------


@pytest.mark.parametrize("day", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_a_utc_day_has_96_slices_on_clock_change_days_too(day: datetime) -> None:
    shop = small_shop(slices_start=day - timedelta(days=1))
    starts = [day + n * SLICE for n in range(96)]
    keys = [
        key
        for key in slice_partitions(shop).get_partition_keys(current_time=day + timedelta(days=2))
        if key[:10] == f"{day:%Y-%m-%d}"
    ]
    assert keys == [slice_key(start) for start in starts]
    assert [slice_start(key) for key in keys] == starts
    minutes = [day + timedelta(minutes=n) for n in range(24 * 60)]
    assert {floor_to_slice(minute.astimezone(AMSTERDAM), SLICE) for minute in minutes} == set(starts)
    folders = [slice_folder(Path(), start.astimezone(AMSTERDAM)).as_posix() for start in starts]
    assert [folder_start(folder) for folder in folders] == starts
    assert len(set(folders)) == 96


@pytest.mark.parametrize("day", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_every_slice_of_a_clock_change_day_is_asked_for_once(tmp_path: Path, day: datetime) -> None:
    settings = Settings(shop=small_shop(live=True, slices_start=day), place={"root": tmp_path}, shop_folder=tmp_path)
    closed = [last_closed_slice(settings, day + timedelta(minutes=n)) for n in range(17, 24 * 60 + 17)]
    assert sorted({start for start in closed if start is not None}) == [day + n * SLICE for n in range(96)]
    assert closed == sorted(closed)  # type: ignore[type-var]


@pytest.mark.parametrize(("day", "hours"), [(SPRING, 23), (AUTUMN, 25)], ids=["spring", "autumn"])
def test_the_local_day_of_plans_and_reports_is_the_one_on_the_wall(day: datetime, hours: int) -> None:
    shop = small_shop(slices_start=day - timedelta(days=3))
    moments = [day - timedelta(days=1) + n * timedelta(minutes=15) for n in range(3 * 96)]
    keys = [day_key(shop, moment) for moment in moments]
    assert keys == [moment.astimezone(AMSTERDAM).strftime("%Y-%m-%d") for moment in moments]
    assert keys.count(f"{day:%Y-%m-%d}") == hours * 4
    days = day_partitions(shop).get_partition_keys(current_time=day + timedelta(days=2))
    assert [key for key in days if key[:7] == f"{day:%Y-%m}"][-5:] == sorted(set(days))[-5:]
    window = day_partitions(shop).time_window_for_partition_key(f"{day:%Y-%m-%d}")
    assert window.end.timestamp() - window.start.timestamp() == hours * 3600


@pytest.mark.parametrize("day", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_the_models_local_time_is_that_of_the_zone_in_every_slice(day: datetime) -> None:
    """The project's own macro, over both days around the jump: local dates, hours and so dayparts follow from it."""
    macros = (REPOSITORY / "dbt_project" / "macros" / "time.sql").read_text(encoding="utf-8")
    found = re.search(r"duckdb__local_timestamp\(timestamp_column, zone\) -%\}\s*(.*?)\s*\{%", macros, re.DOTALL)
    assert found is not None
    expression = found[1].replace("{{ zone }}", "'Europe/Amsterdam'").replace("{{ timestamp_column }}", "moment")
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        first = f"timestamp '{day - timedelta(days=1):%Y-%m-%d}'"
        rows = connection.execute(
            f"select moment, {expression} from range({first}, {first} + interval '3 days', interval '15 minutes') as t(moment)"
        ).fetchall()
    assert len(rows) == 3 * 96
    for moment, local in rows:
        assert local == moment.replace(tzinfo=UTC).astimezone(AMSTERDAM).replace(tzinfo=None)
