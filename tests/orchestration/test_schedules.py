"""Schedules ask for what is published, once, and at valid times of the shop's day."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from unittest import mock
from zoneinfo import ZoneInfo

import dagster as dg
import duckdb
import pytest
from dagster._utils.schedules import cron_string_iterator, is_valid_cron_schedule

from customer360.lake.publishing.publishing import publish
from customer360.settings import REPOSITORY
from orchestration import partitions, schedules
from orchestration.partitions import DAYS, SHOP, SLICES
from orchestration.resources import Platform
from orchestration.runtime.code_files import END_VARIABLE
from orchestration.schedules import SCHEDULES, daily_schedule, warehouse_schedule

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
EMPTY = dg.DagsterInstance.ephemeral()


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """The synthetic shop before its first publication."""
    return Platform(shop_folder=str(REPOSITORY / "shops" / "synthetic"), data_dir=str(tmp_path))


def published(platform: Platform, as_of: datetime | None) -> None:
    with duckdb.connect() as connection:
        publish(platform.settings().place, connection, {"a": "select 1 as n"}, as_of, datetime(2026, 5, 1, tzinfo=UTC))


def daily(platform: Platform, instance: dg.DagsterInstance | None = None) -> dg.RunRequest | dg.SkipReason:
    # An ephemeral instance has no reference that a context could be built from.
    found = mock.PropertyMock(return_value=instance or EMPTY)
    with mock.patch.object(dg.ScheduleEvaluationContext, "instance", found), dg.build_schedule_context() as context:
        asked = daily_schedule(context, platform=platform)
    assert isinstance(asked, dg.RunRequest | dg.SkipReason)
    return asked


def warehouse(platform: Platform, moment: datetime) -> dg.RunRequest | dg.SkipReason:
    with dg.build_schedule_context(scheduled_execution_time=moment) as context:
        asked = warehouse_schedule(context, platform=platform)
    assert isinstance(asked, dg.RunRequest | dg.SkipReason)
    return asked


def requested(asked: dg.RunRequest | dg.SkipReason) -> tuple[str | None, str | None]:
    assert isinstance(asked, dg.RunRequest)
    return asked.run_key, asked.partition_key


def test_before_the_first_publication_nothing_is_asked_for(platform: Platform) -> None:
    night = datetime(2026, 5, 1, 1, 45, tzinfo=UTC)
    for _ in range(2):
        for asked in (daily(platform), warehouse(platform, night)):
            assert isinstance(asked, dg.SkipReason)
            assert asked.skip_message == "nothing is published yet"
        published(platform, None)  # a version of no slice


@pytest.mark.parametrize(
    ("as_of", "day"),
    [
        (datetime(2026, 5, 1, 2, 30, tzinfo=UTC), "2026-05-01"),
        (datetime(2026, 5, 1, 21, 45, tzinfo=UTC), "2026-05-01"),
        (datetime(2026, 5, 1, 22, 0, tzinfo=UTC), "2026-05-02"),  # midnight in Amsterdam
        (datetime(2026, 4, 30, 16, 0, tzinfo=UTC), "2026-04-30"),  # the history, up to the first slice
    ],
)
def test_the_published_shop_local_day_is_planned(platform: Platform, as_of: datetime, day: str) -> None:
    published(platform, as_of)
    assert requested(daily(platform)) == (f"daily:{day}", day)
    assert DAYS.has_partition_key(day)


def test_a_day_is_planned_once_and_the_next_one_when_it_is_published(platform: Platform) -> None:
    published(platform, datetime(2026, 5, 1, 2, 30, tzinfo=UTC))
    first = requested(daily(platform))
    published(platform, datetime(2026, 5, 1, 12, tzinfo=UTC))
    assert requested(daily(platform)) == first  # a replay that stands still: the run key has been used
    published(platform, datetime(2026, 5, 2, 2, 30, tzinfo=UTC))
    assert requested(daily(platform)) == ("daily:2026-05-02", "2026-05-02")


def test_a_history_that_ends_before_the_first_day_is_not_planned(platform: Platform) -> None:
    published(platform, datetime(2026, 4, 28, 12, tzinfo=UTC))
    asked = daily(platform)
    assert isinstance(asked, dg.SkipReason)
    assert "2026-04-28" in str(asked.skip_message)


def test_a_replays_day_that_has_a_plan_is_not_planned_again(platform: Platform) -> None:
    published(platform, datetime(2026, 5, 1, 2, 30, tzinfo=UTC))
    with dg.DagsterInstance.ephemeral() as instance:
        for day in ("2026-04-30", "2026-05-01"):
            planned = dg.AssetMaterialization(schedules.PLAN, partition=day)
            assert isinstance(daily(platform, instance), dg.RunRequest)
            instance.report_runless_asset_event(planned)
        skipped = daily(platform, instance)
        assert isinstance(skipped, dg.SkipReason)
        assert skipped.skip_message == "2026-05-01, the day of what is published, has its plan"


def as_served(platform: Platform, hours: float, per_hour: float, every: int = 1) -> list[tuple[str | None, str | None]]:
    """What a replay asks for that is served for so many hours and publishes so many of its own hours in each.

    Of the ticks, a quarter of an hour each, only every so many is looked at.
    """
    asked: dict[str | None, str | None] = {}
    start = datetime(2026, 5, 1, 6, tzinfo=UTC)
    for tick in ticks(warehouse_schedule, start, start + timedelta(hours=hours))[::every]:
        published(platform, datetime(2026, 4, 30, 18, tzinfo=UTC) + (tick - start) * per_hour)
        for request in (warehouse(platform, tick), daily(platform)):
            if isinstance(request, dg.RunRequest):
                asked.setdefault(request.run_key, request.partition_key)  # Dagster drops a run key that it has seen
    return list(asked.items())


def test_at_ten_times_the_speed_each_day_of_the_shop_has_its_night_and_its_plan(platform: Platform) -> None:
    # 15 minutes are 2.5 hours of the shop, from 20:00 in Amsterdam on: its days turn by 01:00, 02:00 and 00:30.
    assert as_served(platform, hours=6, per_hour=10) == [
        ("daily:2026-04-30", "2026-04-30"),
        ("warehouse:2026-05-01", "2026-04-30-22:45"),
        ("daily:2026-05-01", "2026-05-01"),
        ("warehouse:2026-05-02", "2026-05-01-23:45"),
        ("daily:2026-05-02", "2026-05-02"),
        ("warehouse:2026-05-03", "2026-05-02-22:15"),
        ("daily:2026-05-03", "2026-05-03"),
    ]


def test_a_replay_at_the_pace_of_the_wall_clock_is_checked_once_a_day(platform: Platform) -> None:
    asked = [key for key, _ in as_served(platform, hours=30, per_hour=1, every=4)]
    assert asked == ["daily:2026-04-30", "warehouse:2026-05-01", "daily:2026-05-01", "warehouse:2026-05-02", "daily:2026-05-02"]


@pytest.mark.parametrize("as_of", [datetime(2026, 4, 30, 16, tzinfo=UTC), datetime(2026, 4, 28, 12, tzinfo=UTC)])
def test_a_published_history_is_the_partition_that_stands_for_it(platform: Platform, as_of: datetime) -> None:
    assert partitions.newest_slice(as_of) == partitions.HISTORY_KEY == "2026-04-30-15:45"
    assert SLICES.has_partition_key(partitions.HISTORY_KEY)
    published(platform, as_of)
    assert isinstance(warehouse(platform, datetime(2026, 5, 1, 1, 45, tzinfo=UTC)), dg.SkipReason)


def ticks(schedule: dg.ScheduleDefinition, first: datetime, last: datetime) -> list[datetime]:
    moments = cron_string_iterator(first.timestamp(), str(schedule.cron_schedule), schedule.execution_timezone or "UTC")
    return [moment.astimezone(AMSTERDAM) for moment in takewhile(lambda moment: moment < last, moments)]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
def test_every_cron_expression_is_valid_and_its_job_exists(schedule: dg.ScheduleDefinition) -> None:
    assert is_valid_cron_schedule(str(schedule.cron_schedule))
    assert schedule.job_name == f"{schedule.name.removesuffix('_schedule')}_job"


def test_a_day_of_a_live_shop_has_its_order(live_schedules: ModuleType) -> None:
    monday = datetime(2026, 5, 4, tzinfo=AMSTERDAM)
    once = [schedule for schedule in live_schedules.SCHEDULES if schedule.name not in {"freshness_schedule", "send_schedule"}]
    found = {
        f"{moment:%a %H:%M}": schedule.name.removesuffix("_schedule")
        for schedule in once
        for moment in ticks(schedule, monday, monday + timedelta(days=2))
    }
    assert found == {
        "Mon 02:15": "maintenance",
        "Mon 03:00": "training",
        "Mon 03:45": "warehouse",
        "Mon 04:30": "daily",
        "Tue 02:15": "maintenance",
        "Tue 03:45": "warehouse",
        "Tue 04:30": "daily",
    }


@pytest.mark.parametrize("change", [datetime(2026, 3, 29, tzinfo=AMSTERDAM), datetime(2026, 10, 25, tzinfo=AMSTERDAM)])
def test_plans_and_checks_come_once_a_day_also_when_the_clocks_change(live_schedules: ModuleType, change: datetime) -> None:
    for schedule, time in ((live_schedules.warehouse_schedule, "03:45"), (live_schedules.daily_schedule, "04:30")):
        found = ticks(schedule, change - timedelta(days=1), change + timedelta(days=2))
        assert [f"{moment:%H:%M}" for moment in found] == [time] * 3
        assert len({moment.date() for moment in found}) == 3


@pytest.fixture
def live_schedules(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module as a live shop loads it."""
    monkeypatch.setattr(partitions, "SHOP", SHOP.model_copy(update={"live": True}))
    spec = importlib.util.spec_from_file_location("live_schedules", schedules.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module


def statuses(module: ModuleType) -> dict[str, dg.DefaultScheduleStatus]:
    return {schedule.name: schedule.default_status for schedule in module.SCHEDULES}


def test_freshness_is_checked_by_the_clock_for_a_live_shop_only(live_schedules: ModuleType) -> None:
    assert not SHOP.live
    running, stopped = dg.DefaultScheduleStatus.RUNNING, dg.DefaultScheduleStatus.STOPPED
    others = dict.fromkeys(("warehouse_schedule", "daily_schedule", "training_schedule", "maintenance_schedule"), running)
    others["send_schedule"] = stopped  # nothing leaves a shop, replayed or live, before somebody switches it on
    assert statuses(schedules) == {**others, "freshness_schedule": stopped}
    assert statuses(live_schedules) == {**others, "freshness_schedule": running}


AS_SERVED = """
from orchestration.partitions import DAYS, SLICES
print(SLICES.get_last_partition_key(), DAYS.get_last_partition_key(), SLICES.get_num_partitions())
"""


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("2026-05-01T02:30:00+00:00", "2026-05-01-02:15 2026-05-01 43"),
        ("2026-05-01T22:00:00+00:00", "2026-05-01-21:45 2026-05-02 121"),  # midnight in Amsterdam: the new day is planned
        ("2026-04-30T16:00:00+00:00", "2026-04-30-15:45 2026-04-30 1"),  # the history alone
    ],
)
def test_partitions_of_a_served_replay_end_with_its_data(end: str, expected: str) -> None:
    environment = {**os.environ, "SHOP": "synthetic", END_VARIABLE: end}
    done = subprocess.run(
        [sys.executable, "-c", AS_SERVED], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == expected, done.stderr
