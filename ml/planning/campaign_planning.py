"""All campaigns planned together: one after the other by priority, each the best plan under its limits and the shop's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.campaigns.definition import Campaign, CampaignProblem
from customer360.settings import Shop
from ml.arrays import Booleans, Floats, Integers, Texts
from ml.frames import FrameError
from ml.planning.allocation.allocate import allocate
from ml.planning.allocation.problem import Allocation, Problem
from ml.planning.allocation.programs import SolverError
from ml.planning.contact_days import ContactDays
from ml.planning.eligibility import Answers, Contacts, eligibility
from ml.planning.holdout import in_holdout
from ml.planning.inputs import COMMITMENTS, PlanningInputs
from ml.planning.options import Options, make_options, option_costs
from ml.planning.plan_rows import CAMPAIGN_PLAN_COLUMNS, NOBODY, Decided, plan_rows
from ml.planning.predictions import Predict
from ml.planning.reasons import BELOW_ZERO, BUDGET, CONTACT, NO_CAPACITY


@dataclass(frozen=True)
class Limits:
    """What a campaign's plan could use, by channel x day and in money (inf: no limit), what it uses, and what more would bring.

    ``price``: value of one more contact by channel x day; ``budget_price``: of one more unit of money.
    """

    capacity: Floats
    used: Integers
    price: Floats
    budget: float
    spent: float
    budget_price: float


@dataclass(frozen=True)
class CampaignPlan:
    """One campaign's draft of a ``day``: its rows of ``campaign_plan``, and how they were found.

    ``gap``: how much more the best plan could bring at most, as a share; ``method`` "exact" or "prices" (Lagrangian).
    """

    campaign: Campaign
    day: date
    rows: pd.DataFrame
    limits: Limits
    gap: float
    method: str
    relative_error: float | None


@dataclass(frozen=True)
class Planning:
    """Every campaign's draft in the order of planning, and why others have none."""

    plans: list[CampaignPlan]
    problems: list[CampaignProblem] = field(default_factory=list)

    @property
    def rows(self) -> pd.DataFrame:
        """``campaign_plan`` of all campaigns; typed also without any."""
        empty = pd.DataFrame(columns=list(CAMPAIGN_PLAN_COLUMNS)).astype(CAMPAIGN_PLAN_COLUMNS)
        return pd.concat([plan.rows for plan in self.plans], ignore_index=True) if self.plans else empty


def plan_campaigns(
    campaigns: Sequence[Campaign],
    inputs: PlanningInputs,
    audiences: Mapping[str, pd.Index[str]],
    predict: Predict,
    shop: Shop,
) -> Planning:
    """Plan every campaign that has an audience (by campaign_id). One whose plan fails is a problem; the others go on.

    Raises ``FrameError`` where the inputs themselves lack something.
    """
    inputs.check()
    plans: list[CampaignPlan] = []
    problems: list[CampaignProblem] = []
    planned = inputs.commitments.head(0)[COMMITMENTS]
    for campaign in sorted(campaigns, key=lambda campaign: (campaign.priority, campaign.campaign_id)):
        if campaign.campaign_id not in audiences:
            continue
        try:
            plan = plan_campaign(campaign, inputs, planned, audiences[campaign.campaign_id], predict=predict, shop=shop)
        except (FrameError, SolverError) as error:
            file = f"{campaign.campaign_id}.yaml"
            problems.append(CampaignProblem(file, "(plan)", str(error), "the other campaigns were planned"))
            continue
        plans.append(plan)
        contacts = plan.rows.loc[plan.rows["decision"] == CONTACT, COMMITMENTS]
        planned = pd.concat([planned, contacts], ignore_index=True) if len(planned) else contacts
    return Planning(plans, problems)


def plan_campaign(
    campaign: Campaign,
    inputs: PlanningInputs,
    planned: pd.DataFrame,
    audience: pd.Index[str],
    *,
    predict: Predict,
    shop: Shop,
) -> CampaignPlan:
    """One campaign's draft, beside what is committed and what campaigns of higher priority have ``planned``."""
    known = inputs.customers[inputs.customers["customer_id"].isin(audience)]
    customers = known.sort_values("customer_id", ignore_index=True)
    ids = pd.Index(customers["customer_id"], dtype="str")
    days = ContactDays.of(campaign, shop, inputs.as_of.astimezone(shop.zone).date())
    found = eligibility(
        Answers.of(inputs.consents, inputs.suppressions, ids, shop),
        committed=Contacts.of(inputs.commitments, ids, campaign, shop, days.plan_date),
        planned=Contacts.of(planned, ids, campaign, shop, days.plan_date),
        days=days,
        campaign=campaign,
        shop=shop,
    )
    # Only those who may be contacted at all are predicted and compete.
    able = np.flatnonzero(found.reason == None)  # noqa: E711  elementwise
    predicted = predict(campaign, ids[able])
    predicted.check(len(able), shop)
    options = make_options(predicted, found.allowed[able], days, campaign, shop, ids=ids[able], salt=inputs.salt)
    holdout = _holdouts(ids[able], campaign, inputs.salt, shop)
    problem = _problem(options, holdout, campaign, inputs, planned, days=days, shop=shop)
    allocation = allocate(problem)
    decided = _decided(options, holdout, problem, allocation)
    rows = plan_rows(
        customers, *_spread(len(ids), able, decided, options, found.reason), predicted, days=days, campaign=campaign, shop=shop
    )
    used, units = problem.used(allocation.chosen)
    limits = Limits(
        capacity=problem.capacity,
        used=used,
        price=allocation.prices.capacity,
        budget=problem.budget,
        spent=units * problem.unit,
        budget_price=allocation.prices.budget / problem.unit,
    )
    return CampaignPlan(campaign, days.plan_date, rows, limits, allocation.gap, allocation.method, predicted.relative_error)


def _holdouts(ids: pd.Index[str], campaign: Campaign, salt: str, shop: Shop) -> Texts:
    """Who holds each customer out: "global", "campaign" or None. It depends on salt, campaign and id alone."""
    of_all = in_holdout(ids, salt, shop.campaigns.global_holdout_share)
    own = in_holdout(ids, f"{salt}:{campaign.campaign_id}", campaign.holdout_share)
    holdout: Texts = np.full(len(ids), None, dtype=object)
    holdout[own] = "campaign"
    holdout[of_all] = "global"  # also of those of both: it outlasts the campaign
    return holdout


def _problem(
    options: Options,
    holdout: Texts,
    campaign: Campaign,
    inputs: PlanningInputs,
    planned: pd.DataFrame,
    *,
    days: ContactDays,
    shop: Shop,
) -> Problem:
    """The customers who may be contacted compete for what is left; those held out take nothing."""
    others = inputs.commitments
    own = others[others["campaign_id"] == campaign.campaign_id]
    shared: dict[str, int | None] = dict(shop.campaigns.capacity_per_day)
    limits = {name: channel.capacity_per_day for name, channel in campaign.channels.items()}
    everybody = pd.concat([others[COMMITMENTS], planned], ignore_index=True) if len(planned) else others
    capacity = np.minimum(_left(limits, own, days, shop), _left(shared, everybody, days, shop))
    value = np.where((holdout == None)[:, None], options.value, -np.inf)  # noqa: E711  elementwise
    spent = float(own["cost"].astype("float64").sum())
    budget = np.inf if campaign.budget is None else max(campaign.budget - spent, 0.0)
    return Problem(value=value, cost=option_costs(campaign, shop), capacity=capacity, budget=budget)


def _left(limits: dict[str, int | None], used: pd.DataFrame, days: ContactDays, shop: Shop) -> Floats:
    """Contacts that are left by channel x day; inf without a limit."""
    counts = used.groupby(["channel", pd.to_datetime(used["contact_date"]).dt.date]).size().to_dict()
    left = []
    for channel in shop.channels:
        limit = limits.get(channel)
        left += [np.inf if limit is None else max(limit - counts.get((channel, day), 0), 0) for day in days.days]
    return np.array(left, dtype=np.float64)


def _decided(options: Options, holdout: Texts, problem: Problem, allocation: Allocation) -> Decided:
    """The allocation's choices, those of the customers held out by the same prices, and why the others have none."""
    charge = allocation.prices.charge(problem)
    option = allocation.chosen.copy()
    is_held: Booleans = holdout != None  # noqa: E711  elementwise
    if is_held.any():
        reduced = options.value[is_held] - charge
        best = reduced.argmax(axis=1)
        option[is_held] = np.where(reduced[np.arange(len(best)), best] > 0, best, NOBODY)
    is_worth = options.value > 0
    used, _ = problem.used(allocation.chosen)
    is_free = used < problem.capacity
    reason = np.select(
        [option != NOBODY, ~is_worth.any(axis=1), (is_worth & is_free).any(axis=1)], ["", BELOW_ZERO, BUDGET], NO_CAPACITY
    ).astype(object)
    return Decided(option, holdout, reason)


def _spread(customers: int, able: Integers, decided: Decided, options: Options, reason: Texts) -> tuple[Decided, Options]:
    """The same for the whole audience: those who may not be contacted have no option, and their own reason."""
    option, holdout, why = np.full(customers, NOBODY), np.full(customers, None, dtype=object), reason.copy()
    option[able], holdout[able], why[able] = decided.option, decided.holdout, decided.reason

    def wide(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        whole = np.zeros((customers, *values.shape[1:]), dtype=values.dtype)
        whole[able] = values
        return whole

    every = Options(
        *(wide(one) for one in (options.value, options.daypart, options.conversion, options.gross, options.explores))
    )
    return Decided(option, holdout, why), every
