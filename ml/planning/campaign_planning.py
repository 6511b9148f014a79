"""All campaigns planned together: one after the other by priority, each the best plan under its limits and the shop's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from customer360.campaigns.definition import Campaign, CampaignProblem
from customer360.settings import Shop
from ml.planning.predictions import Predict

# A campaign -> the customers of its audience (``customer360.campaigns.audience.members`` on what is published).
Audience = Callable[[Campaign], "pd.Index[str]"]


@dataclass(frozen=True)
class PlanningInputs:
    """The frames that plans are made of. Timestamps are plain UTC.

    ``customers``: customer_id, segment, time_zone, one row each. ``consents``: customer_id, channel, is_allowed (empty means
    no). ``suppressions``: customer_id, channel (empty: every channel). ``commitments``: customer_id, campaign_id, channel,
    contact_date (the customer's day), cost: contacts that were made or approved, by all campaigns. ``salt``: of the holdouts,
    from the ledger. ``as_of``: UTC, what was known; plans begin on the day after it, in the shop's time zone.
    """

    customers: pd.DataFrame
    consents: pd.DataFrame
    suppressions: pd.DataFrame
    commitments: pd.DataFrame
    salt: str
    as_of: datetime


@dataclass(frozen=True)
class CampaignPlan:
    """One campaign's draft: its rows of ``campaign_plan``, and how they were found."""

    campaign: Campaign
    rows: pd.DataFrame


@dataclass(frozen=True)
class Planning:
    """Every campaign's draft in the order of planning, and why others have none."""

    plans: list[CampaignPlan]
    problems: list[CampaignProblem]

    @property
    def rows(self) -> pd.DataFrame:
        """``campaign_plan`` of all campaigns."""
        return pd.concat([plan.rows for plan in self.plans], ignore_index=True)


def plan_campaigns(
    campaigns: Sequence[Campaign], inputs: PlanningInputs, audience: Audience, predict: Predict, shop: Shop
) -> Planning:
    """Plan every campaign. One whose audience, predictions or plan fail is reported as a problem; the others go on."""
    raise NotImplementedError
