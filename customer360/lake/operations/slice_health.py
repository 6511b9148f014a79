"""Freshness and volume of the last slice, from the published slice log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from math import log
from statistics import fmean, median

import duckdb

from customer360.lake.landing.location import find_landing
from customer360.lake.operations.clock import last_closed_slice
from customer360.lake.publishing.version import current_publication, open_version
from customer360.lake.slices import slice_key, slice_start
from customer360.settings import Settings

COMPARED_DAYS, COMPARED_WEEKS = 14, 8
FEWEST_DAYS = 3
UNLIKE_FACTOR = 2
LONGEST_CLOSING_DAYS = 2
USUAL_FACTOR = 5
LEAST_SURPRISE = 11.0  # of healthy slices one in e^11 = 60,000 is more surprising: one in 624 days of quarters of an hour
KEPT_SHARE, KEPT_MEAN = 0.95, 0.759  # the mean of a chi-square variable of one degree of freedom below its 95% quantile


@dataclass(frozen=True)
class Freshness:
    """Ends of the newest published and the newest closed slice (UTC), and the slices between them."""

    as_of: datetime | None
    closed_until: datetime | None
    missing_slices: int


@dataclass(frozen=True)
class Volume:
    """Lines of the last ``slices`` slices beside what was usual at the same time on ``days`` earlier days.

    The days are the last 14, or where those make the slices look unusual, the same weekday of the last 8 weeks.
    ``slices`` is 1 where one slice can tell an outage from chance, else as many as are needed, a day at most.
    ``dispersion`` is the variance of lines over their mean, 1 for independent events: visitors bring several lines each.
    ``surprise`` is minus the logarithm of the probability of such a deviation in a healthy shop (an upper bound).
    """

    lines: int
    usual_lines: float
    slices: int
    days: int
    dispersion: float
    surprise: float
    is_usual: bool


def freshness(settings: Settings, now: datetime) -> Freshness:
    """How many closed slices are not published yet."""
    publication = current_publication(settings.place)
    as_of = publication.as_of if publication else None
    closed = last_closed_slice(settings, now)
    if closed is None:
        return Freshness(as_of, None, 0)
    closed_until = closed + settings.shop.slice_width
    start = settings.shop.slices_start
    behind = closed_until - max(as_of or start, start)  # a history may end long before the first slice
    return Freshness(as_of, closed_until, max(0, behind // settings.shop.slice_width))


def done_slices(settings: Settings) -> dict[str, str]:
    """Raw fingerprint by slice key of every slice that the published version holds."""
    try:
        with open_version(settings.place) as version:
            rows = version.connection.execute(
                "select slice, raw_fingerprint from slice_log where source = 'clicks' and is_transformed"
            ).fetchall()
    except (FileNotFoundError, duckdb.CatalogException):
        return {}
    return {slice_key(start.replace(tzinfo=UTC)): fingerprint for start, fingerprint in rows}


def is_published(settings: Settings, key: str) -> bool:
    """Whether the slice is published with the files that it has now, whichever run has done that."""
    fingerprint = done_slices(settings).get(key)
    return fingerprint is not None and fingerprint == find_landing(settings).slice(slice_start(key)).fingerprint


def volume(settings: Settings) -> Volume:
    """Compare the last slices with the same time of day, and of the week (``judge_volume``)."""
    with open_version(settings.place) as version:
        rows = version.connection.execute(
            "select slice, lines from slice_log "
            f"where slice > (select max(slice) from slice_log) - interval '{7 * COMPARED_WEEKS + 1} days'"
        ).fetchall()
    return judge_volume(
        {start.replace(tzinfo=UTC): lines or 0 for start, lines in rows}, settings.shop.slice_width, settings.shop.zone
    )


def judge_volume(lines: Mapping[datetime, int], width: timedelta, zone: tzinfo = UTC) -> Volume:
    """Judge the newest of ``lines`` (start of a slice in UTC -> its lines; a start that is missing counts as 0).

    Slices are compared with the same time of day on the last 14 days. Where that makes them unusual and the same time of the
    week has less than half or more than twice as many lines as other days (median of the last 8 weeks), as on a weekly closing
    day and in the hours after it, they are compared with the same time of the week instead. A day without a line since it began
    in ``zone``, whose weekday had none in any earlier week, is taken for a closing day and left out, two of them in a row at
    most: an outage in a shop's first week that begins with the day is noticed two days later.

    Counts are a Poisson variable times their dispersion (quasi-Poisson; McCullagh and Nelder, Generalized Linear Models, 1989).
    That is learned from all times of day or, where it is less, of all times of the week. Slices are added up until no line at
    all would be a surprise of ``LEAST_SURPRISE``: an outage of a shop with independent events is noticed once 12 expected lines
    are missing, of one whose visitors bring several lines each once that many visits are. Unusual is what is that surprising
    and beyond a fifth or five times the usual. The surprise is Chernoff's bound of the Poisson tail: exact where no line came.
    """
    last = max(lines, default=None)
    if last is None:
        return Volume(0, 0.0, 1, 0, 1.0, 0.0, is_usual=True)
    days = [day for day in range(1, COMPARED_DAYS + 1) if last - timedelta(days=day) in lines]
    weekdays = [7 * week for week in range(1, COMPARED_WEEKS + 1) if last - timedelta(weeks=week) in lines]
    ends = [last - number * width for number in range(max(1, timedelta(days=1) // width))]
    closed = _closing_days(lines, ends, width, zone)
    ends = [start for start in ends if start.astimezone(zone).date() not in closed]
    if len(days) < FEWEST_DAYS or not ends:
        return replace(_compared(lines, days, 1.0, [last]), is_usual=True)
    dispersion = min(_dispersion(lines, last, is_weekly) for is_weekly in (False, len(weekdays) > 1))
    by_day = _compared(lines, days, dispersion, ends)
    usual = by_day.usual_lines
    on_weekday = median([_total(lines, ends[: by_day.slices], day) for day in weekdays] or [usual])
    is_like_other_days = usual / UNLIKE_FACTOR <= on_weekday <= usual * UNLIKE_FACTOR
    return by_day if by_day.is_usual or is_like_other_days else _compared(lines, weekdays, dispersion, ends)


def _closing_days(lines: Mapping[datetime, int], slices: Sequence[datetime], width: timedelta, zone: tzinfo) -> set[date]:
    """Days of ``slices`` without a line since midnight, whose weekday had none in earlier weeks, after a day with lines."""

    def counts(day: date, days_before: int = 0) -> list[int | None]:
        """Lines of the day's slices so far, None where the log does not have them."""
        begin, end = (
            datetime.combine(day + timedelta(days=number - days_before), time(), zone).astimezone(UTC) for number in (0, 1)
        )
        first, until = slices[0] - (slices[0] - begin) // width * width, min(end, slices[0] + width)
        return [lines.get(first + number * width) for number in range(-((first - until) // width))]

    def is_one(day: date) -> bool:
        so_far = counts(day)
        return (
            so_far[0] is not None
            and not any(so_far)
            and not any(any(counts(day, 7 * week)) for week in range(1, COMPARED_WEEKS + 1))
            and any(any(counts(day, before)) for before in range(1, LONGEST_CLOSING_DAYS + 1))
        )

    return {day for day in {start.astimezone(zone).date() for start in slices} if is_one(day)}


def _compared(lines: Mapping[datetime, int], days: Sequence[int], dispersion: float, slices: Sequence[datetime]) -> Volume:
    """The newest of ``slices``, as many as are needed, beside the same time ``days`` before."""
    count, usual, number = 0, 0.0, 0
    for number in range(1, len(slices) + 1):
        count = _total(lines, slices[:number], 0)
        usual = float(median([_total(lines, slices[:number], day) for day in days] or [0]))
        if usual >= LEAST_SURPRISE * dispersion:
            break
    surprise = _surprise(count, usual) / dispersion
    is_near = usual / USUAL_FACTOR <= count <= max(usual, 1) * USUAL_FACTOR
    return Volume(count, usual, number, len(days), dispersion, surprise, is_near or surprise < LEAST_SURPRISE)


def _total(lines: Mapping[datetime, int], slices: Sequence[datetime], days_before: int) -> int:
    return sum(lines.get(start - timedelta(days=days_before), 0) for start in slices)


def _dispersion(lines: Mapping[datetime, int], last: datetime, is_weekly: bool) -> float:
    """Variance over mean, at least 1, without the largest 5% of deviations: of an outage or a peak on the days compared."""
    by_time: dict[tuple[int, time], list[int]] = defaultdict(list)
    first = last - timedelta(days=7 * COMPARED_WEEKS if is_weekly else COMPARED_DAYS)
    for start, count in lines.items():
        if first <= start < last:
            by_time[start.weekday() if is_weekly else 0, start.time()].append(count)
    ratios = sorted(
        # A variance about the mean of the same 2 to 8 weeks is too small by one of them; of 14 days that is 7%.
        (count - usual) ** 2 / usual * (len(counts) / (len(counts) - 1) if is_weekly else 1.0)
        for counts in by_time.values()
        if len(counts) > 1 and (usual := median(counts)) > 0
        for count in counts
    )
    kept = ratios[: int(KEPT_SHARE * len(ratios))]
    return max(1.0, fmean(kept) / KEPT_MEAN) if kept else 1.0


def _surprise(count: int, usual: float) -> float:
    expected = max(usual, 1.0)
    return expected - count + (count * log(count / expected) if count else 0.0)
