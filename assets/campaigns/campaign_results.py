"""What campaigns brought, against the customers who were held out."""

from typing import Any

import dagster as dg
import pandas as pd

from customer360.lake.publishing.publications import publish_files
from customer360.lake.warehouse.frames import write_parquet
from ml.effects.results import Results, published_results
from ml.markdown import table
from orchestration import groups
from orchestration.owners import MARKETING_TEAM
from orchestration.resources import Platform

RESULTS = dg.AssetKey(["campaigns", "campaign_results"])
SHOWN = [
    "campaign_id",
    "arm",
    "customers",
    "contacted",
    "converted",
    "conversion_rate",
    "revenue",
    "cost",
    "lift",
    "lift_low",
    "lift_high",
]
EARNED = "closed_campaigns_earned_their_cost"


@dg.asset(
    key=RESULTS,
    deps=[["campaigns", "campaign_ledger"], ["publishing", "published"]],
    group_name=groups.CAMPAIGNS,
    kinds={"pandas", "parquet"},
    owners=[MARKETING_TEAM],
    tags={"domain": "campaigns"},
    check_specs=[
        dg.AssetCheckSpec(
            EARNED,
            asset=RESULTS,
            description="Warns of closed campaigns that lost money beyond chance: the 95% interval of the profit ends below 0.",
        )
    ],
)
def campaign_results(platform: Platform) -> dg.MaterializeResult:
    """Contacted, converted, revenue, cost, lift with its interval and profit. One row per campaign and arm."""
    with platform.snapshot() as snapshot:
        place, found = snapshot.place, published_results(snapshot)
    write_parquet(place.campaigns / "campaign_results.parquet", found.campaigns)
    write_parquet(place.campaigns / "campaign_result_deciles.parquet", found.deciles)
    write_parquet(place.campaigns / "campaign_variant_results.parquet", found.variants)
    write_parquet(place.campaigns / "campaign_result_days.parquet", found.days)
    publish_files(place, platform.now())
    return dg.MaterializeResult(metadata=_metadata(found), check_results=[_earned(found.campaigns)])


def _metadata(found: Results) -> dict[str, Any]:
    contacted = found.campaigns[found.campaigns["arm"] == "contact"]
    known = contacted["profit"].dropna()
    verdicts = [f"- **{row.campaign_id}**: {row.verdict}" for row in contacted.itertuples()]
    return {
        "dagster/row_count": len(found.campaigns),
        "closed": int(contacted["is_closed"].sum()),
        "profit": round(float(known.sum()), 2) if len(known) else "no effect is measured yet",
        "results": dg.MetadataValue.md(table(found.campaigns[SHOWN], ("revenue", "cost"))),
        "verdicts": dg.MetadataValue.md("\n".join(verdicts) or "no plan has been approved yet"),
        "variants": dg.MetadataValue.md(table(found.variants)),
        "predicted_and_realised": dg.MetadataValue.md(table(found.deciles)),
    }


def _earned(campaigns: pd.DataFrame) -> dg.AssetCheckResult:
    lost = campaigns[
        (campaigns["arm"] == "contact") & campaigns["is_closed"] & (campaigns["profit_high"] < 0).fillna(value=False)
    ]
    return dg.AssetCheckResult(
        check_name=EARNED,
        passed=lost.empty,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"lost_money": ", ".join(lost["campaign_id"]) or "none"},
    )
