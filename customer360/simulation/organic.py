"""The probability that a customer orders within some days without a contact, derived from the parameters of the click stream.

The control groups of past campaigns convert with it. ``behaviour`` draws the clicks visit by visit; here their rates are
multiplied: visits a day by activity, views a visit, orders a view. A spell of 16 days is longer than the days that are asked
for, so the probability is the mean over no spell and a spell in each category.
"""

from __future__ import annotations

import numpy as np

from customer360.settings import Shop
from customer360.simulation import interest
from customer360.simulation.arrays import Floats
from customer360.simulation.behaviour import (
    CART_BY_AFFINITY,
    CART_RATE,
    CHECKOUT_SHARE,
    FOLLOWS_INTEREST,
    MEAN_VIEWS,
    PURCHASE_SHARE,
    REMOVE_SHARE,
    SPELL_CART,
)
from customer360.simulation.catalogue import CATEGORIES
from customer360.simulation.parameters import Simulation
from customer360.simulation.population import Population
from customer360.simulation.visits import BUYING_EVENTS, LOOKING_EVENTS, PASSER_BY_SHARE


def order_chance(simulation: Simulation, shop: Shop, population: Population, days: float) -> Floats:
    """Of each customer the probability of an order or more within so many days. A drift is not regarded."""
    calm = 1 - np.exp(-days * orders_a_day(simulation, shop, population, None))
    chance = (1 - interest.SPELL_SHARE) * calm
    tempered = (1 - interest.SPELL_TEMPER) * population.affinity + interest.SPELL_TEMPER / len(CATEGORIES)
    for category in range(len(CATEGORIES)):
        in_spell = 1 - np.exp(-days * orders_a_day(simulation, shop, population, category))
        chance = chance + interest.SPELL_SHARE * tempered[:, category] * in_spell
    return np.asarray(chance, dtype=np.float64)


def orders_a_day(simulation: Simulation, shop: Shop, population: Population, spell: int | None) -> Floats:
    """Of each customer the mean orders a day, in no spell or in one of this category."""
    density = max(1.0, simulation.density(shop))
    visits = simulation.events_per_day(shop) / (LOOKING_EVENTS + BUYING_EVENTS / density) / interest.MEAN_ACTIVITY
    visits = visits * (1 - PASSER_BY_SHARE) * (1.0 if spell is None else interest.SPELL_ACTIVITY)
    acting = population.affinity
    if spell is not None:
        acting = (1 - interest.SPELL_WEIGHT) * acting + interest.SPELL_WEIGHT * np.eye(len(CATEGORIES))[spell]
    eagerness = (CART_RATE + CART_BY_AFFINITY * acting) * population.buying[:, None] * (1.0 if spell is None else SPELL_CART)
    viewed = FOLLOWS_INTEREST * acting + (1 - FOLLOWS_INTEREST) / len(CATEGORIES)
    kept = (viewed * np.minimum(eagerness / density, 0.6)).sum(axis=1) * (1 - REMOVE_SHARE)
    # The number of views is geometric: 1, 2, ... with mean MEAN_VIEWS.
    stops = 1 / MEAN_VIEWS
    has_cart = 1 - stops * (1 - kept) / (1 - (1 - stops) * (1 - kept))
    share = population.activity / population.activity.sum()
    return np.asarray(visits * share * has_cart * CHECKOUT_SHARE * PURCHASE_SHARE, dtype=np.float64)
