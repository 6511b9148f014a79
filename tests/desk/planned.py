"""Plans and results as their assets make them, of a shop of ``tests.support.audience_shop`` without a trained model."""

from __future__ import annotations

import pandas as pd

from customer360.campaigns.definition import load_shop_campaigns
from customer360.campaigns.drafts import write_definition
from customer360.lake.publishing.publications import publish_files
from customer360.lake.warehouse.frames import write_parquet
from customer360.settings import Settings
from customer360.snapshot import open_snapshot
from ml.effects.results import published_results
from ml.planning.briefs import briefs
from ml.planning.campaign_planning import plan_campaigns
from ml.planning.inputs import audiences_of, planning_inputs
from tests.support.audience_shop import predict


def plan_day(settings: Settings) -> dict[str, str]:
    """Make the drafts of the published day and publish them; the version of each by campaign."""
    place = settings.place
    with open_snapshot(settings) as snapshot:
        campaigns, problems = load_shop_campaigns(settings)
        assert problems == []
        audiences, _ = audiences_of(snapshot, campaigns)
        inputs = planning_inputs(snapshot, snapshot.as_of, "a test")
        plans = plan_campaigns(campaigns, inputs, audiences, predict, settings.shop).plans
        as_of = snapshot.as_of
    folder = place.plans / f"{as_of.astimezone(settings.shop.zone):%Y-%m-%d}"
    for each in plans:
        write_definition(folder, each.version, each.campaign, each.message)
    briefs(plans, None, settings.shop).to_parquet(folder / "campaign_briefs.parquet", index=False)
    pd.concat([each.rows for each in plans]).to_parquet(folder / "new.parquet", index=False)
    (folder / "new.parquet").replace(folder / "campaign_plan.parquet")
    publish_files(place, as_of)
    return {each.campaign.campaign_id: each.version for each in plans}


def judge(settings: Settings) -> None:
    """Make the results of all campaigns and publish them."""
    with open_snapshot(settings) as snapshot:
        found, as_of = published_results(snapshot), snapshot.as_of
    write_parquet(settings.place.campaigns / "campaign_results.parquet", found.campaigns)
    write_parquet(settings.place.campaigns / "campaign_result_deciles.parquet", found.deciles)
    write_parquet(settings.place.campaigns / "campaign_result_days.parquet", found.days)
    publish_files(settings.place, as_of)
