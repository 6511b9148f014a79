"""Contacts by e-mail whose campaign has a message: into the mail queue, and what became of them back into the ledger.

The queue decides what is sent. The ledger learns of it in batches, so that its parts stay few: of a message that was accepted,
or may have been, as sent, of one that was left out or failed as suppressed.
"""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from customer360.campaigns.approval import suppressions
from customer360.campaigns.drafts import message_of
from customer360.campaigns.ledger import (
    APPROVED,
    CONTACT,
    CONTACT_KEY,
    PLAN_COLUMNS,
    SENT,
    append,
    contact_keys,
    deciding,
    read_ledger,
)
from customer360.lake.publishing.publications import publish_files
from customer360.lake.slices import naive
from customer360.mail.addresses import address_key
from customer360.mail.queue import MailQueue
from customer360.mail.queue.tables import ACCEPTED, UNKNOWN
from customer360.settings import MAIL_CHANNEL, Settings

NO_ADDRESS = "no e-mail address"
SYNC_ROWS = 100_000


def is_mailed(settings: Settings, contacts: pd.DataFrame) -> pd.Series[bool]:
    """Which of the contacts are sent by the mail queue: those by e-mail whose approved campaign has a message."""
    is_mail = contacts["channel"] == MAIL_CHANNEL
    if settings.shop.email is None or not is_mail.any():
        return is_mail & False
    versions = contacts.loc[is_mail, ["campaign_id", "plan_version"]].drop_duplicates()
    with_message = {
        (campaign_id, plan_version)
        for campaign_id, plan_version in versions.itertuples(index=False)
        if message_of(settings.place, campaign_id, plan_version) is not None
    }
    pairs = zip(contacts["campaign_id"], contacts["plan_version"], strict=True)
    return is_mail & pd.Series([pair in with_message for pair in pairs], index=contacts.index)


def queue_contacts(queue: MailQueue, contacts: pd.DataFrame, now: datetime, shop_now: datetime) -> tuple[int, pd.Series[bool]]:
    """Queue contacts (rows of ``standing``, ``email``) that may be sent; returns how many are new, and which have no address.

    Queueing again queues nothing. A contact that is due later by the shop's clock is due as much later by the wall's.
    """
    has_address = contacts["email"].notna()
    rows = contacts[has_address]
    ahead = rows["send_at"] - pd.Timestamp(naive(shop_now))
    frame = rows[["campaign_id", "plan_version", "customer_id", "send_at", "contact_date", "offer_id", "variant"]].assign(
        contact_key=contact_keys(rows),
        address_hash=[queue.address_hash(address_key(address)) for address in rows["email"]],
        domain=[address.rpartition("@")[2] for address in rows["email"]],
        due_at=pd.Timestamp(naive(now)) + ahead.where(ahead > pd.Timedelta(0), pd.Timedelta(0)),
        value=rows["expected_value"].fillna(0.0),
    )
    return len(queue.enqueue(frame, now)), ~has_address


def sync_ledger(settings: Settings, queue: MailQueue, now: datetime, shop_now: datetime, by: str) -> int:
    """Add to the ledger what became of messages since the last time; returns how many. Again adds nothing.

    ``now`` is the wall clock, ``shop_now`` the shop's at the same moment.
    """
    added = 0
    with deciding(settings.place):
        while len(found := queue.unsynced(SYNC_ROWS)):
            approved = read_ledger(settings.place, [APPROVED])
            approved = approved[approved["arm"] == CONTACT]
            rows = approved.merge(found.drop(columns=["contact_key"]), on=CONTACT_KEY)
            is_sent = rows["state"].isin([ACCEPTED, UNKNOWN])
            at = rows["changed_at"] + (pd.Timestamp(naive(shop_now)) - pd.Timestamp(naive(now)))
            reply = rows["reply"].fillna("")
            detail = ("unknown: " + reply).where(rows["state"] == UNKNOWN, "accepted: " + reply)
            sent = rows.loc[is_sent, [*PLAN_COLUMNS, "arm"]].assign(event=SENT, event_at=at[is_sent], detail=detail[is_sent])
            left = suppressions(rows[~is_sent], shop_now, reply[~is_sent])
            added += len(append(settings.place, pd.concat([sent, left]), now, by))
            queue.synced(zip(found["contact_key"], found["state"], strict=True))
    if added:
        publish_files(settings.place, now)
    return added
