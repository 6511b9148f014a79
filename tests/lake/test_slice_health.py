"""Freshness and volume of the last slice, and the two asset checks on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import duckdb
import numpy as np
import pytest
import scipy.stats
import yaml

from assets.monitoring.slice_checks import last_slice_has_usual_volume, last_slice_is_fresh
from assets.raw.line_checks import line_check_results
from customer360.lake.operations.slice_health import Freshness, Volume, freshness, judge_volume, volume
from customer360.lake.publishing.publishing import publish
from customer360.lake.raw.raw_clicks import SliceCounts
from customer360.lake.slices import slice_folder
from customer360.settings import REPOSITORY, Settings, load_shop
from customer360.simulation import Simulation
from customer360.simulation.arrays import microseconds
from customer360.simulation.reactions import shop_events
from customer360.simulation.synthetic_shop import SyntheticShop
from orchestration.resources import Platform
from tests.support.random_shop import small_shop

START = datetime(2026, 5, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
NOON = datetime(2026, 5, 20, 12, tzinfo=UTC)


def shop_at(folder: Path, **changes: Any) -> Settings:
    """A small shop with a ``shop.yaml`` of its own, as the platform reads it."""
    shop = small_shop(**changes)
    (folder / "shop").mkdir()
    text = yaml.safe_dump(shop.model_dump(mode="json", by_alias=True))
    (folder / "shop" / "shop.yaml").write_text(text, encoding="utf-8")
    return Settings.load(folder / "shop", folder / "data")


@pytest.fixture
def replay(tmp_path: Path) -> Settings:
    return shop_at(tmp_path)


@pytest.fixture
def live(tmp_path: Path) -> Settings:
    """Its slices close two minutes after their end."""
    return shop_at(tmp_path, live=True)


def publish_until(settings: Settings, as_of: datetime, lines: Mapping[datetime, int | None] | None = None) -> None:
    """A published slice log with these numbers of lines."""
    with duckdb.connect() as connection:
        connection.execute("create table log (slice timestamp, lines bigint)")
        for start, count in (lines or {}).items():
            connection.execute("insert into log values (?, ?)", [start.replace(tzinfo=None), count])
        publish(settings.place, connection, {"slice_log": "from log"}, as_of, as_of)


def land(settings: Settings, start: datetime) -> None:
    folder = slice_folder(settings.place.landing / "clicks", start)
    folder.mkdir(parents=True)
    (folder / "web.jsonl").write_text("{}\n", encoding="utf-8")


def daily(counts: list[int | None], last: int | None, at: datetime = NOON) -> dict[datetime, int | None]:
    """Lines at the same time on the days before, the day before first, and of the last slice."""
    return {at: last, **{at - timedelta(days=day): count for day, count in enumerate(counts, 1)}}


def test_a_live_shop_misses_every_closed_slice_that_is_not_published(live: Settings) -> None:
    publish_until(live, START + 4 * QUARTER)
    closed = START + 7 * QUARTER
    assert freshness(live, closed + timedelta(minutes=2)) == Freshness(START + 4 * QUARTER, closed, 3)
    # A second earlier the last one is not closed yet.
    assert freshness(live, closed + timedelta(seconds=119)).missing_slices == 2
    publish_until(live, closed)
    assert freshness(live, closed + timedelta(minutes=2)) == Freshness(closed, closed, 0)


def test_before_the_first_publication_every_closed_slice_is_missing(live: Settings) -> None:
    assert freshness(live, START + timedelta(minutes=16)) == Freshness(None, None, 0)
    assert freshness(live, START + timedelta(minutes=17)) == Freshness(None, START + QUARTER, 1)
    assert freshness(live, START + timedelta(hours=5, minutes=2)).missing_slices == 20


def test_a_history_that_ends_days_before_the_first_slice_adds_no_missing_slices(live: Settings) -> None:
    history = START - timedelta(days=3)
    publish_until(live, history)
    assert freshness(live, START + timedelta(minutes=1)) == Freshness(history, None, 0)
    assert freshness(live, START + timedelta(minutes=32)) == Freshness(history, START + 2 * QUARTER, 2)


def test_a_version_newer_than_the_clock_misses_nothing(live: Settings) -> None:
    publish_until(live, START + 8 * QUARTER)
    assert freshness(live, START + 4 * QUARTER).missing_slices == 0


def test_a_replay_misses_slices_up_to_the_one_before_its_newest_files_whatever_the_wall_clock_says(replay: Settings) -> None:
    years_later = datetime(2030, 1, 1, tzinfo=UTC)
    assert freshness(replay, years_later) == Freshness(None, None, 0)
    land(replay, START)
    assert freshness(replay, years_later) == Freshness(None, None, 0)
    land(replay, START + 4 * QUARTER)
    assert freshness(replay, years_later) == Freshness(None, START + 4 * QUARTER, 4)
    publish_until(replay, START + 3 * QUARTER)
    assert freshness(replay, years_later) == Freshness(START + 3 * QUARTER, START + 4 * QUARTER, 1)
    publish_until(replay, START + 4 * QUARTER)
    assert freshness(replay, years_later).missing_slices == 0


def lines_and_verdict(found: Volume) -> tuple[int, float, int, bool]:
    return found.lines, found.usual_lines, found.days, found.is_usual


@pytest.mark.parametrize(
    ("last", "is_usual"),
    [(19, False), (20, True), (100, True), (500, True), (501, False), (0, False)],
)
def test_a_slice_of_many_lines_is_usual_from_a_fifth_to_five_times_the_median_of_the_same_time(
    replay: Settings, last: int, is_usual: bool
) -> None:
    publish_until(replay, NOON + QUARTER, daily([90, 100, 5000], last))
    assert lines_and_verdict(volume(replay)) == (last, 100.0, 3, is_usual)


@pytest.mark.parametrize("last", [0, 100_000])
def test_two_days_are_too_few_to_say(replay: Settings, last: int) -> None:
    publish_until(replay, NOON + QUARTER, daily([90, 110], last))
    assert lines_and_verdict(volume(replay)) == (last, 100.0, 2, True)


def test_only_the_same_time_on_the_last_14_days_is_compared(replay: Settings) -> None:
    same_time = daily([100] * 14 + [9_000_000] * 5, 100)
    other_times = daily([9_000_000] * 14, 9_000_000, NOON - QUARTER)
    publish_until(replay, NOON + QUARTER, same_time | other_times)
    assert lines_and_verdict(volume(replay)) == (100, 100.0, 14, True)


@pytest.mark.parametrize(("last", "is_usual"), [(0, True), (6, True), (8, True), (9, False)])
def test_where_no_lines_are_usual_a_few_are_too(replay: Settings, last: int, is_usual: bool) -> None:
    """A Poisson variable of mean 1 is 6 or more once in 1,700, and 9 or more once in 890,000."""
    publish_until(replay, NOON + QUARTER, daily([0, 0, 0], last))
    assert lines_and_verdict(volume(replay)) == (last, 0.0, 3, is_usual)


def test_a_shop_without_slices_and_a_first_slice_are_usual(replay: Settings) -> None:
    publish_until(replay, START)
    assert lines_and_verdict(volume(replay)) == (0, 0.0, 0, True)
    publish_until(replay, START + QUARTER, {START: 7})
    assert lines_and_verdict(volume(replay)) == (7, 0.0, 0, True)


def counted(counts: Sequence[int]) -> dict[datetime, int]:
    """Lines of consecutive slices of 15 minutes."""
    return {START + number * QUARTER: int(count) for number, count in enumerate(counts)}


@pytest.mark.parametrize(("mean", "missing"), [(100, 1), (13, 1), (6, 2), (4, 3), (3, 4), (1.5, 8), (0.5, 24)])
def test_an_outage_is_caught_once_12_expected_lines_are_missing(mean: float, missing: int) -> None:
    """Independent events: by then no line at all has a probability below e^-12, one in 160,000."""
    assert mean * (missing - 1) < 12 <= mean * missing
    random = np.random.default_rng(7)
    healthy = [*([round(mean)] * (96 * 15) if mean >= 1 and mean == round(mean) else random.poisson(mean, 96 * 15))]
    verdicts = [judge_volume(counted([*healthy, *[0] * silent]), QUARTER) for silent in range(1, missing + 1)]
    found = verdicts[-1]
    assert not found.is_usual
    assert all(verdict.is_usual for silent, verdict in enumerate(verdicts, 1) if mean * silent < 10)
    assert scipy.stats.poisson.cdf(found.lines, found.usual_lines) < 1 / 20_000


def test_a_slice_of_five_lines_where_26_are_usual_is_chance_where_a_visit_has_seven_lines() -> None:
    """26.5 lines are 4 visits of 6 to 7 lines; one or none comes in 9% of such quarters of an hour."""
    random = np.random.default_rng(3)
    healthy = random.poisson(26.5 / 6.6, 96 * 15) * 6.6
    found = judge_volume(counted([*healthy.round(), 5]), QUARTER)
    assert (found.is_usual, found.slices > 1) == (True, True)
    assert found.dispersion == pytest.approx(6.6, rel=0.15)
    assert scipy.stats.poisson.cdf(1, 26.5 / 6.6) == pytest.approx(0.09, abs=0.01)


def test_an_outage_and_a_peak_on_the_days_compared_do_not_hide_the_next_outage() -> None:
    random = np.random.default_rng(5)
    counts = random.poisson(50, 96 * 15)
    counts[96 * 3 : 96 * 3 + 40] = 0
    counts[96 * 6 + 7] = 90_000
    assert not judge_volume(counted([*counts, 0]), QUARTER).is_usual


SUNDAY = 6


def weekly_shop(seed: int, weeks: int, closed: int | None = SUNDAY) -> dict[datetime, int]:
    """Lines of a shop with 30 a slice in visits of 6, three times as many by evening as by morning, none on a closing day."""
    random = np.random.default_rng(seed)
    starts = [START + number * QUARTER for number in range(weeks * 7 * 96)]
    visits = [random.poisson(5 * (1 + np.sin((start.hour - 12) / 12 * np.pi) / 2)) for start in starts]
    return {start: 0 if start.weekday() == closed else 6 * int(count) for start, count in zip(starts, visits, strict=True)}


def window(lines: Mapping[datetime, int], last: datetime) -> dict[datetime, int]:
    """What ``volume`` reads up to a slice: 8 weeks and a day."""
    return {start: count for start, count in lines.items() if last - timedelta(days=57) < start <= last}


@pytest.mark.parametrize("week", [1, 2, 3, 8])
def test_a_shop_that_is_closed_on_sundays_raises_no_alarm_from_its_second_sunday_on_nor_on_the_monday_after_it(
    week: int,
) -> None:
    lines = weekly_shop(seed=week, weeks=week + 2)
    sunday = min(start for start in lines if start.weekday() == SUNDAY) + timedelta(weeks=week)
    judged = [start for start in lines if sunday <= start < sunday + timedelta(days=2)][::4]
    assert [start for start in judged if not judge_volume(window(lines, start), QUARTER).is_usual] == []


@pytest.mark.parametrize("zone", ["UTC", "Europe/Amsterdam", "America/New_York"])
@pytest.mark.parametrize("days", [3, 4, 5, 6])
def test_the_first_sunday_of_a_shop_that_is_closed_on_it_raises_no_alarm_nor_does_the_monday_after_it(
    days: int, zone: str
) -> None:
    """The log begins so many days before it."""
    sunday = datetime(2026, 5, 10, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    lines = {
        start: 0 if sunday <= start < sunday + timedelta(days=1) else count
        for start, count in weekly_shop(days, weeks=2, closed=None).items()
        if start >= sunday - timedelta(days=days)
    }
    judged = [start for start in lines if sunday <= start < sunday + timedelta(days=2)][::2]
    verdicts = {start: judge_volume(window(lines, start), QUARTER, ZoneInfo(zone)) for start in judged}
    assert [start for start, verdict in verdicts.items() if not verdict.is_usual] == []


def test_a_history_that_holds_no_sunday_at_all_tells_that_the_shop_is_closed_on_it() -> None:
    lines = weekly_shop(seed=6, weeks=9)
    sunday = max(start for start in lines if start.weekday() == SUNDAY and start.hour == 0 and start.minute == 0)
    log = {start: count for start, count in lines.items() if start.weekday() != SUNDAY or start >= sunday}
    judged = [start for start in log if sunday <= start < sunday + timedelta(days=2)][::4]
    assert [start for start in judged if not judge_volume(window(log, start), QUARTER).is_usual] == []


@pytest.mark.parametrize(("hour", "hours"), [(0, 50), (1, 1), (10, 1)])
def test_an_outage_on_a_weekday_that_the_log_does_not_know_is_caught_in_an_hour_unless_it_begins_with_the_day(
    hour: int, hours: int
) -> None:
    """On a Thursday, after three days. Two days without a line could be closing days; then 8 slices show that they are none."""
    lines = {start: count for start, count in weekly_shop(seed=9, weeks=2).items() if start >= START + timedelta(days=3)}
    begin = START + timedelta(days=6, hours=hour)
    silent = {start: 0 if start >= begin else count for start, count in lines.items()}
    found = next(start for start in silent if start >= begin and not judge_volume(window(silent, start), QUARTER).is_usual)
    assert found - begin <= timedelta(hours=hours)


@pytest.mark.parametrize("week", [2, 8])
def test_an_outage_on_the_monday_after_a_closed_sunday_is_caught_within_18_visits(week: int) -> None:
    """As many as 12 expected visits, and the chance in the median of few Mondays."""
    lines = weekly_shop(seed=week, weeks=week + 2)
    monday = min(start for start in lines if start.weekday() == SUNDAY) + timedelta(weeks=week, days=1)
    silent = {start: 0 if start >= monday else count for start, count in lines.items()}
    first = next(start for start in silent if start >= monday and not judge_volume(window(silent, start), QUARTER).is_usual)
    assert (first - monday + QUARTER) / QUARTER * 5 <= 18


@pytest.mark.full
@pytest.mark.parametrize(
    ("seed", "step"), [(1, 19), *(pytest.param(seed, 1, marks=pytest.mark.exhaustive) for seed in range(1, 8))]
)
def test_thirty_days_of_a_healthy_shop_raise_no_alarm_and_an_outage_in_its_quietest_night_does(seed: int, step: int) -> None:
    """1,000 customers at their natural rhythm: 3 lines a slice by night, in visits of 6; day and night, every slice."""
    shop = load_shop(REPOSITORY / "shops" / "synthetic" / "shop.yaml")
    synthetic = SyntheticShop.build(Simulation(customers=1_000, seed=seed), shop)
    begin, quarter = microseconds(shop.slices_start), 15 * 60 * 1_000_000
    arrived = [
        shop_events(synthetic, None, begin + day * 96 * quarter, begin + (day + 5) * 96 * quarter) for day in range(0, 45, 5)
    ]
    counts = np.bincount(np.concatenate([(found.arrives_at - begin) // quarter for found in arrived]), minlength=96 * 45)
    lines = counted(counts[: 96 * 45])
    starts = list(lines)
    alarms = []
    for number in range(15 * 96, 45 * 96, step):  # 19 slices: every time of day too
        known = {start: lines[start] for start in starts[number - 15 * 96 + 1 : number + 1]}
        if not judge_volume(known, QUARTER).is_usual:
            alarms.append(starts[number])
    assert alarms == []
    outage = 40 * 96 + 4 * int(counts[: 40 * 96].reshape(40, 24, 4).sum(axis=(0, 2)).argmin())  # from the quietest hour on
    silent = {start: count if start < starts[outage] else 0 for start, count in lines.items()}
    first = next(
        n
        for n in range(96)
        if not judge_volume(dict(list(silent.items())[outage - 15 * 96 : outage + n + 1]), QUARTER).is_usual
    )
    missing = np.median([counts[outage - day * 96 : outage - day * 96 + first + 1].sum() for day in range(1, 15)])
    assert missing <= 12 * 10  # 12 independent visits of at most 10 lines


def platform(settings: Settings, monkeypatch: pytest.MonkeyPatch, now: datetime = START) -> Platform:
    """The platform of these settings whose clock stands at ``now``."""
    monkeypatch.setattr(Platform, "now", lambda _: now)
    return Platform(shop_folder=str(settings.shop_folder), data_dir=str(settings.place.root))


def metadata(result: dg.AssetCheckResult) -> dict[str, Any]:
    return {name: value.value for name, value in result.metadata.items()}


@pytest.mark.parametrize(
    ("missing", "passed", "severity"),
    [
        (0, True, dg.AssetCheckSeverity.WARN),
        (1, False, dg.AssetCheckSeverity.WARN),
        (4, False, dg.AssetCheckSeverity.WARN),
        (5, False, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_the_check_warns_from_the_first_missing_slice_and_fails_from_the_fifth(
    live: Settings, monkeypatch: pytest.MonkeyPatch, missing: int, passed: bool, severity: dg.AssetCheckSeverity
) -> None:
    until = START + 8 * QUARTER
    publish_until(live, until - missing * QUARTER)
    result = last_slice_is_fresh(platform=platform(live, monkeypatch, until + timedelta(minutes=2)))
    assert isinstance(result, dg.AssetCheckResult)
    assert (result.passed, result.severity if not passed else severity) == (passed, severity)
    assert metadata(result) == {
        "published_until": str(until - missing * QUARTER),
        "closed_until": "2026-05-01 02:00:00+00:00",
        "missing_slices": missing,
    }


def test_the_check_of_a_place_without_data_passes(live: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    result = last_slice_is_fresh(platform=platform(live, monkeypatch))
    assert isinstance(result, dg.AssetCheckResult)
    assert result.passed
    assert metadata(result)["published_until"] == "None"


@pytest.mark.parametrize(
    ("lines", "bad", "share", "passed"),
    [(0, 0, "none: no line was read", True), (40, 2, 0.05, True), (40, 3, 0.075, False)],
)
def test_without_lines_there_is_no_share_of_quarantined_ones(lines: int, bad: int, share: float | str, passed: bool) -> None:
    counts = SliceCounts(files=1, lines=lines, good=lines - bad, quarantined=bad, duplicates=0)
    _, quarantined = line_check_results(counts, dg.AssetKey(["raw", "clicks"]))
    assert (quarantined.metadata["share"].value, quarantined.passed) == (share, passed)


def test_with_too_few_days_the_check_of_volume_names_no_usual_number(replay: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_until(replay, NOON + QUARTER, daily([100, 100], 5))
    result = last_slice_has_usual_volume(platform=platform(replay, monkeypatch))
    assert isinstance(result, dg.AssetCheckResult)
    found = metadata(result)
    assert (result.passed, found["lines"], found["compared_days"]) == (True, 5, 2)
    assert {found[name] for name in ("usual_lines", "dispersion", "surprise")} == {"none: 3 days are needed"}


@pytest.mark.parametrize(("last", "passed"), [(100, True), (19, False), (501, False)])
def test_the_check_of_volume_warns_and_never_fails_a_run(
    replay: Settings, monkeypatch: pytest.MonkeyPatch, last: int, passed: bool
) -> None:
    publish_until(replay, NOON + QUARTER, daily([100, 100, 100], last))
    result = last_slice_has_usual_volume(platform=platform(replay, monkeypatch))
    assert isinstance(result, dg.AssetCheckResult)
    assert (result.passed, result.severity) == (passed, dg.AssetCheckSeverity.WARN)
    assert {"lines": last, "usual_lines": 100.0, "slices": 1, "compared_days": 3, "dispersion": 1.0}.items() <= metadata(
        result
    ).items()
