"""What a customer is after at a moment: a lasting affinity, and spells in which one category is on the mind.

A spell raises browsing and buying in its category for some days. So recent browsing tells more about the next purchase than
a customer's average, which a model has to find.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from customer360.simulation.arrays import DAY, Bools, Floats, Ints, categorical, microseconds, mix, uniform
from customer360.simulation.catalogue import CATEGORIES, swapped_categories
from customer360.simulation.parameters import Simulation
from customer360.simulation.population import Population

SPELL = 16 * DAY
SPELL_SHARE = 0.3  # of the time
SPELL_WEIGHT = 0.75
SPELL_ACTIVITY = 2.5
SPELL_TEMPER = 0.25  # how often a spell ignores the lasting affinity
MEAN_ACTIVITY = 1 + SPELL_SHARE * (SPELL_ACTIVITY - 1)


@dataclass(frozen=True)
class Interest:
    """Interests of a population over time. A pure function of seed, customer and moment."""

    simulation: Simulation
    population: Population

    def spells(self, customers: Ints, at: Ints) -> Ints:
        """The category on each customer's mind at a moment (microseconds), or -1."""
        seed = self.simulation.seed
        phase = (mix(seed, 21, customers) % np.uint64(SPELL)).astype(np.int64)
        number = (at + phase) // SPELL
        tempered = (1 - SPELL_TEMPER) * self.population.affinity[customers] + SPELL_TEMPER / len(CATEGORIES)
        category = categorical(tempered, uniform(seed, 22, customers, number))
        return np.where(uniform(seed, 23, customers, number) < SPELL_SHARE, category, -1)

    def affinity(self, customers: Ints, at: Ints) -> tuple[Floats, Bools]:
        """The affinity that acts at a moment (rows sum to 1), and whether the customer is in a spell."""
        spells = self.spells(customers, at)
        is_spell = spells >= 0
        acting = self.population.affinity[customers].copy()
        acting[is_spell] *= 1 - SPELL_WEIGHT
        acting[is_spell, spells[is_spell]] += SPELL_WEIGHT
        return self._drifted(acting, at), is_spell

    def _drifted(self, affinity: Floats, at: Ints) -> Floats:
        drift = self.simulation.drift
        if drift is None or drift.swap is None:
            return affinity
        first, second = swapped_categories(drift.swap)
        after = at >= microseconds(drift.start)
        affinity[after, first], affinity[after, second] = affinity[after, second], affinity[after, first]
        return affinity
