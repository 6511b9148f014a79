"""The best allocation: one integer program where it is small; else prices, and integer programs only at their margin.

Beyond ``EXACT_COLUMNS`` choices, prices come from the linear program of a sample. Customers whose best option at these prices
is clearly better than their second are fixed to it; the linear program of the others, the core, gives better prices, until what
every customer is worth at them (the Lagrangian bound, Fisher 1981) meets what the allocation is worth. The linear program
splits at most one customer a limit; an integer program over the closest calls settles them.
"""

from __future__ import annotations

import numpy as np

from ml.planning.allocation.problem import NOBODY, Allocation, Floats, Integers, Prices, Problem
from ml.planning.allocation.programs import MORE, Columns, integer, relax

EXACT_COLUMNS = 4_000
SAMPLE, CORE, CLOSE_CALLS = 2_000, 3_000, 60
MOST_ROUNDS = 6
ENOUGH = 1e-6


def allocate(problem: Problem, *, exact_columns: int = EXACT_COLUMNS, sample: int = SAMPLE, core: int = CORE) -> Allocation:
    """The allocation of the highest total value within all limits, with its gap and the price of each limit.

    Deterministic. The order of customers decides which of equal ones are taken, so sort them. With ``exact_columns`` 0 the path
    of large problems is taken; ``sample`` and ``core`` are its customers.
    """
    usable = problem.value > 0
    rows = np.flatnonzero(usable.any(axis=1))
    chosen = np.full(len(problem.value), NOBODY, dtype=np.int64)
    if not len(rows):
        return Allocation(chosen, 0.0, 0.0, Prices(0.0, np.zeros(len(problem.cost))), "exact")
    if int(usable.sum()) <= exact_columns:
        return _exact(problem, rows, chosen)
    return _by_prices(problem, rows, chosen, sample, core)


def _exact(problem: Problem, rows: Integers, chosen: Integers) -> Allocation:
    columns = Columns.of(problem, rows)
    _, prices = relax(columns, MORE)
    taken, bound = integer(columns)
    chosen = _take(problem, chosen, columns, taken)
    return _allocation(problem, chosen, min(bound, prices.bound(problem)), prices, "exact")


def _by_prices(problem: Problem, rows: Integers, chosen: Integers, sample: int, core: int) -> Allocation:
    best = _start(problem, rows, sample)
    # The prices of a small core can be worse than those it began with; then it begins with those again.
    bound, top, size = best.bound(problem), -np.inf, core
    closest: Integers = rows
    solution, start = chosen, best
    for _ in range(MOST_ROUNDS):
        near, fixed, columns = _core(problem, rows, start, size)
        shares, found = relax(columns)
        trial = _take(problem, fixed, columns, np.asarray(shares > 1 - 1e-6, dtype=np.float64))
        value = problem.worth(fixed) + float(shares @ columns.value)
        reached = found.bound(problem)
        if value > top:
            top, solution, closest = value, trial, near
        if reached < bound:
            bound, best = reached, found
        if bound - top <= ENOUGH * abs(bound) or len(near) == len(rows):
            break
        start, size = best, size * 2
    _, prices = relax(_core(problem, rows, best, size)[2], MORE)
    if prices.bound(problem) > bound + ENOUGH * abs(bound):
        prices = best
    solution = _settle(problem, rows, solution, closest, best)
    return _allocation(problem, solution, bound, prices, "prices")


def _start(problem: Problem, rows: Integers, sample: int) -> Prices:
    """Prices from every n-th customer, at the same share of the limits."""
    some = rows[:: max(len(rows) // sample, 1)]
    share = len(some) / len(rows)
    part = Problem(problem.value, problem.cost, problem.capacity * share, problem.budget)
    columns = Columns.of(part, some)
    smaller = Columns(columns.customer, columns.option, columns.value, columns.capacity, columns.budget * share, columns.units)
    return relax(smaller)[1]


def _core(problem: Problem, rows: Integers, prices: Prices, size: int) -> tuple[Integers, Integers, Columns]:
    """The ``size`` customers whose choice at these prices is closest, everybody else's choice, and the core's columns.

    More than ``size`` where the choices of the others would break a limit.
    """
    charge = prices.charge(problem)
    reduced = np.column_stack([np.zeros(len(rows)), problem.value[rows] - charge])
    first = reduced.argmax(axis=1)
    ordered = np.partition(reduced, -2, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    order = np.argsort(margin, kind="stable")
    while True:
        near = np.sort(order[:size])
        fixed = np.full(len(problem.value), NOBODY, dtype=np.int64)
        fixed[rows] = first - 1
        fixed[rows[near]] = NOBODY
        # Options that are worse by more than the margin of the last of the core decide no more than those beyond the core.
        width = 2 * margin[order[min(size, len(order)) - 1]]
        least = charge + (ordered[near, -1] - width)[:, None] if size < len(rows) else None
        columns = Columns.of(problem, rows[near], fixed, least)
        if columns.is_possible or size >= len(rows):
            return rows[near], fixed, columns
        size *= 2


def _settle(problem: Problem, rows: Integers, chosen: Integers, near: Integers, prices: Prices) -> Integers:
    """Choose once more, in whole numbers, for the customers with the closest calls and those who could still be taken."""
    charge = prices.charge(problem)
    reduced = np.column_stack([np.zeros(len(near)), problem.value[near] - charge])
    mine = reduced[np.arange(len(near)), chosen[near] + 1]
    rest = np.partition(reduced, -2, axis=1)
    # Who was split has nothing and would gain; then the smallest difference between the best and the second.
    loss = np.where(rest[:, -1] > mine, mine - rest[:, -1], rest[:, -1] - rest[:, -2])
    some = np.sort(near[np.argsort(loss, kind="stable")[: CLOSE_CALLS + len(problem.cost)]])
    columns = Columns.of(problem, some, chosen)
    taken, _ = integer(columns)
    kept = chosen.copy()
    kept[some] = NOBODY
    again = _take(problem, kept, columns, taken)
    return again if problem.worth(again) > problem.worth(chosen) else chosen


def _take(problem: Problem, chosen: Integers, columns: Columns, taken: Floats) -> Integers:
    result = chosen.copy()
    wanted = taken > 0.5
    result[columns.customer[wanted]] = columns.option[wanted]
    return result


def _allocation(problem: Problem, chosen: Integers, bound: float, prices: Prices, method: str) -> Allocation:
    if not problem.is_allowed(chosen):
        raise AssertionError("the allocation breaks a limit")
    return Allocation(chosen, problem.worth(chosen), bound, prices, "exact" if method == "exact" else "prices")
