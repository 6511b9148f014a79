"""The rules that a plan breaks, counted from its rows alone, independently of the planner.

The checks of the asset of plans, which block a publication, come from here. Budget, capacities, caps and gaps are counted by
the function that counts them for an approval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.campaigns.limits import CENT, broken_limits
from customer360.settings import MAIL_CHANNEL, Shop
from customer360.text import many
from ml.planning.inputs import COMMITMENTS, PlanningInputs
from ml.planning.reasons import CONTACT

EVERY_CUSTOMER_ONCE = "every_customer_once"
CONSENT = "consent_is_respected"
SEND_WINDOWS = "send_windows_are_respected"
CAPS_AND_GAPS = "caps_and_gaps_are_respected"
BUDGETS = "budgets_are_respected"
CAPACITIES = "capacities_are_respected"
ADDRESSES = "addresses_are_respected"
RULES = {
    EVERY_CUSTOMER_ONCE: "Every customer of an audience has exactly one decision of the campaign, with a reason.",
    CONSENT: "No contact goes through a channel that the customer has not allowed, or that is suppressed.",
    SEND_WINDOWS: "Every contact lies within the campaign's dates, weekdays and hours, where the customer is.",
    CAPS_AND_GAPS: "No customer is contacted more often, or sooner after another contact, than the rules allow.",
    BUDGETS: "No campaign spends more than its budget, what was approved before included.",
    CAPACITIES: "No channel is asked for more contacts a day than it can make.",
    ADDRESSES: "No message goes to somebody without a valid address or a value that it needs, or twice to an address.",
}
LIMIT_RULES = {"budget": BUDGETS, "capacity": CAPACITIES, "frequency cap": CAPS_AND_GAPS, "gap": CAPS_AND_GAPS}


@dataclass(frozen=True)
class Violation:
    """A rule that a plan breaks: of which campaign, and what is wrong, without a customer's name: it reaches logs."""

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
    committed = inputs.commitments[COMMITMENTS]
    for campaign in campaigns:
        own = contacts[contacts["campaign_id"] == campaign.campaign_id]
        found += _no_consent(own, campaign, inputs)
        found += _outside_windows(own, campaign, inputs, shop)
        found += _other_costs(own, campaign)
        found += _other_addresses(own, campaign, inputs)
        limits = broken_limits(own, committed, campaign, shop)
        found += [Violation(LIMIT_RULES[limit.kind], campaign.campaign_id, limit.message) for limit in limits]
        # A campaign that is planned later keeps to what is planned before it, not the other way round.
        committed = pd.concat([committed, own[COMMITMENTS]], ignore_index=True) if len(committed) else own[COMMITMENTS]
    return found


def _not_once(plan: pd.DataFrame, audiences: dict[str, pd.Index[str]]) -> Iterator[Violation]:
    for campaign_id, audience in audiences.items():
        rows = plan[plan["campaign_id"] == campaign_id]
        missing = len(audience.difference(pd.Index(rows["customer_id"])))
        foreign = int((~rows["customer_id"].isin(audience)).sum())
        repeated, unexplained = int(rows["customer_id"].duplicated().sum()), int(rows["reason"].isna().sum())
        if missing or foreign or repeated or unexplained:
            yield Violation(
                EVERY_CUSTOMER_ONCE,
                campaign_id,
                f"{missing} of the audience have no row, {foreign} rows are of other customers, {repeated} are repeated, "
                f"{unexplained} have no reason",
            )


def _no_consent(contacts: pd.DataFrame, campaign: Campaign, inputs: PlanningInputs) -> Iterator[Violation]:
    consents = inputs.consents.assign(is_allowed=inputs.consents["is_allowed"].astype("boolean").fillna(value=False))
    is_allowed = consents.groupby(["customer_id", "channel"])["is_allowed"].min()
    allowed = set(is_allowed[is_allowed].index)
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


def _other_costs(contacts: pd.DataFrame, campaign: Campaign) -> Iterator[Violation]:
    for name, costs in contacts.groupby("channel")["cost"]:
        channel = campaign.channels.get(str(name))
        if channel is not None and not costs.astype(float).sub(channel.cost).abs().lt(CENT).all():
            yield Violation(BUDGETS, campaign.campaign_id, f"a contact by {name} does not cost what the campaign says")


def _other_addresses(contacts: pd.DataFrame, campaign: Campaign, inputs: PlanningInputs) -> Iterator[Violation]:
    """Counted address by address, also of what earlier versions of the campaign committed."""
    message = inputs.mail.message_of(campaign)
    if message is None:
        return
    known = inputs.mail.keys.to_dict()
    before = inputs.commitments
    earlier = before[(before["campaign_id"] == campaign.campaign_id) & (before["channel"] == MAIL_CHANNEL)]["customer_id"]
    mailed = contacts.loc[contacts["channel"] == MAIL_CHANNEL, "customer_id"]
    owners: dict[str, set[str]] = {}
    for customer in [*earlier, *mailed]:
        if customer in known:
            owners.setdefault(known[customer], set()).add(customer)
    added = set(mailed)
    counts = {
        "without a valid address": len(added - known.keys()),
        "to an address that has another one": sum(len(who) > 1 and bool(who & added) for who in owners.values()),
        "by a message that lacks a value": int(inputs.mail.unfilled(message, campaign, pd.Index(mailed)).notna().sum()),
    }
    for wrong, count in counts.items():
        if count:
            yield Violation(ADDRESSES, campaign.campaign_id, f"{many(count, 'contact')} {wrong}")
