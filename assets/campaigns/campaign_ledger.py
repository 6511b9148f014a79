"""The campaign ledger: outcomes of what was sent are added to it once a day."""

import dagster as dg

from customer360.campaigns.attribution import record_outcomes
from customer360.campaigns.ledger import read_ledger
from customer360.lake.publishing.publications import publish_files
from customer360.lake.publishing.tables import TABLES
from ml.markdown import table
from orchestration import groups
from orchestration.owners import MARKETING_TEAM
from orchestration.resources import Platform


@dg.asset(
    key=["campaigns", "campaign_ledger"],
    deps=[["publishing", "published"], ["marts", "customer_orders"], ["marts", "campaign_activity"]],
    group_name=groups.CAMPAIGNS,
    kinds={"parquet"},
    owners=[MARKETING_TEAM],
    tags=groups.tags("campaigns", TABLES["campaign_ledger"].columns),
)
def campaign_ledger(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """What was planned, approved and sent, and what came of it. One row per fact, added and never changed."""
    with platform.snapshot() as snapshot:
        place, by = snapshot.place, f"run {context.run.run_id}"
        added = record_outcomes(place, snapshot.shop, snapshot.connection, platform.now(), by)
    publish_files(place, platform.now())
    ledger = read_ledger(place)
    events = ledger.groupby(["campaign_id", "event"], observed=True).size().rename("entries").reset_index()
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(ledger),
            "added": sum(added.values()),
            **{f"added_{event}": count for event, count in added.items()},
            "entries": dg.MetadataValue.md(table(events)),
        }
    )
