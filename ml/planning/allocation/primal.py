"""From prices to an allocation: each customer takes the best open option, in the order of the loss by the next best."""

from __future__ import annotations

import numpy as np

from ml.arrays import Floats, Integers
from ml.planning.allocation.problem import NOBODY, Prices, Problem


def at_prices(problem: Problem, prices: Prices) -> Integers:
    """A choice within all limits.

    In each round customers ask for the best of the open options at these prices, if it is worth more than its price; where more
    ask than there is room, those whose next best option is worst have it. What is left at the end goes to those who bring most
    for their money.
    """
    charge = prices.charge(problem)
    chosen = np.full(len(problem.value), NOBODY, dtype=np.int64)
    room = problem.capacity.copy()
    money = problem.budget_units
    reduced = problem.value - charge
    waiting = np.flatnonzero((reduced > 0).any(axis=1))
    while len(waiting):
        is_open = (room > 0) & (problem.units <= money)
        offers = np.where(is_open, reduced[waiting], -np.inf)
        best = offers.argmax(axis=1)
        gain = offers[np.arange(len(waiting)), best]
        waiting, best, gain, offers = waiting[gain > 0], best[gain > 0], gain[gain > 0], offers[gain > 0]
        if not len(waiting):
            break
        second = np.partition(offers, -2, axis=1)[:, -2] if offers.shape[1] > 1 else np.full(len(waiting), -np.inf)
        loss = gain - np.maximum(second, 0.0)
        order = np.lexsort((waiting, -gain, -loss))
        place = _place_in_option(best[order])
        taken = order[place < room[best[order]]]
        cost = np.cumsum(problem.units[best[taken]])
        taken = taken[cost <= money]
        if not len(taken):
            break
        chosen[waiting[taken]] = best[taken]
        counts = np.bincount(best[taken], minlength=len(room))
        room, money = room - counts, money - int(counts @ problem.units)
        waiting = np.delete(waiting, taken)
    return _with_leftovers(problem, chosen, room, money)


def _with_leftovers(problem: Problem, chosen: Integers, room: Floats, money: float) -> Integers:
    """Give customers without an option one that fits into what is left, in descending order of value per cost."""
    while True:
        is_open = (room > 0) & (problem.units <= money)
        free = np.flatnonzero(chosen == NOBODY)
        offers = np.where(is_open, problem.value[free], -np.inf)
        density = offers / np.maximum(problem.units, 1)
        best = density.argmax(axis=1) if len(free) else np.zeros(0, dtype=np.int64)
        gain = offers[np.arange(len(free)), best]
        is_worth = gain > 0
        if not is_worth.any():
            return chosen
        rows, options = free[is_worth], best[is_worth]
        order = np.lexsort((rows, -density[is_worth][np.arange(len(rows)), options]))
        place = _place_in_option(options[order])
        taken = order[place < room[options[order]]]
        taken = taken[np.cumsum(problem.units[options[taken]]) <= money]
        if not len(taken):
            return chosen
        chosen[rows[taken]] = options[taken]
        counts = np.bincount(options[taken], minlength=len(room))
        room, money = room - counts, money - int(counts @ problem.units)


def _place_in_option(options: Integers) -> Integers:
    """For each entry, the number of earlier entries with the same option."""
    order = np.argsort(options, kind="stable")
    ordered = options[order]
    starts = np.searchsorted(ordered, ordered, side="left")
    place = np.empty(len(options), dtype=np.int64)
    place[order] = np.arange(len(options)) - starts
    return place
