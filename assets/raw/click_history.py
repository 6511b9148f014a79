"""Clicks from before the first slice."""

from dataclasses import asdict

import dagster as dg

from assets.raw.clicks import SEE_CHECK
from assets.raw.line_checks import line_check_results, line_check_specs
from customer360.lake.raw.history import write_history
from customer360.lake.raw.raw_clicks import RAW_COLUMNS
from customer360.lake.redaction import redacted_errors
from customer360.lake.reference.categories import resolve_categories
from orchestration import groups
from orchestration.owners import DATA_TEAM
from orchestration.resources import Platform

CLICK_HISTORY = dg.AssetKey(["raw", "click_history"])


@dg.asset(
    key=CLICK_HISTORY,
    deps=[["raw", "products"], ["raw", "purchases"]],
    group_name=groups.RAW,
    kinds={"duckdb", "parquet"},
    owners=[DATA_TEAM],
    tags=groups.tags("clicks", RAW_COLUMNS),
    check_specs=line_check_specs(CLICK_HISTORY),
)
def raw_click_history(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Clicks of ``landing/history``, cut into slices by event time, in daily files. One row per event.

    Where shop.yaml asks for the top K categories, they are chosen and frozen here.
    """
    settings = platform.settings()
    with redacted_errors(SEE_CHECK):
        history = write_history(settings)
    categories = resolve_categories(settings)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": history.counts.good,
            **asdict(history.counts),
            "slices": history.slices,
            "first_slice": str(history.first or "none: landing/history has no good line"),
            "last_slice": str(history.last or "none"),
            "categories": ", ".join(categories),
        },
        check_results=line_check_results(history.counts, CLICK_HISTORY),
    )
