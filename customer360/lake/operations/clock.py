"""The shop's clock: the wall clock for a live shop, the newest landed slice for a replayed one."""

from __future__ import annotations

from datetime import datetime

from customer360.lake.landing.location import find_landing
from customer360.lake.slices import floor_to_slice
from customer360.settings import Settings


def shop_now(settings: Settings, wall_clock: datetime) -> datetime:
    """The shop's time, UTC. In a replay it is the start of the newest landed slice."""
    if settings.shop.live:
        return wall_clock
    return find_landing(settings).newest() or settings.shop.slices_start


def last_closed_slice(settings: Settings, wall_clock: datetime) -> datetime | None:
    """Start of the newest slice that is closed, or None before the first.

    A live slice closes at its end plus grace. A replayed one closes when a later slice has files, or when ``slices_end``
    lies in the past.
    """
    shop = settings.shop
    final = None if shop.slices_end is None else floor_to_slice(shop.slices_end, shop.slice_width) - shop.slice_width
    if final is not None and wall_clock >= final + shop.slice_width + shop.grace:
        newest = final
    elif shop.live:
        newest = floor_to_slice(wall_clock - shop.grace, shop.slice_width) - shop.slice_width
    else:
        newest = shop_now(settings, wall_clock) - shop.slice_width
    return newest if newest >= shop.slices_start else None
