"""Upkeep as an operation: it makes no data, so it is no asset."""

import dagster as dg

from customer360.lake.operations.retention import remove_old
from orchestration.column_lineage import update_column_lineage
from orchestration.resources import Platform

LONGEST_WAIT = 1800.0


@dg.op(description="Remove what is older than its retention, and say how much.")
def remove_old_files(context: dg.OpExecutionContext, platform: Platform) -> None:
    """Landing, raw, quarantine, snapshots, published versions, dbt targets, run logs, temporary files."""
    removed = remove_old(platform.settings(), platform.now(), platform.shop_now())
    context.log.info(f"removed {removed}")
    context.add_output_metadata(dict(removed))


@dg.op(description="Find which columns each column of a dbt model is made from, where the models or the shop changed.")
def find_column_lineage(context: dg.OpExecutionContext, platform: Platform) -> None:
    """The lineage that the assets show once their definitions are loaded again."""
    for problem in update_column_lineage(platform.settings(), platform.lock(f"run {context.run_id}", LONGEST_WAIT)):
        context.log.warning(f"no column lineage of {problem}")
