"""The best allocation: one integer program where it is small; else by prices, with linear programs over the closest calls.

Beyond ``EXACT_COLUMNS`` choices, prices come from the dual of the linear program over all customers, and with them a bound
that no allocation exceeds (weak duality; Fisher, The Lagrangian relaxation method for solving integer programming problems,
1981). At these prices customers choose among what is open. Then, until the allocation is close enough to the bound, those who
lost most by that choice, and those whose best options are nearly alike, choose once more together, the others keeping theirs.
"""

from __future__ import annotations

import numpy as np

from ml.arrays import Floats, Integers
from ml.planning.allocation.dual import dual_prices
from ml.planning.allocation.primal import at_prices
from ml.planning.allocation.problem import NOBODY, Allocation, Prices, Problem
from ml.planning.allocation.programs import MORE, Columns, integer, relax

EXACT_COLUMNS = 4_000
SAMPLE, CORE, CLOSE, SPLIT = 1_000, 3_000, 1_500, 60
MOST_ROUNDS = 8
MOST_COLUMNS = 150_000  # HiGHS takes up to 20 s at this size, where customers are all alike; 1 s for 30,000
ENOUGH = 1e-4


def allocate(problem: Problem, *, exact_columns: int = EXACT_COLUMNS, sample: int = SAMPLE, close: int = CLOSE) -> Allocation:
    """The allocation of the highest total value within all limits, with its gap and the price of each limit.

    Deterministic. The order of customers decides which of equal ones are taken, so sort them. With ``exact_columns`` 0 the path
    of large problems is taken; ``sample`` customers say where prices begin, ``close`` choose again together.
    """
    usable = problem.value > 0
    rows = np.flatnonzero(usable.any(axis=1))
    chosen = np.full(len(problem.value), NOBODY, dtype=np.int64)
    if not len(rows):
        return Allocation(chosen, 0.0, 0.0, Prices(0.0, np.zeros(len(problem.cost))), "exact")
    if int(usable.sum()) <= exact_columns:
        return _exact(problem, rows, chosen)
    return _by_prices(problem, rows, sample, close)


def _exact(problem: Problem, rows: Integers, chosen: Integers) -> Allocation:
    columns = Columns.of(problem, rows)
    _, prices = relax(columns, MORE)
    taken, bound = integer(columns)
    chosen = _take(chosen, columns, taken)
    return _allocation(problem, chosen, min(bound, prices.bound(problem)), prices, "exact")


def _by_prices(problem: Problem, rows: Integers, sample: int, close: int) -> Allocation:
    prices, bound = dual_prices(problem, _start(problem, rows, sample))
    chosen = at_prices(problem, prices)
    if bound - problem.worth(chosen) > ENOUGH * bound:
        chosen = max(chosen, _with_core(problem, rows, prices, CORE), key=problem.worth)
    for _ in range(MOST_ROUNDS):
        worth = problem.worth(chosen)
        if bound - worth <= ENOUGH * bound:
            break
        again = _choose_again(problem, chosen, _closest(problem, rows, chosen, prices, close))
        if problem.worth(again) <= worth * (1 + ENOUGH / 10):
            chosen = again if problem.worth(again) > worth else chosen
            break
        chosen = again
    return _allocation(problem, chosen, bound, prices, "prices")


def _start(problem: Problem, rows: Integers, sample: int) -> Prices:
    """Prices from every n-th customer, at the same share of the limits."""
    sampled = rows[:: max(len(rows) // sample, 1)]
    share = len(sampled) / len(rows)
    part = Problem(problem.value, problem.cost, problem.capacity * share, problem.budget)
    columns = Columns.of(part, sampled)
    smaller = Columns(columns.customer, columns.option, columns.value, columns.capacity, columns.budget * share, columns.units)
    return relax(smaller)[1]


def _with_core(problem: Problem, rows: Integers, prices: Prices, core: int) -> Integers:
    """Everyone takes the best option at these prices, except a core of customers who lose least by another one.

    The core shares what the others leave.

    For each limit that binds or is broken, the core holds the customers who are closest to taking more or less of it, beside as
    many as it is off by: of equal customers, thousands may change sides. It grows until the others break no limit; where half
    of all customers would not do, or HiGHS would take too long, nobody is chosen.
    """
    charge = prices.charge(problem)
    reduced = np.column_stack([np.zeros(len(rows)), problem.value[rows] - charge])
    favourite = np.full(len(problem.value), NOBODY, dtype=np.int64)
    favourite[rows] = reduced.argmax(axis=1) - 1
    best = reduced.max(axis=1)
    changes = _changes(problem, prices, favourite, reduced)
    while changes and core <= max(len(rows) // 2, CORE):
        width = np.full(len(rows), -1.0)
        for change, off in changes:
            closest = np.argsort(change, kind="stable")[: core // len(changes) + 1 + off]
            closest = closest[np.isfinite(change[closest])]
            width[closest] = np.maximum(width[closest], change[closest])
        near = np.flatnonzero(width >= 0)
        least = charge + (best[near] - 2 * width[near])[:, None]
        columns = Columns.of(problem, rows[near], favourite, least)
        if len(columns.customer) > MOST_COLUMNS:
            break
        if columns.is_possible:
            return _choose(problem, favourite, rows[near], columns)
        core *= 2
    return np.full(len(problem.value), NOBODY, dtype=np.int64)


def _changes(problem: Problem, prices: Prices, favourite: Integers, reduced: Floats) -> list[tuple[Floats, int]]:
    """By limit that binds or is broken: what each customer loses by taking more or less of it, and the contacts it is off by.

    ``reduced``: customers x (nothing, then the options), at these prices.
    """
    counts, spent = problem.used(favourite)
    best = reduced.max(axis=1)
    first = reduced.argmax(axis=1)
    found = []
    for option in np.flatnonzero((prices.capacity > 0) | (counts > problem.capacity)):
        others = np.delete(reduced, option + 1, axis=1).max(axis=1)
        found.append((np.abs(reduced[:, option + 1] - others), abs(int(counts[option] - problem.capacity[option]))))
    if prices.budget > 0 or spent > problem.budget_units:
        units = np.append(0, problem.units)
        others = np.where(units == units[first][:, None], -np.inf, reduced).max(axis=1)
        least = int(units[units > 0].min(initial=spent + 1))
        found.append((best - others, int(abs(spent - problem.budget_units)) // least))
    return found


def _closest(problem: Problem, rows: Integers, chosen: Integers, prices: Prices, count: int) -> Integers:
    """Half of them lost most against their best option at these prices, half had the closest calls."""
    reduced = np.column_stack([np.zeros(len(rows)), problem.value[rows] - prices.charge(problem)])
    ordered = np.partition(reduced, -2, axis=1)
    lost = ordered[:, -1] - reduced[np.arange(len(rows)), chosen[rows] + 1]
    by_loss = np.argsort(-lost, kind="stable")[: count // 2]
    by_margin = np.argsort(ordered[:, -1] - ordered[:, -2], kind="stable")[: count - len(by_loss)]
    return rows[np.union1d(by_loss[lost[by_loss] > 0], by_margin)]


def _choose_again(problem: Problem, chosen: Integers, customers: Integers) -> Integers:
    """The best choice of these ``customers``, the others keeping theirs; the same choice where that is no better."""
    found = _choose(problem, chosen, customers, Columns.of(problem, customers, chosen))
    return found if problem.worth(found) > problem.worth(chosen) else chosen


def _choose(problem: Problem, chosen: Integers, customers: Integers, columns: Columns) -> Integers:
    """The choice of these ``customers`` among ``columns``: a linear program, and an integer one for those whom it splits."""
    shares, _ = relax(columns)
    kept = chosen.copy()
    kept[customers] = NOBODY
    rounded = _take(kept, columns, shares)
    split = np.setdiff1d(columns.customer[(shares > 1e-6) & (shares < 1 - 1e-6)], customers[rounded[customers] != NOBODY])
    undecided = np.union1d(split, customers[rounded[customers] == NOBODY][:SPLIT])
    rounded[undecided] = NOBODY
    open_columns = Columns.of(problem, undecided, rounded)
    taken, _ = integer(open_columns)
    return _take(rounded, open_columns, taken)


def _take(chosen: Integers, columns: Columns, taken: Floats) -> Integers:
    result = chosen.copy()
    is_taken = taken > 1 - 1e-6
    result[columns.customer[is_taken]] = columns.option[is_taken]
    return result


def _allocation(problem: Problem, chosen: Integers, bound: float, prices: Prices, method: str) -> Allocation:
    if not problem.is_allowed(chosen):
        raise AssertionError("the allocation breaks a limit")
    return Allocation(chosen, problem.worth(chosen), bound, prices, "exact" if method == "exact" else "prices")
