"""Upkeep as an operation: it makes no data, so it is no asset."""

import dagster as dg

from customer360.lake.operations.retention import remove_old
from orchestration.resources import Platform


@dg.op(description="Remove what is older than its retention, and say how much.")
def remove_old_files(context: dg.OpExecutionContext, platform: Platform) -> None:
    """Landing, raw, quarantine, snapshots, published versions, dbt targets, run logs, temporary files."""
    removed = remove_old(platform.settings(), platform.now(), platform.shop_now())
    context.log.info(f"removed {removed}")
    context.add_output_metadata(dict(removed))
