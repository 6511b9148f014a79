"""Eligibility: the allowed channels x days x dayparts of each customer, and the rule that removed the last of them.

Rules are asked in a fixed order, and the first that leaves a customer no option is why they are left out. Caps and gaps count
contacts on both sides of a day: a contact tomorrow must not come too soon before one that is approved for the day after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.settings import MAIL_CHANNEL, FrequencyCap, Shop
from ml.arrays import Booleans, Integers, Texts
from ml.planning.contact_days import ContactDays
from ml.planning.reasons import FREQUENCY_CAP, GAP, NO_CONSENT, OTHER_FIRST, OUTSIDE_WINDOW, SUPPRESSED

# Customers per batch of the customers x days matrix of earlier contacts.
BATCH = 50_000


@dataclass(frozen=True)
class Contacts:
    """Contacts that a plan must reckon with: places of the plan's customers, days after the plan's day, places of channels.

    A channel that is unknown (-1) counts for all of them together only. ``is_own``: of the campaign that is planned.
    """

    customer: Integers
    day: Integers
    channel: Integers
    is_own: Booleans

    @classmethod
    def of(cls, frame: pd.DataFrame, ids: pd.Index[str], campaign: Campaign, shop: Shop, plan_date: date) -> Contacts:
        """Those of ``frame`` (customer_id, campaign_id, channel, contact_date) that concern the customers ``ids``."""
        places = np.asarray(ids.get_indexer(pd.Index(frame["customer_id"].astype("str"))))
        known = places >= 0
        rows = frame[known]
        days = np.asarray((pd.to_datetime(rows["contact_date"]) - pd.Timestamp(plan_date)).dt.days, dtype=np.int64)
        channels = pd.Index(shop.channels).get_indexer(pd.Index(rows["channel"].astype("object")))
        own = (rows["campaign_id"].astype("str") == campaign.campaign_id).to_numpy(dtype=bool)
        return cls(places[known].astype(np.int64), days, channels.astype(np.int64), own)


@dataclass(frozen=True)
class Eligibility:
    """``allowed``: customers x channels x days x dayparts. ``reason``: of those without any, why; None for the others."""

    allowed: Booleans
    reason: Texts


@dataclass(frozen=True)
class Permissions:
    """Customers x channels: consents and suppressions; a suppression overrides a consent."""

    consent: Booleans
    suppressed: Booleans

    @classmethod
    def of(cls, consents: pd.DataFrame, suppressions: pd.DataFrame, ids: pd.Index[str], shop: Shop) -> Permissions:
        """No answer means no; of two answers for a channel, no wins. A suppression without a channel is one of all."""
        shape = (len(ids), len(shop.channels))
        consent, suppressed = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        yes = consents["is_allowed"].astype("boolean").fillna(value=False).to_numpy(dtype=bool)
        for answer in (True, False):
            customer, channel = _places(consents[yes == answer], ids, shop)
            known = (customer >= 0) & (channel >= 0)
            consent[customer[known], channel[known]] = answer
        customer, channel = _places(suppressions, ids, shop)
        of_all = (customer >= 0) & (channel < 0)
        known = (customer >= 0) & (channel >= 0)
        suppressed[customer[known], channel[known]] = True
        suppressed[customer[of_all]] = True
        return cls(consent, suppressed)


def eligibility(
    permissions: Permissions,
    *,
    committed: Contacts,
    planned: Contacts,
    days: ContactDays,
    campaign: Campaign,
    shop: Shop,
    unmailable: Mapping[str, Booleans] | None = None,
) -> Eligibility:
    """The options that all rules allow. ``committed``: contacts made or approved; ``planned``: by campaigns that come first.

    ``unmailable``: by reason the customers who have no option by e-mail.
    """
    customers = len(permissions.consent)
    is_mail = np.array([channel == MAIL_CHANNEL for channel in shop.channels], dtype=bool)[None, :, None, None]
    used = np.array([channel in campaign.channels for channel in shop.channels], dtype=bool)
    allowed = np.zeros((customers, len(shop.channels), len(days.days), len(shop.dayparts)), dtype=bool)
    reason = np.full(customers, None, dtype=object)
    for start in range(0, max(customers, 1), BATCH):
        batch = slice(start, min(start + BATCH, customers))
        size = batch.stop - batch.start
        left = np.broadcast_to(used[None, :, None, None], (size, *allowed.shape[1:])).copy()
        ours, others = _within(committed, batch), _within(planned, batch)
        has_own = np.bincount(ours.customer[ours.is_own], minlength=size) > 0
        rules = [
            (SUPPRESSED, ~permissions.suppressed[batch][:, :, None, None]),
            (NO_CONSENT, permissions.consent[batch][:, :, None, None]),
            *((name, ~(is_barred[batch][:, None, None, None] & is_mail)) for name, is_barred in (unmailable or {}).items()),
            (OUTSIDE_WINDOW, days.is_open[None, None]),
            (FREQUENCY_CAP, _within_caps(ours, campaign, shop, size)[..., None] & ~has_own[:, None, None, None]),
            (GAP, _beyond_gap(ours, campaign, shop, size)[:, None, :, None]),
        ]
        if len(others.customer):
            both = _both(ours, others)
            free = _within_caps(both, campaign, shop, size) & _beyond_gap(both, campaign, shop, size)[:, None, :]
            rules.append((OTHER_FIRST, free[..., None]))
        for name, rule in rules:
            left &= rule
            is_out = ~left.any(axis=(1, 2, 3)) & pd.isna(reason[batch])
            reason[batch][is_out] = name
        allowed[batch] = left
    return Eligibility(allowed, reason)


def caps_of(campaign: Campaign, shop: Shop) -> tuple[list[FrequencyCap], dict[str, FrequencyCap]]:
    """Caps on contacts of any channel, and by channel; those of shop.yaml hold for every campaign."""
    overall = [cap for cap in (shop.campaigns.frequency_cap, campaign.frequency_caps.overall) if cap is not None]
    return overall, dict(campaign.frequency_caps.channels)


def gap_of(campaign: Campaign, shop: Shop) -> int:
    """Days that must lie between two contacts of a customer."""
    return max(campaign.minimum_gap_days, shop.campaigns.minimum_gap_days)


def _within_caps(contacts: Contacts, campaign: Campaign, shop: Shop, customers: int) -> Booleans:
    """Customers x channels x days: one more contact there keeps every cap."""
    ahead = shop.campaigns.days_ahead
    overall, by_channel = caps_of(campaign, shop)
    free = np.ones((customers, len(shop.channels), ahead), dtype=bool)
    for cap in overall:
        free &= _has_room(contacts, np.ones(len(contacts.day), dtype=bool), cap, customers, ahead)[:, None, :]
    for name, cap in by_channel.items():
        place = shop.channels.index(name)
        free[:, place] &= _has_room(contacts, contacts.channel == place, cap, customers, ahead)
    return free


def _has_room(contacts: Contacts, counted: Booleans, cap: FrequencyCap, customers: int, ahead: int) -> Booleans:
    """Customers x days: no ``cap.days`` consecutive days around the day have ``cap.contacts`` already."""
    by_day = _by_day(contacts, counted, cap.days - 1, customers, ahead)
    running = np.concatenate([np.zeros((customers, 1), dtype=np.int64), np.cumsum(by_day, axis=1)], axis=1)
    windows = running[:, cap.days :] - running[:, : -cap.days]  # by the first day of each
    is_full = windows >= cap.contacts
    # The windows that contain day d of the plan begin on the cap.days days up to it.
    return np.stack([~is_full[:, day : day + cap.days].any(axis=1) for day in range(ahead)], axis=1)


def _beyond_gap(contacts: Contacts, campaign: Campaign, shop: Shop, customers: int) -> Booleans:
    """Customers x days: no contact lies fewer than the gap's days away."""
    ahead, gap = shop.campaigns.days_ahead, gap_of(campaign, shop)
    if gap == 0:
        return np.ones((customers, ahead), dtype=bool)
    by_day = _by_day(contacts, np.ones(len(contacts.day), dtype=bool), gap - 1, customers, ahead)
    return np.stack([by_day[:, day : day + 2 * gap - 1].sum(axis=1) == 0 for day in range(ahead)], axis=1)


def _by_day(contacts: Contacts, counted: Booleans, margin: int, customers: int, ahead: int) -> Integers:
    """Customers x days: contacts, from ``margin`` days before the plan's first day to as many after its last."""
    width = ahead + 2 * margin
    place = contacts.day - 1 + margin
    near = counted & (place >= 0) & (place < width)
    counts = np.bincount(contacts.customer[near] * width + place[near], minlength=customers * width)
    return counts.reshape(customers, width).astype(np.int64)


def _within(contacts: Contacts, batch: slice) -> Contacts:
    near = (contacts.customer >= batch.start) & (contacts.customer < batch.stop)
    return Contacts(contacts.customer[near] - batch.start, contacts.day[near], contacts.channel[near], contacts.is_own[near])


def _both(first: Contacts, second: Contacts) -> Contacts:
    return Contacts(
        customer=np.concatenate([first.customer, second.customer]),
        day=np.concatenate([first.day, second.day]),
        channel=np.concatenate([first.channel, second.channel]),
        is_own=np.concatenate([first.is_own, second.is_own]),
    )


def _places(frame: pd.DataFrame, ids: pd.Index[str], shop: Shop) -> tuple[Integers, Integers]:
    customer = ids.get_indexer(pd.Index(frame["customer_id"].astype("str")))
    channel = pd.Index(shop.channels).get_indexer(pd.Index(frame["channel"].astype("object")))
    return customer.astype(np.int64), channel.astype(np.int64)
