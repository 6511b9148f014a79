"""Visits to the shop: when, by whom, on which device, brought by what, and from which moment the customer is logged in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from customer360.simulation import interest, rhythm
from customer360.simulation.arrays import DAY, Bools, Floats, Ints, Keys, Parallel, microseconds
from customer360.simulation.catalogue import CATEGORIES
from customer360.simulation.events import DRIFTING_SOURCES, NEWSLETTER, SOURCES
from customer360.simulation.population import PLATFORM_SHARES, PLATFORMS
from customer360.simulation.synthetic_shop import SyntheticShop

# Mean events of a visit as behaviour.py makes them, measured over a week: looking around, and cart to purchase.
LOOKING_EVENTS, BUYING_EVENTS = 6.31, 0.64
PASSER_BY_SHARE = 0.12
SECOND_DEVICE_VISITS = 0.35
APP = PLATFORMS.index("app")
APP_WITHOUT_VISITOR = 0.25
KNOWN, LOGS_IN, ANONYMOUS = 0, 1, 2
LOGIN_SHARES = np.array([0.5, 0.2, 0.3])


@dataclass(frozen=True)
class Visits(Parallel):
    """Visits as parallel arrays; ``customer`` is -1 for people whom the shop does not know at all."""

    at: Ints
    customer: Ints
    visitor: Keys
    session: Keys
    platform: Ints
    source: Ints
    campaign: Ints
    login: Ints
    affinity: Floats
    is_spell: Bools
    local_day: Ints


def draw_visits(synthetic: SyntheticShop, start: int, end: int, rng: np.random.Generator) -> Visits:
    """Visits that begin in [start, end), both on a quarter of an hour."""
    at = _arrivals(synthetic, start, end, rng)
    n = len(at)
    people = synthetic.population
    cumulative = np.cumsum(people.activity)
    customer = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right").astype(np.int64)
    customer = np.minimum(customer, len(cumulative) - 1)
    spell = synthetic.interest.spells(customer, at)
    is_kept = rng.random(n) * interest.SPELL_ACTIVITY < np.where(spell >= 0, interest.SPELL_ACTIVITY, 1.0)
    at, customer = at[is_kept], customer[is_kept]
    n = len(at)
    affinity, is_spell = synthetic.interest.affinity(customer, at)
    passes_by = rng.random(n) < PASSER_BY_SHARE
    strangers = rng.integers(0, len(CATEGORIES), n)
    fleeting = np.full((n, len(CATEGORIES)), 0.1)
    fleeting[np.arange(n), strangers] += 0.5
    device = (rng.random(n) < SECOND_DEVICE_VISITS).astype(np.int64)
    stranger_platform = rng.choice(APP, size=n, p=PLATFORM_SHARES[:APP] / PLATFORM_SHARES[:APP].sum())
    platform = np.where(passes_by, stranger_platform, people.platforms[customer, device])
    keys = rng.integers(1, 2**63, size=(2, n)).astype(np.uint64)
    visitor = np.where(passes_by, keys[0], people.visitors[customer, device])
    visitor = np.where((platform == APP) & (rng.random(n) < APP_WITHOUT_VISITOR), np.uint64(0), visitor)
    login = rng.choice(3, size=n, p=LOGIN_SHARES)
    local_day = _days_after_first_live(synthetic, at)
    source = _sources(synthetic, at, rng)
    return Visits(
        at=at,
        customer=np.where(passes_by, -1, customer),
        visitor=visitor,
        session=np.where(platform == APP, np.uint64(0), keys[1]),
        platform=platform,
        source=source,
        campaign=np.where(source == NEWSLETTER, synthetic.calendar.running(local_day), -1),
        login=np.where(passes_by, ANONYMOUS, np.where(platform == APP, KNOWN, login)),
        affinity=np.where(passes_by[:, None], fleeting, affinity),
        is_spell=is_spell & ~passes_by,
        local_day=local_day,
    )


def _arrivals(synthetic: SyntheticShop, start: int, end: int, rng: np.random.Generator) -> Ints:
    """Moments in whole milliseconds, so that every file format holds the same time."""
    starts = rhythm.slots(start, end)
    weights = np.ones(len(starts)) if synthetic.simulation.flat else rhythm.weights(starts, synthetic.shop.zone)
    per_visit = LOOKING_EVENTS + BUYING_EVENTS / max(1.0, synthetic.simulation.density(synthetic.shop))
    per_slot = synthetic.simulation.events_per_day(synthetic.shop) / per_visit / (DAY / rhythm.SLOT)
    counts = rng.poisson(per_slot * interest.SPELL_ACTIVITY / interest.MEAN_ACTIVITY * weights)
    moments = np.repeat(starts, counts) + rng.integers(0, rhythm.SLOT // 1000, counts.sum()) * 1000
    return np.sort(moments)


def _days_after_first_live(synthetic: SyntheticShop, at: Ints) -> Ints:
    local = pd.DatetimeIndex(at.view("datetime64[us]")).tz_localize("UTC").tz_convert(synthetic.shop.zone).tz_localize(None)
    since_1970 = local.to_numpy().astype("datetime64[D]").astype(np.int64)
    return since_1970 - int(np.datetime64(synthetic.first_live_day, "D").astype(np.int64))


def _sources(synthetic: SyntheticShop, at: Ints, rng: np.random.Generator) -> Ints:
    shares = np.array([source[3] for source in SOURCES])
    draws = rng.random(len(at))
    source = np.searchsorted(np.cumsum(shares), draws, side="right")
    drift = synthetic.simulation.drift
    if drift is not None and drift.traffic_mix != 1.0:
        drifted = shares.copy()
        drifted[list(DRIFTING_SOURCES)] *= drift.traffic_mix
        moved = np.searchsorted(np.cumsum(drifted / drifted.sum()), draws, side="right")
        source = np.where(at >= microseconds(drift.start), moved, source)
    return np.minimum(source, len(SOURCES) - 1).astype(np.int64)
