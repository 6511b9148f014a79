"""Is the last slice published, and is it of the usual size: questions to the published slice log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from customer360.lake.operations.clock import last_closed_slice
from customer360.lake.publishing.version import current_publication, reader
from customer360.settings import Settings

COMPARED_DAYS = 14
FEWEST_DAYS = 3
USUAL_FACTOR = 5


@dataclass(frozen=True)
class Freshness:
    """Ends of the newest published and the newest closed slice (UTC), and the slices between them."""

    as_of: datetime | None
    closed_until: datetime | None
    missing_slices: int


@dataclass(frozen=True)
class Volume:
    """Lines of the last slice, the median at the same time of day before, and whether that is usual."""

    lines: int
    usual_lines: float
    days: int
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


def volume(settings: Settings) -> Volume:
    """Compare the last slice with the same time of day on up to 14 days before, and so with the same shop-local rhythm."""
    with reader(settings.place) as connection:
        lines, usual, days = connection.execute(
            f"""
            with last as (select max(slice) as slice from slice_log),
            compared as (
                select slice_log.lines from slice_log, last
                where slice_log.slice < last.slice and slice_log.slice >= last.slice - interval '{COMPARED_DAYS} days'
                    and cast(slice_log.slice as time) = cast(last.slice as time)
            )
            select (select lines from slice_log semi join last using (slice)), (select median(lines) from compared),
                (select count(*) from compared)
            """
        ).fetchone() or (0, 0, 0)
    lines, usual = lines or 0, float(usual or 0)
    is_usual = days < FEWEST_DAYS or usual / USUAL_FACTOR <= lines <= max(usual, 1) * USUAL_FACTOR
    return Volume(lines, usual, days, is_usual)
