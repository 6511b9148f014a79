"""Partitions: arrival slices in UTC, and shop-local days for plans and drift reports.

Those of a live shop end with the wall clock. Those of a replay end with its data where the UI shows them: ``customer360 serve``
names their end to the code server (``END_VARIABLE``) and replaces it when the data have passed that. Runs need no end.
"""

import os
from datetime import date, datetime, timedelta

import dagster as dg

from customer360.lake.slices import KEY_FORMAT, slice_key
from customer360.settings import Settings, Shop
from orchestration.runtime.code_files import END_VARIABLE


def slice_partitions(shop: Shop, end: datetime | None = None) -> dg.TimeWindowPartitionsDefinition:
    """The slices of a shop until ``end``; keys are their starts in UTC. The first, before ``slices_start``, is the history.

    A run of partitioned and unpartitioned models needs a partition, also where it loads the history: it ends with that slice.
    """
    end = shop.slices_end or end
    return dg.TimeWindowPartitionsDefinition(
        start=slice_key(shop.slices_start - shop.slice_width),
        end=end.strftime(KEY_FORMAT) if end else None,
        cron_schedule=slice_cron(shop.slice_minutes),
        fmt=KEY_FORMAT,
        timezone="UTC",
    )


def slice_cron(minutes: int) -> str:
    """Cron expression that fires at the start of every slice."""
    if minutes < 60:
        return f"*/{minutes} * * * *"
    return f"0 */{minutes // 60} * * *" if minutes < 1440 else "0 0 * * *"


def day_partitions(shop: Shop, end: datetime | None = None) -> dg.DailyPartitionsDefinition:
    """Shop-local days from the first slice's to that of ``end``, or today, included."""
    return dg.DailyPartitionsDefinition(
        start_date=day_key(shop, shop.slices_start),
        end_date=day_key(shop, end + timedelta(days=1)) if end else None,
        timezone=shop.time_zone,
        end_offset=1,
    )


def every_slice(shop: Shop) -> dg.FreshnessPolicy | None:
    """Warns when nothing was published for 2 slices, fails from the fifth on; None for a replay, which may stand still.

    A repair of an old slice counts as fresh here: the check ``last_slice_is_fresh`` looks at the slice itself.
    """
    if not shop.live:
        return None
    return dg.FreshnessPolicy.time_window(
        fail_window=5 * shop.slice_width + shop.grace, warn_window=2 * shop.slice_width + shop.grace
    )


def day_key(shop: Shop, moment: datetime) -> str:
    """The shop-local day that contains ``moment``."""
    return moment.astimezone(shop.zone).strftime("%Y-%m-%d")


def newest_slice(as_of: datetime) -> str:
    """The partition that ends at ``as_of``; a history may end long before the first slice, and is the one before that."""
    return slice_key(max(as_of, SHOP.slices_start) - SHOP.slice_width)


def published_day(partition_key: str, shop: Shop, as_of: datetime) -> date:
    """The partition's day. Raises ``Failure`` for another day than that of ``as_of``: only its data are published."""
    today = day_key(shop, as_of)
    if partition_key != today:
        raise dg.Failure(
            f"{partition_key} is not the day of what is published ({today}): plans and drift reports are made of what "
            "is known now, and an earlier day's stays as it was decided then",
            allow_retries=False,
        )
    return as_of.astimezone(shop.zone).date()


SHOP = Settings.from_environment().shop
END = datetime.fromisoformat(os.environ[END_VARIABLE]) if os.environ.get(END_VARIABLE) else None
SLICES = slice_partitions(SHOP, END)
HISTORY_KEY = slice_key(SHOP.slices_start - SHOP.slice_width)
DAYS = day_partitions(SHOP, END)
WAREHOUSE_POOL = "warehouse"
