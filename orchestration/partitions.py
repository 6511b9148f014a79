"""Partitions: arrival slices in UTC, and shop-local days for plans and drift reports."""

import dagster as dg

from customer360.lake.slices import KEY_FORMAT
from customer360.settings import Settings, Shop


def slice_partitions(shop: Shop) -> dg.TimeWindowPartitionsDefinition:
    """The slices of a shop from ``slices_start`` on; keys are their starts in UTC."""
    return dg.TimeWindowPartitionsDefinition(
        start=shop.slices_start.strftime(KEY_FORMAT),
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


SHOP = Settings.from_environment().shop
SLICES = slice_partitions(SHOP)
WAREHOUSE_POOL = "warehouse"
