"""The response model on leads whose truth is known, and its plans under a budget, capacities and a cap beside two others.

``campaign_response`` trains the model and scores 100,000 leads. The planner is given the model's probabilities, then the
generator's posterior (the oracle), with everything else the same; beside them, greedily the best score first. All three plans
are judged by the posterior. Every contact costs 1; the budget is for 30% of the leads, a channel takes 2.5% of them a day, and
who was touched in the two weeks before a day may not be contacted on it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC

import numpy as np
import pandas as pd

from benchmarks.campaign_response import as_published, scored_leads
from benchmarks.leads import Leads
from benchmarks.measuring import write_result
from customer360.campaigns.definition import Campaign
from customer360.settings import CampaignRules, FrequencyCap, Shop
from ml.arrays import Booleans, Floats, SingleFloats
from ml.planning.campaign_planning import CampaignPlan, plan_campaigns
from ml.planning.inputs import PlanningInputs
from ml.planning.predictions import Predicted
from ml.planning.violations import violations

BUDGET_SHARE, CAPACITY_SHARE = 0.3, 0.025
VALUE, COST = 100.0, 1.0  # of a conversion and of a contact: nearly every contact is worth its cost, so the limits decide
CAP = FrequencyCap(contacts=1, days=14)


@dataclass(frozen=True)
class Setting:
    """The leads as the planner gets them, with the limits that hold for every plan of them."""

    leads: Leads
    shop: Shop
    campaign: Campaign
    inputs: PlanningInputs

    @classmethod
    def of(cls, leads: Leads) -> Setting:
        """No holdout and no exploration, and the leads' own touches as the contacts that were made."""
        count = len(leads.customers)
        rules = CampaignRules(global_holdout_share=0, minimum_gap_days=0)  # nothing of the shop's own limits
        shop = leads.shop.model_copy(update={"campaigns": rules})
        channel = {"cost": COST, "capacity_per_day": round(CAPACITY_SHARE * count)}
        campaign = Campaign.model_validate(
            {
                "campaign_id": "constrained",
                "title": "The best contacts that a budget for 30% of the leads can buy",
                "audience": "everyone",
                "value_per_conversion": VALUE,
                "budget": round(BUDGET_SHARE * count) * COST,
                "channels": dict.fromkeys(shop.channels, channel),
                "send_windows": [{"from": 0, "to": 24}],
                "frequency_caps": {"overall": CAP.model_dump()},
                "holdout_share": 0,
                "exploration_share": 0,
            }
        )
        return cls(leads, shop, campaign, _inputs(leads, shop))

    @property
    def budget(self) -> float:
        """Contacts that the budget pays."""
        return (self.campaign.budget or 0.0) / COST

    @property
    def capacity(self) -> int:
        """Contacts by channel and day."""
        return round(CAPACITY_SHARE * len(self.leads.customers))

    @property
    def days(self) -> pd.DatetimeIndex:
        """The days that a plan reaches over, as the shop has them."""
        made = pd.Timestamp(self.inputs.as_of.astimezone(self.shop.zone).date())
        return pd.date_range(made + pd.Timedelta(days=1), periods=self.shop.campaigns.days_ahead)

    def is_free(self) -> Booleans:
        """Leads x days: the cap allows a contact. Written apart from the planner: every touch lies before the plan."""
        latest = self.inputs.commitments.groupby("customer_id")["contact_date"].max()
        latest = latest.reindex(self.leads.customers["customer_id"])
        days_since = (self.days.to_numpy()[None, :] - latest.to_numpy()[:, None]) / np.timedelta64(1, "D")
        free: Booleans = np.isnan(days_since) | (days_since >= CAP.days)
        return free


def _inputs(leads: Leads, shop: Shop) -> PlanningInputs:
    ids = leads.customers["customer_id"]
    _, known_at = as_published(leads)
    local = leads.touches["touched_at"].dt.tz_convert(shop.time_zone).dt.tz_localize(None).dt.normalize()
    return PlanningInputs(
        customers=pd.DataFrame({"customer_id": ids, "segment": "leads", "time_zone": shop.time_zone}),
        consents=pd.concat(
            [pd.DataFrame({"customer_id": ids, "channel": channel, "is_allowed": True}) for channel in shop.channels],
            ignore_index=True,
        ),
        suppressions=pd.DataFrame({"customer_id": [], "channel": []}, dtype=object),
        commitments=leads.touches[["customer_id", "campaign_id", "channel"]].assign(contact_date=local, cost=0.0),
        salt="leads",
        as_of=known_at.replace(tzinfo=UTC) if known_at.tzinfo is None else known_at.astimezone(UTC),
    )


def constrained_figures(leads: Leads, conversion: SingleFloats) -> dict[str, float]:
    """The constrained half of ``campaign``, of what a model says of the leads: ``conversion`` is shaped as the posterior."""
    setting = Setting.of(leads)
    plan, planning_seconds = _plan(setting, conversion)
    oracle, _ = _plan(setting, leads.posterior.astype(np.float32))
    greedy = greedy_value(setting, conversion)
    best = true_value(setting, oracle)
    free = setting.is_free()
    return {
        "constrained_ratio": true_value(setting, plan) / best,
        "greedy_ratio": greedy / best,
        "gap": plan.gap,
        "gap_percent": 100 * plan.gap,
        "planning_seconds": planning_seconds,
        "constrained_contacts": float((plan.rows["decision"] == "contact").sum()),
        "constrained_conversion": _mean_conversion(setting, plan),
        "oracle_constrained_conversion": _mean_conversion(setting, oracle),
        "full_channel_days": float((plan.limits.used == plan.limits.capacity).sum()),
        "blocked_share": float(1 - free.any(axis=1).mean()),
        "partly_blocked_share": float((free.any(axis=1) & ~free.all(axis=1)).mean()),
    }


def _plan(setting: Setting, conversion: SingleFloats) -> tuple[CampaignPlan, float]:
    """The product's plan and the seconds that it took. Raises ``RuntimeError`` where it fails or breaks a limit."""
    ids = pd.Index(setting.leads.customers["customer_id"], dtype="str")

    def predict(_: Campaign, customer_ids: pd.Index[str]) -> Predicted:
        return Predicted(conversion[ids.get_indexer(customer_ids)], np.zeros(len(customer_ids), dtype=np.float32), None)

    started = time.perf_counter()
    planning = plan_campaigns([setting.campaign], setting.inputs, {setting.campaign.campaign_id: ids}, predict, setting.shop)
    seconds = time.perf_counter() - started
    if planning.problems:
        raise RuntimeError(f"the leads were not planned: {planning.problems[0]}")
    audiences = {setting.campaign.campaign_id: ids}
    broken = violations(planning.rows, [setting.campaign], audiences, setting.inputs, setting.shop)
    if broken:
        raise RuntimeError(f"the plan of the leads breaks a rule: {broken[0]}")
    return planning.plans[0], seconds


def _chosen(setting: Setting, plan: CampaignPlan) -> Floats:
    """The true probability of every contact of a plan."""
    rows = plan.rows[plan.rows["decision"] == "contact"]
    lead = pd.Index(setting.leads.customers["customer_id"], dtype="str").get_indexer(pd.Index(rows["customer_id"]))
    channel = rows["channel"].map(setting.shop.channels.index).to_numpy(dtype=np.int64)
    daypart = rows["daypart"].map(list(setting.shop.dayparts).index).to_numpy(dtype=np.int64)
    day = rows["day_of_week"].to_numpy(dtype=np.int64) - 1
    found: Floats = setting.leads.posterior[lead, channel, day, daypart]
    return found


def true_value(setting: Setting, plan: CampaignPlan) -> float:
    """What a plan is worth by the true probabilities, after its costs."""
    return float((VALUE * _chosen(setting, plan) - COST).sum())


def _mean_conversion(setting: Setting, plan: CampaignPlan) -> float:
    return float(_chosen(setting, plan).mean())


def greedy_value(setting: Setting, conversion: SingleFloats) -> float:
    """Best score first: every lead and combination by our score, taken while lead, capacity and budget last.

    Dayparts have no limit, so the best one of a lead's channel and day comes before its others, and stands for them.
    """
    leads, channels, _, _ = conversion.shape
    weekdays = np.asarray(setting.days.dayofweek, dtype=np.int64)
    ahead = len(weekdays)
    by_day = conversion[:, :, weekdays, :]
    daypart = by_day.argmax(axis=3)
    score = np.where(setting.is_free()[:, None, :], by_day.max(axis=3), -np.inf).reshape(-1)
    truth = np.take_along_axis(setting.leads.posterior[:, :, weekdays, :], daypart[..., None], 3).reshape(-1)
    order = np.argsort(-score, kind="stable")
    order = order[VALUE * score[order] > COST]
    left = [setting.capacity] * (channels * ahead)
    is_taken = bytearray(leads)
    taken: list[int] = []
    for place, lead, option in zip(order.tolist(), (order // len(left)).tolist(), (order % len(left)).tolist(), strict=True):
        if len(taken) >= setting.budget:
            break
        if not is_taken[lead] and left[option] > 0:
            is_taken[lead] = 1
            left[option] -= 1
            taken.append(place)
    return float((VALUE * truth[taken] - COST).sum())


def main() -> None:
    """Train and score, take the best combination of each lead, then plan them under limits."""
    scored = scored_leads()
    write_result("campaign", {**scored.figures, **constrained_figures(scored.leads, scored.conversion)})


if __name__ == "__main__":
    main()
