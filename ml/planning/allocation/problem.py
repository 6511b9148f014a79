"""The allocation problem and its solutions: at most one option a customer, within the capacities and the budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ml.arrays import Floats, Integers

NOBODY = -1
# Money counts in millionths of the currency: sums of whole numbers are exact, and so is a budget.
MILLIONTHS = 1_000_000


@dataclass(frozen=True)
class Problem:
    """``value``: customers x options, what each is worth net of its cost, -inf where it is not allowed.

    ``cost``: by option, what it takes of ``budget`` (inf: no limit). ``capacity``: by option, how many there may be (inf: any).
    """

    value: Floats
    cost: Floats
    capacity: Floats
    budget: float

    @cached_property
    def units(self) -> Integers:
        """Costs as multiples of ``unit``."""
        return np.asarray(np.rint(self.cost * MILLIONTHS).astype(np.int64) // self.unit_millionths, dtype=np.int64)

    @cached_property
    def unit_millionths(self) -> int:
        """The largest amount of which every cost is a multiple."""
        return max(math.gcd(*np.rint(self.cost * MILLIONTHS).astype(np.int64).tolist()), 1)

    @property
    def unit(self) -> float:
        """The same in the currency."""
        return self.unit_millionths / MILLIONTHS

    @cached_property
    def budget_units(self) -> float:
        """The budget in whole units; inf without a limit."""
        if math.isinf(self.budget):
            return math.inf
        return max(math.floor(round(self.budget * MILLIONTHS)) // self.unit_millionths, 0)

    def used(self, chosen: Integers) -> tuple[Integers, int]:
        """Contacts by option and units of money of a choice."""
        counts = np.bincount(chosen[chosen >= 0], minlength=len(self.cost)).astype(np.int64)
        return counts, int(counts @ self.units)

    def worth(self, chosen: Integers) -> float:
        """The total value of a choice."""
        rows = np.flatnonzero(chosen >= 0)
        return float(self.value[rows, chosen[rows]].sum())

    def is_allowed(self, chosen: Integers) -> bool:
        """Whether a choice keeps every limit."""
        rows = np.flatnonzero(chosen >= 0)
        counts, spent = self.used(chosen)
        return bool(
            np.isfinite(self.value[rows, chosen[rows]]).all() and (counts <= self.capacity).all() and spent <= self.budget_units
        )


@dataclass(frozen=True)
class Prices:
    """What one more of a limit would bring: ``budget`` a unit of money (``Problem.unit``), ``capacity`` a contact by option."""

    budget: float
    capacity: Floats

    def charge(self, problem: Problem) -> Floats:
        """What an option costs beside its own value, by option."""
        return np.asarray(self.budget * problem.units + self.capacity, dtype=np.float64)

    def bound(self, problem: Problem) -> float:
        """Upper bound on any choice's value (weak duality): limits at these prices, and each customer's best reduced value."""
        best = (problem.value - self.charge(problem)).max(axis=1, initial=0.0)
        limits = np.where(self.capacity > 0, problem.capacity, 0.0)
        spent = self.budget * problem.budget_units if self.budget > 0 else 0.0
        return float(best.sum() + self.capacity @ limits + spent)


@dataclass(frozen=True)
class Allocation:
    """``chosen``: the option of each customer, or -1. ``bound``: no allocation is worth more than that."""

    chosen: Integers
    value: float
    bound: float
    prices: Prices
    method: Literal["exact", "prices"]

    @property
    def gap(self) -> float:
        """How much more the best allocation could be worth at most, as a share of the bound."""
        return max(0.0, (self.bound - self.value) / self.bound) if self.bound > 0 else 0.0
