"""Why a customer is contacted, held out or left out: the codes of ``campaign_plan``, and the same in a sentence."""

from __future__ import annotations

import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.settings import Shop
from customer360.translation import gettext as _

CONTACT, HOLDOUT, LEFT_OUT = "contact", "holdout", "left out"

# Why a customer is left out, in the order in which it is asked: the first that leaves no option.
SUPPRESSED = "suppressed"
NO_CONSENT = "no consent"
NO_ADDRESS = "no address"
ADDRESS_TAKEN = "address has a contact already"
NOT_FILLED = "message cannot be filled"
OUTSIDE_WINDOW = "outside send window"
FREQUENCY_CAP = "frequency cap"
GAP = "gap"
OTHER_FIRST = "other campaign first"
BELOW_ZERO = "below zero value"
NO_CAPACITY = "no capacity"
BUDGET = "budget"
REASONS = (
    *(SUPPRESSED, NO_CONSENT, NO_ADDRESS, ADDRESS_TAKEN, NOT_FILLED, OUTSIDE_WINDOW, FREQUENCY_CAP, GAP, OTHER_FIRST),
    *(BELOW_ZERO, NO_CAPACITY, BUDGET),
)

_HELD = {"global": "held out of every campaign", "campaign": "held out of this campaign"}


def left_out_texts(campaign: Campaign, shop: Shop) -> dict[str, str]:
    """Why a customer is left out of a campaign, in words, by reason and in the order of ``REASONS``."""
    gap = max(campaign.minimum_gap_days, shop.campaigns.minimum_gap_days)
    return {
        SUPPRESSED: _("on the list of customers who must not be contacted, for each of the campaign's channels"),
        NO_CONSENT: _("has not allowed contacts by %(channels)s", channels=", ".join(campaign.channels)),
        NO_ADDRESS: _("no valid e-mail address is known, and no other channel is left"),
        ADDRESS_TAKEN: _("the campaign mails somebody else with the same e-mail address, and no other channel is left"),
        NOT_FILLED: _(
            "the message %(message)s lacks a value that it needs, and no other channel is left", message=campaign.message
        ),
        OUTSIDE_WINDOW: _("the campaign may send on none of the next %(days)s days", days=shop.campaigns.days_ahead),
        FREQUENCY_CAP: _("contacted by this campaign already, or as often as the caps on contacts allow"),
        GAP: _("contacted, or to be contacted, less than %(days)s days from each day that is left", days=gap),
        OTHER_FIRST: _("a campaign of higher priority contacts them, which leaves no day for this one"),
        BELOW_ZERO: _("no contact that is allowed would bring more than it costs"),
        NO_CAPACITY: _("the channels that are worth it are fully used by customers to whom they bring more"),
        BUDGET: _("the budget is used for customers to whom it brings more"),
    }


def explanations(frame: pd.DataFrame, campaign: Campaign, shop: Shop, *, is_measured: bool) -> list[str]:
    """A sentence for each row of a campaign's plan; ``detail``: which value of the message a customer lacks."""
    left_out = left_out_texts(campaign, shop)
    supposed = "" if is_measured else ", as documented campaigns suggest: it was not measured here"
    worth = f"worth {{:.2f}} {shop.currency} more than without{supposed}"
    texts = []
    columns = ["decision", "reason", "channel", "contact_date", "daypart", "expected_conversion", "expected_value", "cost"]
    for row in frame[[*columns, "is_exploration", "holdout", "detail"]].itertuples(index=False):
        if row.decision == LEFT_OUT:
            detail = f": {row.detail}" if row.reason == NOT_FILLED else ""
            texts.append(f"{left_out[str(row.reason)]}{detail}")
            continue
        drawn = ", drawn at random to learn from" if row.is_exploration else ""
        when = f"{row.channel} on {row.contact_date:%A} {row.daypart}{drawn}"
        expects = f"{row.expected_conversion:.1%} expected to order, {worth.format(row.expected_value)}"
        if row.decision == HOLDOUT:
            texts.append(f"{_HELD[str(row.holdout)]}, to measure what contacts bring; would be {when}: {expects}")
        else:
            texts.append(f"{when}, for {row.cost:.2f}: {expects}")
    return texts
