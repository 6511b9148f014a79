"""Does a plan keep to its rules? Counted from the rows alone, without anything of what made them.

The planner never makes such rows; the asset's checks, which block what is published, do not take its word for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.settings import FrequencyCap, Shop
from ml.planning.inputs import PlanningInputs
from ml.planning.reasons import CONTACT

EVERY_CUSTOMER_ONCE = "every_customer_once"
CONSENT = "consent_is_respected"
SEND_WINDOWS = "send_windows_are_respected"
CAPS_AND_GAPS = "caps_and_gaps_are_respected"
BUDGETS = "budgets_are_respected"
CAPACITIES = "capacities_are_respected"
RULES = {
    EVERY_CUSTOMER_ONCE: "Every customer of an audience has exactly one decision of the campaign, with a reason.",
    CONSENT: "No contact goes through a channel that the customer has not allowed, or that is suppressed.",
    SEND_WINDOWS: "Every contact lies within the campaign's dates, weekdays and hours, where the customer is.",
    CAPS_AND_GAPS: "No customer is contacted more often, or sooner after another contact, than the rules allow.",
    BUDGETS: "No campaign spends more than its budget, what was approved before included.",
    CAPACITIES: "No channel is asked for more contacts a day than it can make.",
}
_CENT = 0.005


@dataclass(frozen=True)
class Violation:
    """A rule that a plan breaks: of which campaign, and what is wrong in words (no customer's name: it reaches logs)."""

    rule: str
    campaign_id: str
    detail: str


def violations(
    plan: pd.DataFrame,
    campaigns: Sequence[Campaign],
    audiences: dict[str, pd.Index[str]],
    inputs: PlanningInputs,
    shop: Shop,
) -> list[Violation]:
    """Every rule that the rows of ``campaign_plan`` break. ``campaigns`` in the order in which they were planned."""
    contacts = plan[plan["decision"] == CONTACT]
    found = list(_not_once(plan, audiences))
    for campaign in campaigns:
        own = contacts[contacts["campaign_id"] == campaign.campaign_id]
        found += _no_consent(own, campaign, inputs)
        found += _outside_windows(own, campaign, inputs, shop)
        found += _over_budget(own, campaign, inputs)
        found += _over_capacity(own, campaign, inputs)
    found += _over_shared_capacity(contacts, inputs, shop)
    found += _too_often(contacts, campaigns, inputs, shop)
    return found


def _not_once(plan: pd.DataFrame, audiences: dict[str, pd.Index[str]]) -> Iterator[Violation]:
    for campaign_id, audience in audiences.items():
        rows = plan[plan["campaign_id"] == campaign_id]
        missing, strange = (
            len(audience.difference(pd.Index(rows["customer_id"]))),
            int((~rows["customer_id"].isin(audience)).sum()),
        )
        twice, silent = int(rows["customer_id"].duplicated().sum()), int(rows["reason"].isna().sum())
        if missing or strange or twice or silent:
            yield Violation(
                EVERY_CUSTOMER_ONCE,
                campaign_id,
                f"{missing} of the audience have no row, {strange} rows are not of it, {twice} are repeated, "
                f"{silent} say no reason",
            )


def _no_consent(contacts: pd.DataFrame, campaign: Campaign, inputs: PlanningInputs) -> Iterator[Violation]:
    answers = inputs.consents.assign(is_allowed=inputs.consents["is_allowed"].astype("boolean").fillna(value=False))
    said = answers.groupby(["customer_id", "channel"])["is_allowed"].min()
    allowed = set(said[said].index)
    barred = set(zip(inputs.suppressions["customer_id"], inputs.suppressions["channel"].fillna(""), strict=True))
    for customer, channel in zip(contacts["customer_id"], contacts["channel"], strict=True):
        if channel not in campaign.channels:
            yield Violation(CONSENT, campaign.campaign_id, f"a contact by {channel}, which the campaign does not use")
        if (customer, channel) not in allowed:
            yield Violation(CONSENT, campaign.campaign_id, f"a contact by {channel} without consent")
        if (customer, channel) in barred or (customer, "") in barred:
            yield Violation(CONSENT, campaign.campaign_id, f"a contact by {channel} of a suppressed customer")


def _outside_windows(contacts: pd.DataFrame, campaign: Campaign, inputs: PlanningInputs, shop: Shop) -> Iterator[Violation]:
    zones = dict(zip(inputs.customers["customer_id"], inputs.customers["time_zone"], strict=True))
    columns = ["customer_id", "plan_date", "contact_date", "day_of_week", "daypart", "send_at"]
    for customer, plan_date, contact_date, day_of_week, daypart, send_at in contacts[columns].itertuples(index=False):
        zone = zones.get(customer)
        local = send_at.tz_localize("UTC").tz_convert(ZoneInfo(zone if isinstance(zone, str) else shop.time_zone))
        hours = shop.dayparts[daypart]
        ahead = contact_date - plan_date
        if not timedelta(days=1) <= ahead <= timedelta(days=shop.campaigns.days_ahead):
            yield Violation(SEND_WINDOWS, campaign.campaign_id, f"a contact {ahead.days} days after the plan")
        if local.date() != contact_date.date() or local.isoweekday() != day_of_week:
            yield Violation(SEND_WINDOWS, campaign.campaign_id, f"{local} is sent on another day than {contact_date:%Y-%m-%d}")
        if local.hour not in campaign.hours_on(local.isoweekday()) or not campaign.runs_on(local.date()):
            yield Violation(SEND_WINDOWS, campaign.campaign_id, f"{local} lies outside the campaign's send windows")
        if not hours.start <= local.hour < hours.end:
            yield Violation(SEND_WINDOWS, campaign.campaign_id, f"{local} does not lie in the {daypart}")


def _over_budget(contacts: pd.DataFrame, campaign: Campaign, inputs: PlanningInputs) -> Iterator[Violation]:
    for channel, costs in contacts.groupby("channel")["cost"]:
        known = campaign.channels.get(str(channel))
        if known is not None and not costs.astype(float).sub(known.cost).abs().lt(_CENT).all():
            yield Violation(BUDGETS, campaign.campaign_id, f"a contact by {channel} does not cost what the campaign says")
    before = inputs.commitments.loc[inputs.commitments["campaign_id"] == campaign.campaign_id, "cost"].astype(float).sum()
    spent = float(contacts["cost"].astype(float).sum())
    if campaign.budget is not None and spent and before + spent > campaign.budget + _CENT:
        yield Violation(
            BUDGETS,
            campaign.campaign_id,
            f"{before:.2f} committed and {spent:.2f} planned of a budget of {campaign.budget:.2f}",
        )


def _over_capacity(contacts: pd.DataFrame, campaign: Campaign, inputs: PlanningInputs) -> Iterator[Violation]:
    own = inputs.commitments[inputs.commitments["campaign_id"] == campaign.campaign_id]
    limits = {name: channel.capacity_per_day for name, channel in campaign.channels.items()}
    yield from _over(contacts, own, limits, campaign.campaign_id)


def _over_shared_capacity(contacts: pd.DataFrame, inputs: PlanningInputs, shop: Shop) -> Iterator[Violation]:
    yield from _over(contacts, inputs.commitments, dict(shop.campaigns.capacity_per_day), "(all campaigns)")


def _over(contacts: pd.DataFrame, before: pd.DataFrame, limits: dict[str, int | None], campaign_id: str) -> Iterator[Violation]:
    place = ["channel", "contact_date"]
    planned = contacts.groupby(place).size().reset_index(name="planned")
    committed = before.groupby(place).size().reset_index(name="committed")
    merged = planned.merge(committed.astype({"contact_date": planned["contact_date"].dtype}), on=place, how="left")
    for channel, day, count, maybe in merged.itertuples(index=False):
        limit, earlier = limits.get(channel), 0 if pd.isna(maybe) else int(maybe)
        if limit is not None and count + earlier > limit:
            yield Violation(
                CAPACITIES, campaign_id, f"{count} planned and {earlier} committed by {channel} on {day:%Y-%m-%d}, of {limit}"
            )


@dataclass(frozen=True)
class _Contact:
    """A contact by its day number. ``rank``: its campaign's place in the planning; -1 for what was committed before."""

    day: int
    channel: str
    campaign_id: str
    rank: int


def _too_often(
    contacts: pd.DataFrame, campaigns: Sequence[Campaign], inputs: PlanningInputs, shop: Shop
) -> Iterator[Violation]:
    ranks = {campaign.campaign_id: place for place, campaign in enumerate(campaigns)}
    every: dict[str, list[_Contact]] = defaultdict(list)
    for frame, is_planned in ((inputs.commitments, False), (contacts, True)):
        days = (pd.to_datetime(frame["contact_date"]) - pd.Timestamp("1970-01-01")).dt.days
        rows = zip(frame["customer_id"], days, frame["channel"], frame["campaign_id"], strict=True)
        for customer, day, channel, campaign_id in rows:
            every[customer].append(_Contact(day, channel, campaign_id, ranks[campaign_id] if is_planned else -1))
    for customer in contacts["customer_id"].unique():
        together = every[customer]
        for one in together:
            if one.rank >= 0:
                # What is planned after it looked at it, not the other way round.
                earlier = [other for other in together if other is not one and other.rank <= one.rank]
                yield from _broken(one, earlier, campaigns[one.rank], shop)


def _broken(one: _Contact, others: list[_Contact], campaign: Campaign, shop: Shop) -> Iterator[Violation]:
    gap = max(shop.campaigns.minimum_gap_days, campaign.minimum_gap_days)
    near = [other.day for other in others if abs(other.day - one.day) < gap]
    if near:
        apart = min(abs(day - one.day) for day in near)
        yield Violation(CAPS_AND_GAPS, campaign.campaign_id, f"a contact {apart} days from another, of at least {gap}")
    if any(other.campaign_id == one.campaign_id for other in others):
        yield Violation(CAPS_AND_GAPS, campaign.campaign_id, "a second contact of the campaign")
    caps = campaign.frequency_caps
    groups: list[tuple[str, FrequencyCap | None, list[int]]] = [
        ("of all campaigns", shop.campaigns.frequency_cap, [other.day for other in others]),
        ("of all campaigns", caps.overall, [other.day for other in others]),
        (f"by {one.channel}", caps.channels.get(one.channel), [o.day for o in others if o.channel == one.channel]),
    ]
    for name, cap, days in groups:
        if cap is not None and _most(one.day, days, cap.days) > cap.contacts:
            yield Violation(
                CAPS_AND_GAPS, campaign.campaign_id, f"more than {cap.contacts} contacts {name} within {cap.days} days"
            )


def _most(day: int, others: list[int], width: int) -> int:
    """The most contacts on ``width`` consecutive days of which ``day`` is one."""
    return max(1 + sum(start <= other < start + width for other in others) for start in range(day - width + 1, day + 1))
