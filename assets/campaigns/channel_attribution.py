"""Which channels the orders are credited to, made of the published paths, so that it blocks no slice."""

import dagster as dg

from customer360.lake.publishing.publications import publish_files
from customer360.lake.publishing.tables import TABLES
from customer360.lake.warehouse.frames import write_parquet
from ml.effects.channel_attribution import PATHS, TABLE, attribution
from ml.markdown import table
from orchestration import groups
from orchestration.owners import MARKETING_TEAM
from orchestration.resources import Platform

KEY = dg.AssetKey(["campaigns", TABLE])
SUMS = "credits_sum_to_orders"


@dg.asset(
    key=KEY,
    deps=[["marts", PATHS], ["publishing", "published"]],
    group_name=groups.CAMPAIGNS,
    kinds={"numpy", "parquet"},
    owners=[MARKETING_TEAM],
    tags=groups.tags("campaigns", TABLES[TABLE].columns),
    check_specs=[
        dg.AssetCheckSpec(
            SUMS,
            asset=KEY,
            description="In every period each model credits exactly the orders and revenue of conversion_paths.",
        )
    ],
)
def channel_attribution(platform: Platform) -> dg.MaterializeResult:
    """Orders and revenue credited to channels by five models, which is no effect. One row per period, model and channel."""
    with platform.snapshot() as snapshot:
        place, (rows, problems) = snapshot.place, attribution(snapshot)
    write_parquet(place.campaigns / f"{TABLE}.parquet", rows)
    publish_files(place, platform.now())
    newest = rows[rows["period"] != "month"].pivot_table("orders", ["utm_source", "utm_medium", "utm_campaign"], "model")
    return dg.MaterializeResult(
        metadata={"dagster/row_count": len(rows), "orders_of_the_last_days": dg.MetadataValue.md(table(newest.reset_index()))},
        check_results=[
            dg.AssetCheckResult(check_name=SUMS, passed=not problems, metadata={"unequal": "; ".join(problems) or "none"})
        ],
    )
