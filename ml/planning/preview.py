"""One campaign planned again without saving anything, for the question what another budget or capacity would bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.snapshot import Snapshot
from ml.planning.briefs import briefs
from ml.planning.campaign_planning import CampaignPlan, plan_campaigns
from ml.planning.inputs import audiences_of, unrecorded_inputs
from ml.planning.serving import served_predictions


@dataclass(frozen=True)
class Preview:
    """The plan that would be made now, and its row of ``campaign_briefs``."""

    plan: CampaignPlan
    brief: pd.Series[Any]


def preview(snapshot: Snapshot, campaign: Campaign, campaigns: Sequence[Campaign]) -> Preview:
    """Plan a campaign after those of ``campaigns`` that come first, as the daily plan does. Nothing is written or recorded.

    Raises ``ValueError`` that says why it cannot be planned.
    """
    first = (campaign.priority, campaign.campaign_id)
    others = [each for each in campaigns if each.campaign_id != campaign.campaign_id]
    chosen = [each for each in others if (each.priority, each.campaign_id) < first]
    audiences, problems = audiences_of(snapshot, [*chosen, campaign])
    inputs = unrecorded_inputs(snapshot)
    served = served_predictions(snapshot, inputs.customers)
    planning = plan_campaigns([*chosen, campaign], inputs, audiences, served.predict, snapshot.shop)
    for problem in [*problems, *planning.problems]:
        if problem.campaign_id == campaign.campaign_id:
            raise ValueError(problem.message)
    plan = next(each for each in planning.plans if each.campaign.campaign_id == campaign.campaign_id)
    return Preview(plan, briefs([plan], served.base_rate, snapshot.shop).iloc[0])
