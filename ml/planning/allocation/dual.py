"""Prices of the limits: the dual of the linear program over all customers, by cutting planes.

At given prices every customer takes the best option by itself, so that the value of the dual and the direction in which it
falls come from one pass over all values. Kelley's cutting planes (Kelley 1960) put the passes together; a box around the best
prices so far, which shrinks when a step fails, keeps the steps from oscillating. Deterministic; ties between many customers do
not slow it.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from ml.arrays import Floats, Integers
from ml.planning.allocation.problem import Prices, Problem

MOST_PASSES = 150
ENOUGH = 1e-5  # relative to the bound
SERIOUS, GROWS, SHRINKS = 0.1, 1.5, 0.8
CONSTRAINED = 1e-12


def dual_prices(problem: Problem, start: Prices) -> tuple[Prices, float]:
    """Prices near those at which the bound is least, and that bound. ``start``: where to begin."""
    limited = np.flatnonzero(np.isfinite(problem.capacity))
    has_budget = np.isfinite(problem.budget_units)
    limits = np.concatenate([problem.capacity[limited], [problem.budget_units] if has_budget else []])
    best = np.concatenate([start.capacity[limited], [start.budget] if has_budget else []])
    value, slope = _at(problem, _prices(problem, best, limited), limited, limits)
    cuts = [(value, slope, best)]
    width = np.maximum(np.abs(best), float(np.abs(best).max(initial=0.0)) * 0.1 + CONSTRAINED)
    for _ in range(MOST_PASSES):
        tried, promised = _lowest(cuts, best, width)
        if value - promised <= ENOUGH * abs(value):
            break
        found, direction = _at(problem, _prices(problem, tried, limited), limited, limits)
        cuts.append((found, direction, tried))
        is_good = found < value - SERIOUS * (value - promised)
        width = width * (GROWS if is_good else SHRINKS)
        if found < value:
            value, best = found, tried
    return _prices(problem, best, limited), value


def _prices(problem: Problem, point: Floats, limited: Integers) -> Prices:
    capacity = np.zeros(len(problem.cost))
    capacity[limited] = point[: len(limited)]
    return Prices(float(point[len(limited)]) if len(point) > len(limited) else 0.0, capacity)


def _at(problem: Problem, prices: Prices, limited: Integers, limits: Floats) -> tuple[float, Floats]:
    """The bound at these prices, and how it changes with each: what the limit allows less what is asked for."""
    reduced = problem.value - prices.charge(problem)
    choice = reduced.argmax(axis=1)
    gain = reduced[np.arange(len(choice)), choice]
    counts = np.bincount(choice[gain > 0], minlength=len(problem.cost))
    has_budget = len(limits) > len(limited)
    asked = np.concatenate([counts[limited], [float(counts @ problem.units)] if has_budget else []])
    point = np.concatenate([prices.capacity[limited], [prices.budget] if has_budget else []])
    return float(gain[gain > 0].sum() + point @ limits), np.asarray(limits - asked, dtype=np.float64)


def _lowest(cuts: list[tuple[float, Floats, Floats]], centre: Floats, width: Floats) -> tuple[Floats, float]:
    """The minimum of the cuts' maximum within the box around ``centre``: the point and its value."""
    slopes = np.array([slope for _, slope, _ in cuts])
    heights = np.array([value - slope @ point for value, slope, point in cuts])
    scale = np.maximum(np.abs(slopes).max(axis=0), 1.0)
    size = max(float(np.abs(heights).max()), 1.0)
    # Variables are prices times scale over size, and the height over size: of the order of one.
    found = linprog(
        np.append(np.zeros(len(centre)), 1.0),
        A_ub=np.column_stack([slopes / scale, -np.ones(len(cuts))]),
        b_ub=-heights / size,
        bounds=[
            *zip(np.maximum(centre - width, 0.0) * scale / size, (centre + width) * scale / size, strict=True),
            (None, None),
        ],
        method="highs",
    )
    if found.x is None:
        return centre, cuts[0][0]
    return np.maximum(found.x[:-1] * size / scale, 0.0), float(found.x[-1] * size)
