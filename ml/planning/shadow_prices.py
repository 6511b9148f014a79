"""What more of a plan's limits would bring, in words: the prices of the linear program behind it."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np

from customer360.settings import Shop
from ml.planning.campaign_planning import CampaignPlan

MOST_SHOWN = 5
_CENT = 0.005


def shadow_prices(plan: CampaignPlan, shop: Shop) -> list[str]:
    """One sentence for each limit that binds, the dearest capacities first; one that says so where none does.

    Each holds for one more, beside everything else as it is. Values are net of what the contact costs.
    """
    limits, told = plan.limits, []
    if limits.budget_price > _CENT and not math.isinf(limits.budget):
        told.append(f"one more {shop.currency} of budget brings {limits.budget_price:,.2f} {shop.currency}")
    ahead = shop.campaigns.days_ahead
    order = np.argsort(-limits.price, kind="stable")
    dear = [place for place in order if limits.price[place] > _CENT]
    for place in dear[:MOST_SHOWN]:
        channel, day = divmod(int(place), ahead)
        name = plan.day + timedelta(days=day + 1)
        told.append(f"one more {shop.channels[channel]} on {name:%A %d %B} brings {limits.price[place]:,.2f} {shop.currency}")
    if len(dear) > MOST_SHOWN:
        told.append(f"{len(dear) - MOST_SHOWN} more channel days are full")
    return told or ["no limit binds: more budget or capacity would bring nothing"]
