"""How e-mail stands: messages by campaign and provider, rates with their verdicts, and what stops a campaign by itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import pandas as pd
from sqlalchemy import func, select

from customer360.decisions import Request
from customer360.lake.slices import naive
from customer360.mail.breaker import BOUNCES, COMPLAINTS, LEFT, UNSUBSCRIBES, Verdict, judged
from customer360.mail.queue import MailQueue
from customer360.mail.queue.tables import FAILED, LEFT_OUT, MESSAGES, PROVIDERS, reading

BREAKER = "breaker"
KINDS = {BOUNCES: "bounced_hard", COMPLAINTS: "complained", UNSUBSCRIBES: "unsubscribed"}
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class CampaignMail:
    """A campaign's messages by state, why those that were not sent were not, its verdicts, and who stopped it if it is."""

    campaign_id: str
    states: dict[str, int]
    reasons: dict[str, int]
    verdicts: list[Verdict]
    stopped: str | None


class Stop(NamedTuple):
    """Who stopped a campaign, why, and when (plain UTC)."""

    by: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class EmailOverview:
    """All campaigns, the lanes that wait (name, until when UTC, why), and why all is stopped, where it is."""

    campaigns: list[CampaignMail]
    waiting: list[tuple[str, datetime, str]]
    stopped: str | None
    is_open: bool


def email_overview(queue: MailQueue, now: datetime) -> EmailOverview:
    """How e-mail stands at a time (aware)."""
    counts, stops, judgements = queue.counts(), stopped_campaigns(queue), verdicts(queue)
    campaigns = [
        CampaignMail(
            str(campaign_id),
            {str(state): int(count) for state, count in rows.groupby("state")["messages"].sum().items()},
            _reasons(queue, str(campaign_id)),
            judgements.get(str(campaign_id), []),
            _words(stops.get(str(campaign_id))),
        )
        for campaign_id, rows in counts.groupby("campaign_id")
    ]
    waits = select(PROVIDERS.c.provider, PROVIDERS.c.blocked_until, PROVIDERS.c.reason)
    with reading(queue.engine) as connection:
        waiting = [
            (str(row.provider), row.blocked_until.replace(tzinfo=UTC), str(row.reason))
            for row in connection.execute(waits.where(PROVIDERS.c.blocked_until > naive(now)))
        ]
    return EmailOverview(campaigns, sorted(waiting), _words(stops.get("")), queue.is_open())


def verdicts(queue: MailQueue, campaign_id: str | None = None, since: datetime = BEGINNING) -> dict[str, list[Verdict]]:
    """The verdict on each rate of the campaigns of which messages left, or of one of them, after a time (aware)."""
    counts, marks = queue.counts(campaign_id, since), queue.marks(campaign_id, since)
    return {
        str(campaign): [
            judged(rate, _sums(rows), _sums(marks[(marks["campaign_id"] == campaign) & (marks["kind"] == kind)]))
            for rate, kind in KINDS.items()
        ]
        for campaign, rows in counts[counts["state"].isin(LEFT)].groupby("campaign_id")
    }


def _sums(rows: pd.DataFrame) -> dict[str, int]:
    """Messages by provider."""
    return {str(name): int(count) for name, count in rows.groupby("provider")["messages"].sum().items()}


def brake(queue: MailQueue, now: datetime) -> list[str]:
    """Stop the campaigns whose bounces or complaints are too many; returns what was said of each.

    After a person resumed a campaign, only what was sent since then counts.
    """
    resumed = {
        str(row["campaign_id"]): pd.Timestamp(row["at"]).to_pydatetime().replace(tzinfo=UTC)
        for row in queue.campaign_stops().to_dict("records")
        if not row["is_stopped"]
    }
    lines = []
    stops = stopped_campaigns(queue)
    for campaign_id in sorted(set(queue.counts()["campaign_id"]) - set(stops)):
        since = max(resumed.get(campaign_id, BEGINNING), resumed.get("", BEGINNING))
        found = verdicts(queue, campaign_id, since).get(campaign_id, [])
        reasons = [verdict.reason for verdict in found if verdict.level == "stop"]
        if reasons:
            queue.stop_campaign(campaign_id, Request("; ".join(reasons), now, BREAKER))
            lines.append(f"{campaign_id}: {'; '.join(reasons)}")
    return lines


def stopped_campaigns(queue: MailQueue) -> dict[str, Stop]:
    """The campaigns that are stopped now, with the decision; an empty name stands for all."""
    newest = queue.campaign_stops().drop_duplicates("campaign_id", keep="last")
    return {
        str(row["campaign_id"]): Stop(str(row["by"]), str(row["reason"]), pd.Timestamp(row["at"]).to_pydatetime())
        for row in newest.to_dict("records")
        if row["is_stopped"]
    }


def _words(stop: Stop | None) -> str | None:
    return None if stop is None else f"by {stop.by}: {stop.reason}"


def _reasons(queue: MailQueue, campaign_id: str) -> dict[str, int]:
    """How many messages were left out or failed, by reason, the most frequent first."""
    asked = select(MESSAGES.c.reply, func.count()).where(
        MESSAGES.c.campaign_id == campaign_id, MESSAGES.c.state.in_((LEFT_OUT, FAILED))
    )
    with reading(queue.engine) as connection:
        rows = [(str(row[0]), int(row[1])) for row in connection.execute(asked.group_by(MESSAGES.c.reply))]
    return dict(sorted(rows, key=lambda row: (-row[1], row[0]))[:20])
