"""Customer profiles."""

import dagster as dg

from customer360.lake.publishing.profiles import profiles_query
from customer360.lake.publishing.tables import TABLES
from orchestration import groups
from orchestration.owners import DATA_TEAM
from orchestration.partitions import WAREHOUSE_POOL
from orchestration.resources import Platform

RELATIONS = {
    "customer_features": "marts.customer_features",
    "customer_attributes": "marts.customer_attributes",
    "rfm_segments": "marts.rfm_segments",
    "customer_scores": "predictions.customer_scores",
    "customer_value": "predictions.customer_value",
    "customer_reasons": "predictions.customer_reasons",
    "last_activity": "intermediate.int_last_activity",
}


@dg.asset(
    key=["publishing", "customer_profiles"],
    deps=[
        ["predictions", "customer_scores"],
        ["predictions", "customer_value"],
        ["marts", "customer_features"],
        ["marts", "customer_attributes"],
        ["marts", "rfm_segments"],
        ["intermediate", "int_last_activity"],
    ],
    group_name=groups.PUBLISHING,
    kinds={"duckdb"},
    owners=[DATA_TEAM],
    tags=groups.tags("customers", TABLES["customer_profiles"].columns),
    pool=WAREHOUSE_POOL,
)
def customer_profiles(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """What a person wants to read of a customer: segment, label, probabilities, value, reasons. One row per customer.

    Publishing joins the next contact to it.
    """
    query = profiles_query(platform.settings().shop, RELATIONS)
    with platform.warehouse(f"run {context.run.run_id}") as connection:
        connection.execute(f"create or replace table publishing.customer_profiles as {query}")
        segments = connection.execute(
            "select segment, count(*), avg(monetary)::decimal(18,2) from publishing.customer_profiles "
            "group by all order by 2 desc, 1"
        ).fetchall()
    lines = "\n".join(f"| {segment} | {customers:,} | {spend} |" for segment, customers, spend in segments)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(customers for _, customers, _ in segments),
            "segments": dg.MetadataValue.md(f"| segment | customers | mean spend |\n|---|---:|---:|\n{lines}"),
        }
    )
