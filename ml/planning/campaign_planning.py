"""All campaigns planned together: one after the other by priority, each the best plan under its limits and the shop's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd

from customer360.campaigns.definition import Campaign, CampaignProblem
from customer360.campaigns.holdouts import holdouts
from customer360.lake.publishing.tables import TABLES
from customer360.mail.message import Message
from customer360.settings import Shop
from ml.arrays import Booleans, Floats, Integers, Texts
from ml.frames import FrameError
from ml.planning.allocation.allocate import allocate
from ml.planning.allocation.problem import Allocation, Problem
from ml.planning.allocation.programs import SolverError
from ml.planning.contact_days import ContactDays
from ml.planning.eligibility import Contacts, Permissions, eligibility
from ml.planning.inputs import COMMITMENTS, PlanningInputs
from ml.planning.learning import learning_terms
from ml.planning.mailing import mailing, one_contact_an_address
from ml.planning.options import Options, make_options, option_costs
from ml.planning.plan_rows import NOBODY, Contents, Decisions, plan_rows
from ml.planning.predictions import Predict, Predicted
from ml.planning.reasons import ADDRESS_TAKEN, BELOW_ZERO, BUDGET, CONTACT, NO_CAPACITY


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
    ``predicted``: of the customers who may be contacted. ``message``: what its contacts by e-mail are sent.
    """

    campaign: Campaign
    day: date
    rows: pd.DataFrame
    limits: Limits
    gap: float
    method: str
    predicted: Predicted
    message: Message | None = None

    @property
    def version(self) -> str:
        """The draft's plan_version; of an empty audience, a name that nobody can approve."""
        return str(self.rows["plan_version"].iloc[0]) if len(self.rows) else f"{self.campaign.campaign_id}-{self.day}-empty"


@dataclass(frozen=True)
class Planning:
    """Every campaign's draft in the order of planning, and why others have none."""

    plans: list[CampaignPlan]
    problems: list[CampaignProblem] = field(default_factory=list)

    @property
    def rows(self) -> pd.DataFrame:
        """``campaign_plan`` of all campaigns; typed also without any."""
        empty = TABLES["campaign_plan"].empty()
        return pd.concat([plan.rows for plan in self.plans], ignore_index=True) if self.plans else empty


def plan_campaigns(
    campaigns: Sequence[Campaign],
    inputs: PlanningInputs,
    audiences: Mapping[str, pd.Index[str]],
    predict: Predict,
    shop: Shop,
    *,
    planned: pd.DataFrame | None = None,
) -> Planning:
    """Plan every campaign that has an audience (by campaign_id). One whose plan fails is a problem; the others go on.

    ``planned``: COMMITMENTS of contacts that other drafts have already. Raises ``FrameError`` where the inputs themselves lack
    something.
    """
    inputs.check()
    plans: list[CampaignPlan] = []
    problems: list[CampaignProblem] = []
    before = inputs.commitments.head(0)[COMMITMENTS] if planned is None else planned
    for campaign in sorted(campaigns, key=lambda campaign: (campaign.priority, campaign.campaign_id)):
        if campaign.campaign_id not in audiences:
            continue
        try:
            plan = plan_campaign(campaign, inputs, before, audiences[campaign.campaign_id], predict=predict, shop=shop)
        except (FrameError, SolverError) as error:
            file = f"{campaign.campaign_id}.yaml"
            problems.append(CampaignProblem(file, "(plan)", str(error), "the other campaigns were planned"))
            continue
        plans.append(plan)
        contacts = plan.rows.loc[plan.rows["decision"] == CONTACT, COMMITMENTS]
        before = pd.concat([before, contacts], ignore_index=True) if len(before) else contacts
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
    mailed = mailing(campaign, inputs.mail, inputs.commitments, ids)
    found = eligibility(
        Permissions.of(inputs.consents, inputs.suppressions, ids, shop),
        committed=Contacts.of(inputs.commitments, ids, campaign, shop, days.plan_date),
        planned=Contacts.of(planned, ids, campaign, shop, days.plan_date),
        days=days,
        campaign=campaign,
        shop=shop,
        unmailable=mailed.barred if mailed else None,
    )
    # Only customers who may be contacted at all are predicted and compete.
    places = np.flatnonzero(pd.isna(found.reason))
    predicted = predict(campaign, ids[places])
    predicted.check(len(places), shop)
    terms = learning_terms(campaign, predicted, _budget_left(campaign, inputs), shop)
    options = make_options(predicted, found.allowed[places], days, terms, shop, ids=ids[places], salt=inputs.salt)
    has_lost = np.zeros(len(places), dtype=bool)
    if mailed:
        options, has_lost = one_contact_an_address(options, mailed.keys[places], shop)
    holdout = holdouts(ids[places], terms, inputs.salt, shop)
    problem = _problem(options, holdout, campaign, inputs, planned, days=days, shop=shop)
    allocation = allocate(problem)
    decided = _decisions(options, holdout, problem, allocation, has_lost)
    decisions = decided.among(len(ids), places, found.reason)
    message = inputs.mail.message_of(campaign)
    contents = Contents(message, inputs.salt, mailed.details) if message and mailed else None
    rows = plan_rows(customers, decisions, predicted, days=days, campaign=campaign, shop=shop, contents=contents)
    used, units = problem.used(allocation.chosen)
    limits = Limits(
        capacity=problem.capacity,
        used=used,
        price=allocation.prices.capacity,
        budget=problem.budget,
        spent=units * problem.unit,
        budget_price=allocation.prices.budget / problem.unit,
    )
    return CampaignPlan(campaign, days.plan_date, rows, limits, allocation.gap, allocation.method, predicted, message)


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
    value = np.where(pd.isna(holdout)[:, None], options.value, -np.inf)
    return Problem(value=value, cost=option_costs(campaign, shop), capacity=capacity, budget=_budget_left(campaign, inputs))


def _budget_left(campaign: Campaign, inputs: PlanningInputs) -> float:
    """What is not committed of the campaign's budget; inf without one."""
    own = inputs.commitments[inputs.commitments["campaign_id"] == campaign.campaign_id]
    spent = float(own["cost"].astype("float64").sum())
    return np.inf if campaign.budget is None else max(campaign.budget - spent, 0.0)


def _left(limits: dict[str, int | None], used: pd.DataFrame, days: ContactDays, shop: Shop) -> Floats:
    """Contacts that are left by channel x day; inf without a limit."""
    counts = used.groupby(["channel", pd.to_datetime(used["contact_date"]).dt.date]).size().to_dict()
    left = []
    for channel in shop.channels:
        limit = limits.get(channel)
        left += [np.inf if limit is None else max(limit - counts.get((channel, day), 0), 0) for day in days.days]
    return np.array(left, dtype=np.float64)


def _decisions(
    options: Options, holdout: Texts, problem: Problem, allocation: Allocation, is_mailed_to_another: Booleans
) -> Decisions:
    """The allocation's choices, those of the customers held out by the same prices, and why the others have none."""
    option = allocation.chosen.copy()
    is_held = pd.notna(holdout)
    if is_held.any():
        reduced = options.value[is_held] - allocation.prices.charge(problem)
        best = reduced.argmax(axis=1)
        option[is_held] = np.where(reduced[np.arange(len(best)), best] > 0, best, NOBODY)
    is_worth = options.value > 0
    used, _ = problem.used(allocation.chosen)
    is_free = used < problem.capacity
    reason = np.select(
        [option != NOBODY, is_mailed_to_another, ~is_worth.any(axis=1), (is_worth & is_free).any(axis=1)],
        ["", ADDRESS_TAKEN, BELOW_ZERO, BUDGET],
        NO_CAPACITY,
    ).astype(object)
    row, column = np.arange(len(option)), np.maximum(option, 0)
    return Decisions(
        option=option,
        daypart=options.daypart[row, column],
        conversion=options.conversion[row, column].astype(np.float64),
        gross=options.gross[row, column].astype(np.float64),
        explores=options.explores,
        holdout=holdout,
        reason=reason,
    )
