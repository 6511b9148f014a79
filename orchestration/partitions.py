"""Partitions: arrival slices in UTC, and shop-local days for plans and drift reports."""

from datetime import date, datetime

import dagster as dg

from customer360.lake.slices import KEY_FORMAT, slice_key
from customer360.settings import Settings, Shop


def slice_partitions(shop: Shop) -> dg.TimeWindowPartitionsDefinition:
    """The slices of a shop; keys are their starts in UTC. The first one, just before ``slices_start``, stands for the history.

    A run of partitioned and unpartitioned models needs a partition, also where it loads the history: it ends with that slice.
    """
    return dg.TimeWindowPartitionsDefinition(
        start=slice_key(shop.slices_start - shop.slice_width),
        end=shop.slices_end.strftime(KEY_FORMAT) if shop.slices_end else None,
        cron_schedule=slice_cron(shop.slice_minutes),
        fmt=KEY_FORMAT,
        timezone="UTC",
    )


def slice_cron(minutes: int) -> str:
    """Cron expression that fires at the start of every slice."""
    if minutes < 60:
        return f"*/{minutes} * * * *"
    return f"0 */{minutes // 60} * * *" if minutes < 1440 else "0 0 * * *"


def day_partitions(shop: Shop) -> dg.DailyPartitionsDefinition:
    """Shop-local days from the first slice's on, today included."""
    first = shop.slices_start.astimezone(shop.zone)
    return dg.DailyPartitionsDefinition(start_date=first.strftime("%Y-%m-%d"), timezone=shop.time_zone, end_offset=1)


def day_key(shop: Shop, moment: datetime) -> str:
    """The shop-local day that contains ``moment``."""
    return moment.astimezone(shop.zone).strftime("%Y-%m-%d")


def published_day(partition_key: str, shop: Shop, as_of: datetime) -> date:
    """The partition's day. Raises ``Failure`` for any other day than that of ``as_of``: what is known now is of no other."""
    today = day_key(shop, as_of)
    if partition_key != today:
        raise dg.Failure(
            f"{partition_key} is not the day of what is published ({today}): plans and drift reports are made of what "
            "is known now, and an earlier day's stays as it was decided then",
            allow_retries=False,
        )
    return as_of.astimezone(shop.zone).date()


SHOP = Settings.from_environment().shop
SLICES = slice_partitions(SHOP)
HISTORY_KEY = slice_key(SHOP.slices_start - SHOP.slice_width)
DAYS = day_partitions(SHOP)
WAREHOUSE_POOL = "warehouse"
