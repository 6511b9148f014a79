"""Freshness and volume of the last slice, from the published slice log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from math import log
from statistics import fmean, median

import duckdb

from customer360.lake.landing.location import find_landing
from customer360.lake.operations.clock import last_closed_slice
from customer360.lake.publishing.version import current_publication, open_version
from customer360.lake.slices import slice_key, slice_start
from customer360.settings import Settings

COMPARED_DAYS = 14
FEWEST_DAYS = 3
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
    """Lines of the last ``slices`` slices beside what was usual at the same time of day on up to 14 days before.

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
    """Compare the last slices with the same time of day on up to 14 days before."""
    with open_version(settings.place) as version:
        rows = version.connection.execute(
            "select slice, lines from slice_log "
            f"where slice > (select max(slice) from slice_log) - interval '{COMPARED_DAYS + 1} days'"
        ).fetchall()
    return judge_volume({start: lines or 0 for start, lines in rows}, settings.shop.slice_width)


def judge_volume(lines: Mapping[datetime, int], width: timedelta) -> Volume:
    """Judge the newest of ``lines`` (start of a slice -> its lines; a start that is missing counts as 0).

    Counts are a Poisson variable times their dispersion, which is learned from all times of day (quasi-Poisson; McCullagh and
    Nelder, Generalized Linear Models, 1989). Slices are added up until no line at all would be a surprise of
    ``LEAST_SURPRISE``: an outage of a shop with independent events is noticed once 12 expected lines are missing, of one whose
    visitors bring several lines each once that many visits are. Unusual is what is that surprising and beyond a fifth or five
    times the usual. The surprise is Chernoff's bound of the Poisson tail: exact where no line came.
    """
    last = max(lines, default=None)
    if last is None:
        return Volume(0, 0.0, 1, 0, 1.0, 0.0, is_usual=True)
    days = [day for day in range(1, COMPARED_DAYS + 1) if last - timedelta(days=day) in lines]
    dispersion = _dispersion(lines, last)
    totals, usual, slices = [0] * (len(days) + 1), 0.0, 0
    while slices < max(1, timedelta(days=1) // width):
        ends = [last, *(last - timedelta(days=day) for day in days)]
        totals = [total + lines.get(end - slices * width, 0) for total, end in zip(totals, ends, strict=True)]
        usual, slices = float(median(totals[1:] or [0])), slices + 1
        if len(days) < FEWEST_DAYS or usual >= LEAST_SURPRISE * dispersion:
            break
    surprise = _surprise(totals[0], usual) / dispersion
    is_near = usual / USUAL_FACTOR <= totals[0] <= max(usual, 1) * USUAL_FACTOR
    is_usual = len(days) < FEWEST_DAYS or is_near or surprise < LEAST_SURPRISE
    return Volume(totals[0], usual, slices, len(days), dispersion, surprise, is_usual)


def _dispersion(lines: Mapping[datetime, int], last: datetime) -> float:
    """Variance over mean, at least 1, without the largest 5% of deviations: of an outage or a peak on the days compared."""
    by_time: dict[time, list[int]] = defaultdict(list)
    for start, count in lines.items():
        if start < last:
            by_time[start.time()].append(count)
    medians = {moment: median(counts) for moment, counts in by_time.items()}
    ratios = sorted((count - usual) ** 2 / usual for moment, usual in medians.items() if usual > 0 for count in by_time[moment])
    kept = ratios[: int(KEPT_SHARE * len(ratios))]
    return max(1.0, fmean(kept) / KEPT_MEAN) if kept else 1.0


def _surprise(count: int, usual: float) -> float:
    expected = max(usual, 1.0)
    return expected - count + (count * log(count / expected) if count else 0.0)
