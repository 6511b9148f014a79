"""Intervals by resampling rows (Efron and Tibshirani, An Introduction to the Bootstrap, 1993), always with a seed.

The rows of a cut-off are one customer each, so rows are what is drawn; rows of several cut-offs are drawn by customer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.arrays import Floats, Integers, Texts

RESAMPLES = 1_000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% bounds."""

    estimate: float
    low: float
    high: float


def resamples(rows: int, count: int, seed: int) -> Iterator[Integers]:
    """``count`` times the numbers of as many rows, drawn with replacement."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        yield generator.integers(0, rows, rows)


def mean_interval(values: Floats, seed: int, count: int = RESAMPLES) -> Interval:
    """The mean of ``values``; of paired differences, that of their difference."""
    drawn = [float(values[rows].mean()) for rows in resamples(len(values), count, seed)]
    return interval(float(values.mean()), np.array(drawn))


def clustered_mean_interval(values: Floats, clusters: Texts, seed: int, count: int = RESAMPLES) -> Interval:
    """The mean of ``values``, rows of a cluster drawn together: a customer's are alike (Cameron and Miller, 2015)."""
    codes, names = pd.factorize(clusters)
    sums, rows = np.bincount(codes, values, minlength=len(names)), np.bincount(codes, minlength=len(names))
    drawn = [float(sums[chosen].sum() / rows[chosen].sum()) for chosen in resamples(len(names), count, seed)]
    return interval(float(values.mean()), np.array(drawn))


def measured_intervals(
    measure: Callable[[Integers], dict[str, float]], rows: int, seed: int, count: int
) -> dict[str, Interval]:
    """Each figure of ``measure``, which is given row numbers."""
    estimates = measure(np.arange(rows))
    drawn = [measure(chosen) for chosen in resamples(rows, count, seed)]
    return {name: interval(value, np.array([figures[name] for figures in drawn])) for name, value in estimates.items()}


def interval(estimate: float, drawn: Floats) -> Interval:
    """The basic interval (Davison and Hinkley, Bootstrap Methods and their Application, 1997, 5.2): resamples mirrored.

    A measure that noise makes larger, such as a calibration error, is larger still in every resample; mirrored, that is undone.
    """
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(estimate, float(2 * estimate - high), float(2 * estimate - low))
