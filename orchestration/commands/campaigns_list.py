"""``customer360 campaigns list`` and ``show``."""

from __future__ import annotations

import argparse

import pandas as pd

from customer360.campaigns.overview import Draft, Standing, Version, campaign_standings
from customer360.decisions import DecisionRefused
from customer360.lake.publishing.publications import newest_plan
from customer360.settings import Settings
from customer360.words import many
from ml.planning.briefs import to_markdown
from ml.planning.reasons import CONTACT, HOLDOUT, LEFT_OUT
from orchestration.console import WELL, WRONG, say, settings_of

EXPECTED = (DecisionRefused,)
DECISIONS = {CONTACT: "to contact", HOLDOUT: "to hold out", LEFT_OUT: "left out"}


def run(options: argparse.Namespace) -> int:
    """Every campaign in a few lines, or one of them in full; 1 where one's file is wrong."""
    settings = settings_of(options)
    found = campaign_standings(settings)
    if options.action == "show":
        known = ", ".join(one.campaign_id for one in found) or "none"
        found = [one for one in found if one.campaign_id == options.campaign]
        if not found:
            raise DecisionRefused(f"there is no campaign {options.campaign}; there are: {known}")
    elif not found:
        say("There are no campaigns.")
    for standing in found:
        say(*_lines(standing))
        if options.action == "show":
            say(*_details(standing, settings.shop.currency), *_brief(settings, standing))
    return WRONG if any(standing.problems for standing in found) else WELL


def _brief(settings: Settings, standing: Standing) -> list[str]:
    """What the newest draft may earn and measure, in words."""
    plan = newest_plan(settings.place)
    file = plan / "campaign_briefs.parquet" if plan else None
    if file is None or not file.exists() or standing.draft is None:
        return []
    briefs = pd.read_parquet(file)
    rows = briefs[briefs["plan_version"] == standing.draft.plan_version]
    return [f"  {line}" for _, row in rows.iterrows() for line in to_markdown(row).replace("**", "").split("\n\n")[1:]]


def _lines(standing: Standing) -> list[str]:
    title = standing.campaign.title if standing.campaign else "its file is wrong" if standing.problems else "its file is gone"
    lines = [f"{standing.campaign_id}: {title}"]
    lines += [f"  {problem.field}: {problem.message} -> {problem.remedy}" for problem in standing.problems]
    draft = standing.draft
    if draft:
        is_approved = draft.plan_version in [version.plan_version for version in standing.versions]
        counts = ", ".join(
            f"{draft.decisions[decision]:,} {words}" for decision, words in DECISIONS.items() if decision in draft.decisions
        )
        lines.append(f"  {'newest plan' if is_approved else 'draft'} {draft.plan_version}: {counts}{_changed(draft)}")
    lines += [f"  approved {version.plan_version}: {_counts(version)}{_changed(version)}" for version in standing.versions]
    return lines


def _changed(plan: Draft | Version) -> str:
    return f"; changed since this plan: {', '.join(plan.changed)}" if plan.changed else ""


def _counts(version: Version) -> str:
    since = "".join(f", {count:,} {event}" for event, count in version.events.items())
    return f"{many(version.contacts, 'contact')}, {version.holdouts:,} held out{since}"


def _details(standing: Standing, currency: str) -> list[str]:
    lines = [
        f"  {version.plan_version} by {version.approved_by}, {version.approved_at:%Y-%m-%d %H:%M} UTC: {version.reason}"
        for version in standing.versions
    ]
    draft = standing.draft
    if draft:
        costs = f"{draft.cost:,.2f} {currency} for an expected value of {draft.value:,.2f} {currency}"
        lines.append(f"  {draft.plan_version} costs {costs}")
        lines += [f"    {count:,} by {channel} on {day}" for (channel, day), count in draft.by_channel_and_day.items()]
        lines += [f"    {count:,} left out: {reason}" for reason, count in draft.reasons.items()]
    return lines
