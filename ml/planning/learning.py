"""How much of a campaign is spent on learning: its holdout and its exploration, larger while the effect is not known."""

from __future__ import annotations

import math

import numpy as np

from customer360.campaigns.definition import Campaign
from customer360.settings import Shop
from ml.effects.power import detectable_effect
from ml.planning.predictions import Predicted

STEP = 0.01


def learning_terms(campaign: Campaign, predicted: Predicted, budget: float, shop: Shop) -> Campaign:
    """The campaign with the shares that are held out and that explore, for the customers of ``predicted``.

    While the effect is unknown its holdout is the least that finds the expected effect four times out of five, and at most
    ``largest_holdout_share``; as evidence grows, both shares fall to the campaign's own (``unknown_share``). ``budget``: what
    is left of it, inf without a limit.
    """
    unknown, rules = predicted.unknown_share, shop.campaigns.prior_effect
    if not unknown or not predicted.conversion.size:
        return campaign
    needed = _needed_share(campaign, predicted, budget, rules.largest_holdout_share)
    return campaign.model_copy(
        update={
            "holdout_share": _between(campaign.holdout_share, needed, unknown),
            "exploration_share": _between(campaign.exploration_share, rules.exploration_share, unknown),
        }
    )


def _between(own: float, learning: float, unknown: float) -> float:
    return own + max(learning - own, 0.0) * unknown


def _needed_share(campaign: Campaign, predicted: Predicted, budget: float, largest: float) -> float:
    """The least share, in steps of a hundredth, with which the arms that the budget allows find the mean effect."""
    conversion = float(predicted.conversion.mean(dtype=np.float64))
    effect = predicted.effect_share * conversion - float(predicted.without.mean(dtype=np.float64))
    cheapest = min(channel.cost for channel in campaign.channels.values())
    affordable = budget / cheapest if cheapest else math.inf
    for share in np.arange(campaign.holdout_share, largest, STEP):
        contacts = min(len(predicted.conversion) * (1 - share), affordable)
        found = detectable_effect(max(conversion - effect, 0.0), int(contacts), int(contacts * share / (1 - share)))
        if found is not None and found <= effect:
            return float(share)
    return largest
