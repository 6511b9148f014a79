"""Whom a campaign's message may reach: an address, not contacted by the campaign already, and every value that it needs.

A campaign that has no message mails through other tools, which know the addresses; nothing of this holds for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.mail.message import Message
from customer360.settings import MAIL_CHANNEL, Shop
from ml.arrays import Booleans, Texts
from ml.frames import FrameError
from ml.planning.options import Options
from ml.planning.reasons import ADDRESS_TAKEN, NO_ADDRESS, NOT_FILLED

Unfilled = Callable[[Message, Campaign, "pd.Index[str]"], "pd.Series[str]"]


@dataclass(frozen=True)
class Mail:
    """What plans know of e-mail: ``messages`` by name, and ``keys``: by customer_id what makes two addresses the same.

    ``unfilled``: why each of these customers cannot get a message, by customer_id; null where they can.
    """

    messages: Mapping[str, Message] = field(default_factory=dict)
    keys: pd.Series[str] = field(default_factory=lambda: pd.Series(dtype="str"))
    unfilled: Unfilled = lambda _message, _campaign, ids: pd.Series(None, index=ids, dtype="object")

    def asked_once(self) -> Mail:
        """The same for plans of one campaign and audience: who lacks a value is asked for once, while the snapshot is open."""
        found: list[tuple[str, pd.Index[str], pd.Series[str]]] = []

        def unfilled(message: Message, campaign: Campaign, ids: pd.Index[str]) -> pd.Series[str]:
            if not found or found[0][0] != message.name or not found[0][1].equals(ids):
                found[:] = [(message.name, ids, self.unfilled(message, campaign, ids))]
            return found[0][2]

        return replace(self, unfilled=unfilled)

    def message_of(self, campaign: Campaign) -> Message | None:
        """The campaign's message. Raises ``FrameError`` where it names one that is not there any more."""
        if campaign.message is None:
            return None
        if campaign.message not in self.messages:
            raise FrameError(f"there is no message {campaign.message} any more; name another one, or plan again")
        return self.messages[campaign.message]


@dataclass(frozen=True)
class Mailing:
    """Of a campaign's customers, in the order of their ids: by reason who cannot be mailed, and the ``keys`` of addresses.

    ``details``: which value of the message somebody lacks; None for the others.
    """

    barred: Mapping[str, Booleans]
    keys: Texts
    details: Texts


def mailing(campaign: Campaign, mail: Mail, commitments: pd.DataFrame, ids: pd.Index[str]) -> Mailing | None:
    """Who of ``ids`` cannot be mailed the campaign's message; None where it has none.

    An address is taken where the campaign has a contact by e-mail of another customer of it, in whatever version.
    """
    message = mail.message_of(campaign)
    if message is None:
        return None
    keys = mail.keys.reindex(ids).astype("object")
    is_own = (commitments["campaign_id"] == campaign.campaign_id) & (commitments["channel"] == MAIL_CHANNEL)
    contacted = commitments.loc[is_own, "customer_id"]
    is_taken = keys.notna() & keys.isin(mail.keys.reindex(contacted).dropna()) & ~keys.index.isin(contacted)
    details = mail.unfilled(message, campaign, ids).reindex(ids)
    barred = {NO_ADDRESS: keys.isna(), ADDRESS_TAKEN: is_taken, NOT_FILLED: details.notna()}
    return Mailing(
        {reason: who.to_numpy(dtype=bool) for reason, who in barred.items()},
        keys.to_numpy(dtype=object),
        details.where(details.notna(), None).to_numpy(dtype=object),
    )


def one_contact_an_address(options: Options, keys: Texts, shop: Shop) -> tuple[Options, Booleans]:
    """Options in which one customer of each address may be mailed: to whom e-mail is worth most, of equals the first id.

    Also who had an option that is worth it, and has none now. Whether somebody is held out is not asked: what is held back
    from one of them must not reach the mailbox by another.
    """
    first = shop.channels.index(MAIL_CHANNEL) * shop.campaigns.days_ahead
    by_mail = slice(first, first + shop.campaigns.days_ahead)
    worth = options.value[:, by_mail].max(axis=1, initial=-np.inf)
    order = np.lexsort((np.arange(len(keys)), -worth))
    is_other = np.zeros(len(keys), dtype=bool)
    is_other[order] = pd.Series(keys[order]).duplicated().to_numpy() & pd.notna(keys[order])
    value = options.value.copy()
    value[is_other, by_mail] = -np.inf
    has_lost: Booleans = np.logical_and((options.value > 0).any(axis=1), ~(value > 0).any(axis=1))
    return replace(options, value=value), has_lost
