"""The best allocation: one integer program where it is small; else by prices, with linear programs over the closest calls.

Beyond ``EXACT_COLUMNS`` choices, prices come from the dual of the linear program over all customers, and with them a bound
that no allocation exceeds (weak duality; Fisher, The Lagrangian relaxation method for solving integer programming problems,
1981). At these prices customers choose among what is open. Then, until the allocation is close enough to the bound, those who
lost most by that choice, and those whose best options are nearly alike, choose once more together, the others keeping theirs.
"""

from __future__ import annotations

import numpy as np

from ml.planning.allocation.dual import dual_prices
from ml.planning.allocation.primal import at_prices
from ml.planning.allocation.problem import NOBODY, Allocation, Floats, Integers, Prices, Problem
from ml.planning.allocation.programs import MORE, Columns, integer, relax

EXACT_COLUMNS = 4_000
SAMPLE, CLOSE, SPLIT = 1_000, 1_500, 60
MOST_ROUNDS = 8
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
    some = rows[:: max(len(rows) // sample, 1)]
    share = len(some) / len(rows)
    part = Problem(problem.value, problem.cost, problem.capacity * share, problem.budget)
    columns = Columns.of(part, some)
    smaller = Columns(columns.customer, columns.option, columns.value, columns.capacity, columns.budget * share, columns.units)
    return relax(smaller)[1]


def _closest(problem: Problem, rows: Integers, chosen: Integers, prices: Prices, count: int) -> Integers:
    """Half of them lost most against their best option at these prices, half had the closest calls."""
    reduced = np.column_stack([np.zeros(len(rows)), problem.value[rows] - prices.charge(problem)])
    ordered = np.partition(reduced, -2, axis=1)
    lost = ordered[:, -1] - reduced[np.arange(len(rows)), chosen[rows] + 1]
    by_loss = np.argsort(-lost, kind="stable")[: count // 2]
    by_margin = np.argsort(ordered[:, -1] - ordered[:, -2], kind="stable")[: count - len(by_loss)]
    return rows[np.union1d(by_loss[lost[by_loss] > 0], by_margin)]


def _choose_again(problem: Problem, chosen: Integers, some: Integers) -> Integers:
    """The best choice of ``some``, the others keeping theirs: a linear program, and an integer one for those whom it splits."""
    columns = Columns.of(problem, some, chosen)
    shares, _ = relax(columns)
    kept = chosen.copy()
    kept[some] = NOBODY
    whole = _take(kept, columns, shares)
    split = np.setdiff1d(columns.customer[(shares > 1e-6) & (shares < 1 - 1e-6)], some[whole[some] != NOBODY])
    rest = np.union1d(split, some[whole[some] == NOBODY][:SPLIT])
    whole[rest] = NOBODY
    left = Columns.of(problem, rest, whole)
    taken, _ = integer(left)
    found = _take(whole, left, taken)
    return found if problem.worth(found) > problem.worth(chosen) else chosen


def _take(chosen: Integers, columns: Columns, taken: Floats) -> Integers:
    result = chosen.copy()
    wanted = taken > 1 - 1e-6
    result[columns.customer[wanted]] = columns.option[wanted]
    return result


def _allocation(problem: Problem, chosen: Integers, bound: float, prices: Prices, method: str) -> Allocation:
    if not problem.is_allowed(chosen):
        raise AssertionError("the allocation breaks a limit")
    return Allocation(chosen, problem.worth(chosen), bound, prices, "exact" if method == "exact" else "prices")
