"""One campaign planned again without saving anything, for the question what another budget or capacity would bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.campaigns.ledger import CONTACT
from customer360.lake.publishing.tables import TABLES
from customer360.snapshot import Snapshot
from ml.planning.briefs import briefs
from ml.planning.campaign_planning import CampaignPlan, plan_campaigns
from ml.planning.inputs import COMMITMENTS, PlanningInputs, audiences_of, unrecorded_inputs
from ml.planning.predictions import Predict, Predicted
from ml.planning.serving import Served, served_predictions


@dataclass(frozen=True)
class Preview:
    """The plan that would be made now, and its row of ``campaign_briefs``."""

    plan: CampaignPlan
    brief: pd.Series[Any]


class Previews:
    """Plans of one campaign under other limits, beside the published drafts of those of ``campaigns`` that come first.

    What does not depend on its budget and capacities is read and predicted once. Nothing is written or recorded. It outlives
    the snapshot. Raises ``ValueError`` that says why the campaign cannot be planned.
    """

    def __init__(self, snapshot: Snapshot, campaign: Campaign, campaigns: Sequence[Campaign]) -> None:
        order = (campaign.priority, campaign.campaign_id)
        first = [each.campaign_id for each in campaigns if (each.priority, each.campaign_id) < order]
        self._shop = snapshot.shop
        self._audiences, problems = audiences_of(snapshot, [campaign])
        for problem in problems:
            raise ValueError(problem.message)
        inputs = unrecorded_inputs(snapshot)
        self._inputs: PlanningInputs = replace(inputs, mail=inputs.mail.asked_once())
        self._served: Served = served_predictions(snapshot, self._inputs.customers)
        self._planned = _planned(snapshot, first)
        self._predict = _once(self._served.predict)

    def of(self, campaign: Campaign) -> Preview:
        """The campaign with a budget and capacities of its own, all else as it was given. Raises ``ValueError``."""
        planning = plan_campaigns([campaign], self._inputs, self._audiences, self._predict, self._shop, planned=self._planned)
        for problem in planning.problems:
            raise ValueError(problem.message)
        (plan,) = planning.plans
        return Preview(plan, briefs([plan], self._served.base_rate, self._shop).iloc[0])


def _planned(snapshot: Snapshot, campaign_ids: Sequence[str]) -> pd.DataFrame:
    """COMMITMENTS of the contacts of these campaigns' drafts that are not approved: those are committed already."""
    drafts = "from campaign_plan where decision = $contact and list_contains($campaigns, campaign_id)"
    rows = snapshot.read(drafts, {"contact": CONTACT, "campaigns": list(campaign_ids)}, of=["campaign_plan"])
    typed = TABLES["campaign_plan"].typed(rows)
    return typed.loc[~typed["plan_version"].isin(snapshot.approved["plan_version"]), COMMITMENTS].reset_index(drop=True)


def _once(predict: Predict) -> Predict:
    """Predict the same customers once."""
    found: list[tuple[pd.Index[str], Predicted]] = []

    def again(campaign: Campaign, customer_ids: pd.Index[str]) -> Predicted:
        if not found or not found[0][0].equals(customer_ids):
            found[:] = [(customer_ids, predict(campaign, customer_ids))]
        return found[0][1]

    return again
