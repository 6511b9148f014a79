"""The published version that BI tools, planning and drift reports read."""

import dagster as dg

from customer360.lake.publishing.publications import linked_files, warehouse_tables
from customer360.lake.publishing.publishing import publish, remove_old_versions
from customer360.lake.slices import EPOCH
from orchestration import groups
from orchestration.owners import DATA_TEAM
from orchestration.partitions import WAREHOUSE_POOL
from orchestration.resources import Platform


@dg.asset(
    key=["publishing", "published"],
    deps=[
        ["publishing", "customer_profiles"],
        ["predictions", "customer_scores"],
        ["predictions", "customer_value"],
        ["marts", "customer_features"],
        ["marts", "customer_category_activity"],
        ["marts", "rfm_segments"],
        ["marts", "customer_product_activity"],
        ["marts", "customer_offer_activity"],
        ["marts", "product_activity"],
        ["marts", "offer_activity"],
        ["marts", "traffic"],
        ["marts", "traffic_sources"],
        ["marts", "monitoring_activity"],
        ["marts", "monitoring_customers"],
        ["marts", "realised_labels"],
    ],
    group_name=groups.PUBLISHING,
    kinds={"duckdb", "parquet"},
    owners=[DATA_TEAM],
    tags={"domain": "publishing", "personal_data": "yes"},
    pool=WAREHOUSE_POOL,
)
def published(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """All published tables as one version, swapped in by one rename: ``published/current``."""
    settings = platform.settings()
    with platform.warehouse(f"run {context.run.run_id}") as connection:
        as_of = connection.execute("select as_of from ops.clock").fetchone()
        tables = warehouse_tables(connection, settings)
        moment = as_of[0].replace(tzinfo=EPOCH.tzinfo) if as_of else None
        publication = publish(settings.place, connection, tables, moment, platform.now(), linked=linked_files(settings.place))
    remove_old_versions(settings.place, platform.now())
    rows = "\n".join(f"| {name} | {count:,} |" for name, count in publication.rows.items())
    return dg.MaterializeResult(
        metadata={
            "version": publication.version,
            "as_of": str(publication.as_of),
            "dagster/row_count": sum(publication.rows.values()),
            "tables": dg.MetadataValue.md(f"| table | rows |\n|---|---:|\n{rows}"),
            "where": dg.MetadataValue.path(settings.place.published / "current"),
        }
    )
