"""The linear and the integer program over the options of chosen customers, by HiGHS (https://highs.dev) through scipy.

HiGHS is deterministic: no time limits here, only limits of nodes.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array

from ml.arrays import Floats, Integers
from ml.planning.allocation.problem import Prices, Problem

MOST_NODES = 2_000
# Limits are loosened by this amount to compute their marginal value. Above HiGHS's tolerance, below half a contact.
MORE = 1e-3
_TOLERANCES = {"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-10}


class SolverError(RuntimeError):
    """HiGHS gave up on a program that has a solution: doing nothing is always allowed."""


@dataclass(frozen=True)
class Columns:
    """Single choices: ``customer`` (row of the problem) takes ``option``, at ``value``. ``left``: what they may still use."""

    customer: Integers
    option: Integers
    value: Floats
    capacity: Floats
    budget: float
    units: Integers

    @classmethod
    def of(cls, problem: Problem, rows: Integers, taken: Integers | None = None, least: Floats | None = None) -> Columns:
        """The options of ``rows`` that are worth something (above ``least``, by customer and option, where given).

        ``taken``: the choice of all customers; what the others have is not left.
        """
        values = problem.value[rows]
        place, option = np.nonzero(np.isfinite(values) & (values > 0 if least is None else values >= least))
        capacity, budget = problem.capacity, problem.budget_units
        if taken is not None:
            others = taken.copy()
            others[rows] = -1
            counts, spent = problem.used(others)
            capacity, budget = capacity - counts, budget - spent
        return cls(rows[place], option, values[place, option], capacity, budget, problem.units)

    @property
    def is_possible(self) -> bool:
        """Whether the others have left something of every limit, or just used it up."""
        return bool((self.capacity >= 0).all() and self.budget >= 0)


def _program(columns: Columns, more: float) -> tuple[csr_array, Floats, Integers]:
    """Rows of the customers, of the limited options and of the budget: left-hand sides, limits, and the limited options."""
    customers, place = np.unique(columns.customer, return_inverse=True)
    limited = np.flatnonzero(np.isfinite(columns.capacity))
    row_of_option = np.full(len(columns.capacity), -1)
    row_of_option[limited] = len(customers) + np.arange(len(limited))
    number = np.arange(len(columns.customer))
    option_row = row_of_option[columns.option]
    has_row = option_row >= 0
    rows, cols = [place, option_row[has_row]], [number, number[has_row]]
    entries = [np.ones(len(number)), np.ones(int(has_row.sum()))]
    limits = [np.ones(len(customers)), columns.capacity[limited] + more]
    if np.isfinite(columns.budget):
        rows.append(np.full(len(number), len(customers) + len(limited)))
        cols.append(number)
        entries.append(columns.units[columns.option].astype(np.float64))
        limits.append(np.array([columns.budget + more * max(int(columns.units.max(initial=1)), 1)]))
    bound = np.concatenate(limits)
    matrix = csr_array((np.concatenate(entries), (np.concatenate(rows), np.concatenate(cols))), shape=(len(bound), len(number)))
    return matrix, bound, limited


def relax(columns: Columns, more: float = 0.0) -> tuple[Floats, Prices]:
    """The linear program: the share of each column, and the prices. ``more``: how much every limit is loosened."""
    options = len(columns.capacity)
    if not len(columns.customer):
        return np.zeros(0), Prices(0.0, np.zeros(options))
    matrix, bound, limited = _program(columns, more)
    scale = float(np.abs(columns.value).max()) or 1.0
    found = linprog(-columns.value / scale, A_ub=matrix, b_ub=bound, bounds=(0, None), method="highs", options=_TOLERANCES)
    if found.x is None:
        raise SolverError(f"HiGHS on {len(columns.customer):,} columns: {found.message}")
    duals = np.maximum(-np.asarray(found.ineqlin.marginals), 0.0) * scale
    first = matrix.shape[0] - len(limited) - int(np.isfinite(columns.budget))
    capacity = np.zeros(options)
    capacity[limited] = duals[first : first + len(limited)]
    return np.asarray(found.x, dtype=np.float64), Prices(float(duals[-1]) if np.isfinite(columns.budget) else 0.0, capacity)


def integer(columns: Columns) -> tuple[Floats, float]:
    """The integer program: which columns are taken, and a bound on what any choice of them is worth."""
    if not len(columns.customer):
        return np.zeros(0), 0.0
    matrix, bound, _ = _program(columns, 0.0)
    scale = float(np.abs(columns.value).max()) or 1.0
    with _silenced_stdout():
        found = milp(
            -columns.value / scale,
            integrality=np.ones(len(columns.value)),
            bounds=Bounds(0, 1),
            constraints=LinearConstraint(matrix, -np.inf, bound),
            options={"mip_rel_gap": 0.0, "node_limit": MOST_NODES},
        )
    if found.x is None:
        raise SolverError(f"HiGHS on {len(columns.customer):,} columns: {found.message}")
    return np.rint(found.x), float(-found.mip_dual_bound * scale)


@contextmanager
def _silenced_stdout() -> Iterator[None]:
    """Discard what C code of this process prints meanwhile.

    The HiGHS of scipy 1.17 prints a line for each solution that it repairs, whatever its options say (jump-dev/HiGHS.jl#312).
    HiGHS 1.16 does not, but takes 1.4 times the CPU time of these programs.
    """
    sys.stdout.flush()
    with Path(os.devnull).open("wb") as devnull:
        stdout = os.dup(1)
        os.dup2(devnull.fileno(), 1)
        try:
            yield
        finally:
            ctypes.CDLL(None).fflush(None)  # else the line stays in the buffer of C, and comes when the process ends
            os.dup2(stdout, 1)
            os.close(stdout)
