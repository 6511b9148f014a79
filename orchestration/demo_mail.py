"""The end of a demo: the e-mails of the first planned day go to a server of this machine that keeps them, for ``make mailbox``.

They take the way of all e-mails: a plan is approved, what is due is queued, and the mailer sends it. A replayed shop's clock
stands at its last slice, before the first planned day: the messages are sent as of that day's evening.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time

import pandas as pd

from customer360.campaigns.approval import approve
from customer360.campaigns.definition import load_shop_campaigns
from customer360.campaigns.drafts import draft_of, newest_drafts
from customer360.campaigns.ledger import CONTACT
from customer360.campaigns.sending import send
from customer360.decisions import Request
from customer360.lake.publishing.publications import publish_files
from customer360.loopback import LOOPBACK
from customer360.mail.deliveries import answered_days, deliveries, write_deliveries
from customer360.mail.queue import open_queue
from customer360.services.mailer.inbox import Mail, newest_mails
from customer360.services.mailer.server import make_worker, run_worker
from customer360.services.mailer.settings import MailerSettings
from customer360.services.mailer.sink import sink, sink_folder
from customer360.settings import MAIL_CHANNEL, Settings
from customer360.snapshot import published_touches

BY = "make demo"
EVENING = time(19)  # of the shop, when all that is planned for a day's windows is due
SHOWN = 3


@dataclass(frozen=True)
class MailedDay:
    """What the demo mailed: of which campaign and day, messages by state in the queue, and the newest of them."""

    campaign_id: str
    evening: datetime
    states: dict[str, int]
    shown: list[Mail]


def mail_first_day(settings: Settings, now: datetime, shop_now: datetime) -> MailedDay | None:
    """Approve the campaign with a message that is planned first, and mail its first day; None where there is no such campaign.

    ``now`` is the wall clock, ``shop_now`` the shop's.
    """
    campaign_id = _campaign(settings)
    if campaign_id is None:
        return None
    drafts = newest_drafts(settings.place)
    version = str(drafts.loc[drafts["campaign_id"] == campaign_id, "plan_version"].iloc[0])
    draft = draft_of(settings.place, campaign_id, version)
    mailed = draft[(draft["decision"] == CONTACT) & (draft["channel"] == MAIL_CHANNEL)]
    evening = datetime.combine(pd.Timestamp(mailed["contact_date"].min()).date(), EVENING, settings.shop.zone)
    reason = Request("the first day of the demo, to see its messages", now, BY)
    approve(settings, campaign_id, version, reason, shop_now, touches=published_touches(settings), without_evidence=True)
    send(settings, now, evening, BY)
    queue = open_queue(settings.place)
    with sink(settings.place) as port:
        own = MailerSettings(host=LOOPBACK, port=port, tls="none")
        worker = make_worker(settings, own, lambda _settings, _now: evening)
        run_worker(settings, own, worker, is_once=True, shop_clock=lambda _settings, _now: evening)
    days = answered_days(evening.date())
    write_deliveries(settings.place, deliveries(settings.place, queue, days[0], days[-1]), days)
    publish_files(settings.place, now)
    states = {str(name): int(count) for name, count in queue.counts().groupby("state")["messages"].sum().items()}
    return MailedDay(campaign_id, evening, states, newest_mails(sink_folder(settings.place), SHOWN))


def _campaign(settings: Settings) -> str | None:
    """The first campaign, in the order of planning, that has a message and contacts by e-mail in its newest draft.

    Drafts that were planned after it keep to its contacts, so that they may be approved after it.
    """
    if settings.shop.email is None:
        return None
    drafts = newest_drafts(settings.place)
    is_mailed = (drafts["decision"] == CONTACT) & (drafts["channel"] == MAIL_CHANNEL)
    planned = set(drafts.loc[is_mailed, "campaign_id"])
    campaigns, _problems = load_shop_campaigns(settings)
    names = [campaign.campaign_id for campaign in campaigns if campaign.message and campaign.campaign_id in planned]
    return names[0] if names else None


def mailed_text(mailed: MailedDay) -> str:
    """The messages as text, each with its addresses and its first lines."""
    counts = ", ".join(f"{count:,} {state}" for state, count in sorted(mailed.states.items()))
    parts = [f"  {mailed.campaign_id}, as of {mailed.evening:%Y-%m-%d %H:%M}: {counts}; none left this machine"]
    for mail in mailed.shown:
        head = [f"  {name + ':':<9}{mail.message[name]}" for name in ("To", "Subject")]
        lines = [f"    {line[:110]}" for line in mail.body("plain").splitlines() if line.strip()][:6]
        parts.append("\n".join(["", *head, *lines]))
    return "\n".join(parts)
