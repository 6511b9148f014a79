"""The published version that BI tools, planning and drift reports read."""

import json

import dagster as dg

from assets.transform.warehouse import MANIFEST
from customer360.lake.publishing.nightly_tables import NIGHTLY
from customer360.lake.publishing.publications import DECISIONS, SCORED, publish_warehouse
from customer360.lake.publishing.publishing import remove_old_versions
from customer360.lake.publishing.store_publishing import next_number
from customer360.lake.publishing.tables import MARTS, REFERENCE, descriptions, published_tables
from orchestration import groups
from orchestration.owners import DATA_TEAM
from orchestration.partitions import SHOP, WAREHOUSE_POOL, every_slice
from orchestration.resources import Platform

# Made when the code is loaded, so that a slice parses no manifest.
TABLES = published_tables(SHOP, json.loads(MANIFEST.read_text(encoding="utf-8")))
DESCRIPTIONS = descriptions(TABLES)


@dg.asset(
    key=["publishing", "published"],
    deps=[
        ["publishing", "customer_profiles"],
        *(["predictions", name] for name in SCORED),
        *(["marts", name] for name in (*MARTS, *NIGHTLY, *([DECISIONS] if SHOP.serving else []))),
        *(["raw", name] for name in REFERENCE),
    ],
    group_name=groups.PUBLISHING,
    kinds={"duckdb", "parquet"},
    owners=[DATA_TEAM],
    tags=groups.tags("publishing", *(table.columns for table in TABLES.values())),
    pool=WAREHOUSE_POOL,
    freshness_policy=every_slice(SHOP),
)
def published(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """All published tables as one version, swapped in by one rename: ``published/current``."""
    settings = platform.settings()
    least = next_number(settings)
    with platform.warehouse(f"run {context.run.run_id}") as connection:
        publication = publish_warehouse(connection, settings, platform.now(), DESCRIPTIONS, least)
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
