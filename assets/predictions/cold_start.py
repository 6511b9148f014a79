"""What visitors without history are shown, by how they began."""

import dagster as dg

from customer360.lake.publishing.tables import TABLES
from ml.markdown import table
from ml.recommendations.cold_start import TABLE, refresh_cold_start
from orchestration import groups
from orchestration.owners import ML_TEAM
from orchestration.partitions import WAREHOUSE_POOL
from orchestration.resources import Platform

KEY = dg.AssetKey(["predictions", TABLE])
CHECK = "beginnings_beat_popularity"


@dg.asset(
    key=KEY,
    deps=[["intermediate", "int_visit_starts_by_slice"], ["raw", "products"], ["raw", "categories"]],
    group_name=groups.PREDICTIONS,
    kinds={"numpy", "duckdb"},
    owners=[ML_TEAM],
    tags=groups.tags("predictions", TABLES[TABLE].columns),
    pool=WAREHOUSE_POOL,
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset=KEY,
            description=(
                "Warns until products by beginning find more of what visitors saw in the last 3 days than decayed popularity "
                "does, beyond chance: that serves then."
            ),
        )
    ],
)
def cold_start(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """The 20 products that visitors most probably see next, by category, referrer and device of their first event.

    One row per beginning and product.
    """
    with platform.warehouse(f"run {context.run.run_id}") as connection:
        (as_of,) = connection.execute("select max(as_of) from ops.clock").fetchone() or (None,)
        found = refresh_cold_start(connection, as_of)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(found.rows),
            "beginnings": found.rows["entry"].nunique(),
            "serves": "products by beginning" if found.is_better else "decayed popularity",
            "reason": found.reason,
            "recall_10": found.recall if found.recall is not None else "not judged",
            "popularity_recall_10": found.popularity_recall if found.popularity_recall is not None else "not judged",
            "smoothed_with_visitors": found.strength,
            "first_rows": dg.MetadataValue.md(table(found.rows.head(10))),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=CHECK, passed=found.is_better, severity=dg.AssetCheckSeverity.WARN, description=found.reason
            )
        ],
    )
