"""Whether a plan's message may be sent to everybody whom it mails: judged when the plan is made, asked for at approval."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.campaigns.ledger import CONTACT
from customer360.mail.checking import check_message, render_check
from customer360.mail.message import Message
from customer360.mail.variables import message_values
from customer360.settings import MAIL_CHANNEL
from customer360.snapshot import Snapshot
from customer360.text import many


def message_faults(snapshot: Snapshot, campaign: Campaign, message: Message, rows: pd.DataFrame) -> list[str]:
    """Why the plan ``rows`` (of ``campaign_plan``, with ``variant``) may not be approved; none where all is well.

    Every message is rendered. No fault names a customer: it reaches logs.
    """
    return list(_faults(snapshot, campaign, message, rows))


def _faults(snapshot: Snapshot, campaign: Campaign, message: Message, rows: pd.DataFrame) -> Iterator[str]:
    problems = check_message(message, snapshot.shop)
    yield from map(str, problems)
    mailed = rows[(rows["decision"] == CONTACT) & (rows["channel"] == MAIL_CHANNEL)]
    if problems or mailed.empty:
        return
    values = message_values(snapshot, message, campaign, mailed["customer_id"])
    made = render_check(message, snapshot.shop, values, mailed.set_index("customer_id")["variant"])
    if made.failed:
        yield f"{many(made.failed, 'message')} of {len(mailed):,} may not be sent; the first: {made.failures[0].reason}"
    for reason, customers in made.left_out.items():
        yield f"{many(customers, 'message')} of {len(mailed):,} cannot be made: {reason}"
