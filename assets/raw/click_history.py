"""Clicks from before the first slice."""

import dagster as dg

from assets.raw.clicks import check_results
from customer360.lake.categories import resolve_categories
from customer360.lake.history import write_history
from orchestration import groups
from orchestration.owners import DATA_TEAM
from orchestration.resources import Platform


@dg.asset(
    key=["raw", "click_history"],
    deps=[["raw", "products"], ["raw", "purchases"]],
    group_name=groups.RAW,
    kinds={"duckdb", "parquet"},
    owners=[DATA_TEAM],
    tags={"domain": "clicks", "personal_data": "yes"},
    check_specs=[
        dg.AssetCheckSpec(
            "lines_in_equal_lines_out",
            asset=["raw", "click_history"],
            description="Every line read is good, quarantined or a copy.",
            blocking=True,
        ),
        dg.AssetCheckSpec(
            "few_lines_quarantined",
            asset=["raw", "click_history"],
            description="Warns when more than 5% of the lines break the contract.",
        ),
    ],
)
def raw_click_history(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Clicks of ``landing/history``, cut into slices by event time, in daily files. One row per event.

    Where shop.yaml asks for the top K categories, they are chosen and frozen here.
    """
    settings = platform.settings()
    history = write_history(settings)
    categories = resolve_categories(settings)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": history.counts.good,
            "files": history.counts.files,
            "lines": history.counts.lines,
            "good": history.counts.good,
            "quarantined": history.counts.quarantined,
            "duplicates": history.counts.duplicates,
            "slices": history.slices,
            "first_slice": str(history.first),
            "last_slice": str(history.last),
            "categories": ", ".join(categories),
        },
        check_results=check_results(history.counts, dg.AssetKey(["raw", "click_history"])),
    )
