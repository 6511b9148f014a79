"""The value of each option of a customer, and the draws of exploration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.campaigns.holdouts import draws
from customer360.settings import Shop
from ml.arrays import Booleans, Floats, Integers, SingleFloats
from ml.planning.contact_days import ContactDays
from ml.planning.eligibility import BATCH
from ml.planning.predictions import Predicted

# Values are moved apart by at most so much of themselves: a price that cuts between equal customers cuts everywhere alike.
TIE_BREAK = 1e-6


@dataclass(frozen=True)
class Options:
    """Of each customer and channel x day (flat, channels first): net value, -inf where not allowed, and the daypart it is of.

    Dayparts are not limited, so the best one of a channel and day stands for all of them. ``explores``: customers whose one
    option was drawn at random among those allowed. ``conversion`` and ``gross`` are what the option's daypart promises: the
    probability of an order, and its value before costs.
    """

    value: Floats
    daypart: Integers
    conversion: SingleFloats
    gross: SingleFloats
    explores: Booleans


def make_options(
    predicted: Predicted, allowed: Booleans, days: ContactDays, campaign: Campaign, shop: Shop, *, ids: pd.Index[str], salt: str
) -> Options:
    """The options of customers ``ids`` (rows of ``predicted`` and ``allowed``)."""
    customers, channels, ahead, _ = allowed.shape
    shape = (customers, channels * ahead)
    value, daypart = np.empty(shape), np.empty(shape, dtype=np.int64)
    conversion, gross = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
    cost = option_costs(campaign, shop).reshape(channels, ahead)
    is_explorer = draws(ids, salt, campaign.campaign_id, "explores") < campaign.exploration_share
    explores = np.zeros(customers, dtype=bool)
    for start in range(0, max(customers, 1), BATCH):
        batch = slice(start, min(start + BATCH, customers))
        chance = predicted.conversion[batch][:, :, days.weekdays, :].astype(np.float64)
        worth = predicted.effects(chance, batch) * campaign.value_per_conversion
        after_cost = worth - cost[None, :, :, None]
        open_options = allowed[batch].copy()
        exploring = np.flatnonzero(is_explorer[batch])
        if len(exploring):
            numbers = draws(ids[batch][exploring], salt, campaign.campaign_id, "option")
            # Half of all customers explore without evidence: an option that costs more than it brings would leave them out.
            is_drawable = after_cost[exploring] > 0 if predicted.unknown_share else True
            open_options[exploring] = _drawn(open_options[exploring] & is_drawable, numbers)
        net = np.where(open_options, after_cost, -np.inf)
        best = net.argmax(axis=3)
        pick = best[..., None]
        flat = (batch.stop - batch.start, channels * ahead)
        value[batch] = np.take_along_axis(net, pick, 3).reshape(flat)
        daypart[batch] = best.reshape(flat)
        conversion[batch] = np.take_along_axis(chance, pick, 3).reshape(flat)
        gross[batch] = np.take_along_axis(worth, pick, 3).reshape(flat)
        explores[batch] = is_explorer[batch]
    nudge = draws(ids, salt, campaign.campaign_id, "tie") * TIE_BREAK
    value = np.where(value > 0, value * (1 + nudge[:, None]), value)
    return Options(value, daypart, conversion, gross, explores)


def option_costs(campaign: Campaign, shop: Shop) -> Floats:
    """The cost of each channel x day, 0 of channels that the campaign does not use."""
    costs = [campaign.channels[name].cost if name in campaign.channels else 0.0 for name in shop.channels]
    return np.repeat(np.array(costs, dtype=np.float64), shop.campaigns.days_ahead)


def _drawn(allowed: Booleans, numbers: Floats) -> Booleans:
    """One of each customer's allowed combinations, each as probable as the others, by their ``numbers`` in [0, 1)."""
    flat = allowed.reshape(len(allowed), -1)
    count = flat.sum(axis=1)
    place = np.minimum((numbers * count).astype(np.int64), np.maximum(count - 1, 0))
    is_drawn = flat & (flat.cumsum(axis=1) - 1 == place[:, None])
    return np.asarray(is_drawn.reshape(allowed.shape), dtype=bool)
