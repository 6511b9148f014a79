"""Every campaign at a glance: its file, its newest draft, and the entries of each approved version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd

from customer360.campaigns.definition import Campaign, CampaignProblem, load_shop_campaigns
from customer360.campaigns.drafts import definition_of, draft_counts, message_of
from customer360.campaigns.ledger import (
    APPROVED,
    CONTACT,
    HOLDOUT,
    PLANNED,
    SENT,
    SUPPRESSED,
    UNPROVEN,
    read_ledger,
)
from customer360.campaigns.ledger_sums import ledger_counts
from customer360.campaigns.standing import due_contacts, standing
from customer360.mail.message import Message, load_messages
from customer360.settings import Place, Settings


@dataclass(frozen=True)
class Draft:
    """The newest draft of a campaign: rows by decision, left-out rows by reason, contacts by channel and day, sums.

    ``value_basis``: what its expected value rests on. ``changed``: the fields of the campaign's file that differ from the
    definition that the version was made from, ``message`` also where its words do.
    """

    plan_version: str
    decisions: dict[str, int]
    reasons: dict[str, int]
    by_channel_and_day: list[dict[str, str | int]]
    cost: float
    value: float
    value_basis: str
    changed: list[str]

    @property
    def left_out(self) -> int:
        """Customers of its audience who are neither contacted nor held out."""
        return sum(self.reasons.values())


@dataclass(frozen=True)
class Version:
    """An approved version: who approved it and when, customers by arm, and entries by event since. ``changed``: as in Draft.

    ``is_unproven``: it was approved without evidence of what its contacts add.
    """

    plan_version: str
    approved_by: str
    approved_at: datetime
    reason: str
    contacts: int
    holdouts: int
    events: dict[str, int]
    is_unproven: bool
    changed: list[str]


@dataclass(frozen=True)
class CampaignOverview:
    """One campaign. Without ``campaign`` its file is wrong (``problems``) or gone, and only what was approved is left."""

    campaign_id: str
    campaign: Campaign | None
    problems: list[CampaignProblem] = field(default_factory=list)
    draft: Draft | None = None
    versions: list[Version] = field(default_factory=list)

    @property
    def is_waiting(self) -> bool:
        """Whether the newest draft is not approved."""
        return self.draft is not None and self.draft.plan_version not in {version.plan_version for version in self.versions}


def campaign_overviews(settings: Settings) -> list[CampaignOverview]:
    """Every campaign that has a file, a draft or an approved version, in the order of planning, the others last."""
    campaigns, problems = load_shop_campaigns(settings)
    drafts, ledger = draft_counts(settings.place), ledger_counts(settings.place)
    known = {campaign.campaign_id: campaign for campaign in campaigns}
    messages = {message.name: message for message in load_messages(settings)[0]}
    others = {problem.campaign_id for problem in problems} | set(drafts["campaign_id"]) | set(ledger["campaign_id"].dropna())
    return [
        CampaignOverview(
            name,
            known.get(name),
            [problem for problem in problems if problem.campaign_id == name],
            _draft(drafts[drafts["campaign_id"] == name], settings.place, known.get(name), messages),
            _versions(ledger[ledger["campaign_id"] == name], settings.place, known.get(name), messages),
        )
        for name in [*known, *sorted(others - known.keys())]
    ]


def waiting_contacts(place: Place, until: datetime) -> int:
    """Approved contacts that are neither sent nor suppressed and whose time has come by ``until``."""
    return len(due_contacts(standing(read_ledger(place, [APPROVED, SENT, SUPPRESSED])), until))


def _changed(place: Place, campaign: Campaign | None, plan_version: str, messages: Mapping[str, Message]) -> list[str]:
    """The fields of a campaign that differ from those that a version was made from; none where either is not known.

    ``message`` is among them also where the message of that name says something else now.
    """
    planned = definition_of(place, campaign.campaign_id, plan_version) if campaign else None
    if campaign is None or planned is None:
        return []
    kept = message_of(place, campaign.campaign_id, plan_version)
    is_reworded = kept is not None and kept != messages.get(kept.name)
    return [
        name
        for name in Campaign.model_fields
        if getattr(planned, name) != getattr(campaign, name) or (name == "message" and is_reworded)
    ]


def _draft(rows: pd.DataFrame, place: Place, campaign: Campaign | None, messages: Mapping[str, Message]) -> Draft | None:
    if rows.empty:
        return None
    contacts = rows[rows["decision"] == CONTACT]
    left_out = rows[~rows["decision"].isin([CONTACT, HOLDOUT])]
    by_day = contacts.groupby(["channel", "contact_date"], as_index=False)["customers"].sum()
    plan_version = str(rows["plan_version"].iloc[0])
    return Draft(
        plan_version,
        _counts(rows, "decision", "customers"),
        _counts(left_out, "reason", "customers"),
        [
            {"channel": str(row.channel), "day": f"{row.contact_date:%Y-%m-%d}", "contacts": int(row.customers)}
            for row in by_day.itertuples(index=False)
        ],
        float(contacts["cost"].sum()),
        float(contacts["expected_value"].sum()),
        str(rows["value_basis"].iloc[0]),
        _changed(place, campaign, plan_version, messages),
    )


def _versions(ledger: pd.DataFrame, place: Place, campaign: Campaign | None, messages: Mapping[str, Message]) -> list[Version]:
    found = []
    for version, entries in ledger.groupby("plan_version", sort=False):
        approved = entries[entries["event"] == APPROVED]
        first = approved.iloc[0]
        contacts = int(approved.loc[approved["arm"] == CONTACT, "entries"].sum())
        since = entries[~entries["event"].isin([APPROVED, PLANNED])]
        held = since["arm"] == HOLDOUT
        found.append(
            Version(
                str(version),
                str(first["recorded_by"]),
                first["recorded_at"].to_pydatetime(),
                str(first["detail"]),
                contacts,
                int(approved["entries"].sum()) - contacts,
                _counts(since[~held], "event", "entries")
                | {f"{event} of those held out": count for event, count in _counts(since[held], "event", "entries").items()},
                str(first["detail"]).startswith(f"{UNPROVEN} ("),
                _changed(place, campaign, str(version), messages),
            )
        )
    return found


def _counts(rows: pd.DataFrame, column: str, sizes: str) -> dict[str, int]:
    """How often each value of a column occurs, by the ``sizes`` of the rows; most frequent first."""
    sums = rows.groupby(column)[sizes].sum().sort_values(ascending=False, kind="stable")
    return {str(value): int(count) for value, count in sums.items()}
