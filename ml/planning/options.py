"""What each option is worth: the best daypart of each channel and day, and one drawn combination for those who explore."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.settings import Shop
from ml.planning.contact_days import Booleans, ContactDays, Integers
from ml.planning.eligibility import BATCH
from ml.planning.predictions import Predicted

Floats = npt.NDArray[np.float64]
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
    conversion: npt.NDArray[np.float32]
    gross: npt.NDArray[np.float32]
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
    is_explorer = np.array([draw(salt, campaign.campaign_id, "explores", one) < campaign.exploration_share for one in ids])
    explores = np.zeros(customers, dtype=bool)
    for start in range(0, max(customers, 1), BATCH):
        batch = slice(start, min(start + BATCH, customers))
        chance = predicted.conversion[batch][:, :, days.weekdays, :].astype(np.float64)
        added = chance if predicted.without is None else chance - predicted.without[batch][:, None, None, None]
        worth = added * campaign.value_per_conversion
        open_options = allowed[batch].copy()
        exploring = np.flatnonzero(is_explorer[batch])
        if len(exploring):
            draws = np.array([draw(salt, campaign.campaign_id, "option", one) for one in ids[batch][exploring]])
            open_options[exploring] = _drawn(open_options[exploring], draws)
        net = np.where(open_options, worth - cost[None, :, :, None], -np.inf)
        best = net.argmax(axis=3)
        pick = best[..., None]
        some = (batch.stop - batch.start, channels * ahead)
        value[batch] = np.take_along_axis(net, pick, 3).reshape(some)
        daypart[batch] = best.reshape(some)
        conversion[batch] = np.take_along_axis(chance, pick, 3).reshape(some)
        gross[batch] = np.take_along_axis(worth, pick, 3).reshape(some)
        explores[batch] = is_explorer[batch]
    nudge = np.array([draw(salt, campaign.campaign_id, "tie", one) for one in ids]) * TIE_BREAK
    value = np.where(value > 0, value * (1 + nudge[:, None]), value)
    return Options(value, daypart, conversion, gross, explores)


def option_costs(campaign: Campaign, shop: Shop) -> Floats:
    """The cost of each channel x day, 0 of channels that the campaign does not use."""
    costs = [campaign.channels[name].cost if name in campaign.channels else 0.0 for name in shop.channels]
    return np.repeat(np.array(costs, dtype=np.float64), shop.campaigns.days_ahead)


def draw(*parts: str) -> float:
    """A number in [0, 1) that depends on these words alone."""
    digest = hashlib.sha256(":".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _drawn(allowed: Booleans, draws: Floats) -> Booleans:
    """One of each customer's allowed combinations, each as probable as the others."""
    flat = allowed.reshape(len(allowed), -1)
    count = flat.sum(axis=1)
    wanted = np.minimum((draws * count).astype(np.int64), np.maximum(count - 1, 0))
    is_drawn = flat & (flat.cumsum(axis=1) - 1 == wanted[:, None])
    return np.asarray(is_drawn.reshape(allowed.shape), dtype=bool)
