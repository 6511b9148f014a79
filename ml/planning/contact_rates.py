"""Conversion by channel x weekday x daypart, learned from past touches: everyone, then the segment, then the customer.

It starts from what is expected of each customer before any touch is seen, which counts as so many touches. Each layer starts
from what the layer above expects of exactly the touches that a group had: a group which only ever got calls is compared with
calls. The group's level, its channels, its weekdays, its dayparts and (for everyone and for segments) its single combinations
are then shrunk one after the other, each by a strength of its own, and kept as shifts of the log-odds. A touch of which a
dimension is unknown counts for the others.

Past touches were not randomised, so a difference between combinations is an association, not an effect. The holdout measures
the effect of contacts.

Shrinkage is empirical Bayes by the beta-binomial model: group j has c_j successes in n_j trials, and its rate is Beta with mean
m_j (what the layer above expects) and strength s, counted in trials. The posterior mean is (c + s m) / (n + s). s comes from
the data by the method of moments (Kleinman, Proportions with extraneous variance, JASA 1973; Williams, Extra-binomial
variation, Applied Statistics 1982): Pearson's X2 = sum (c - n m)^2 / (n m (1 - m)) has expectation sum (1 + (n - 1) rho) with
rho = 1 / (s + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special
from scipy.special import expit

from ml.arrays import Booleans, Floats, Integers

DIMENSIONS = ("channel", "day", "daypart")
UNKNOWN = -1
# A prior below 1 trial has no weight, above 10,000 it has all. Groups that differ by chance alone get the upper bound.
STRENGTH_BOUNDS = (1.0, 10_000.0)
_EDGE = 1e-6


@dataclass(frozen=True)
class Touches:
    """Past touches as indices. ``values[d]`` is the place on dimension d (channel, weekday, daypart), -1 where unknown."""

    customer: Integers
    segment: Integers
    values: tuple[Integers, Integers, Integers]
    converted: Floats


@dataclass(frozen=True)
class ResponsePrior:
    """What is expected of a contact before any was seen: by customer, and how many contacts that is worth.

    With the defaults every contact converts in half of the cases, and that counts as one contact (Jeffreys).
    """

    conversion: Floats
    strength: float = 1.0

    @property
    def mean(self) -> float:
        """Of all customers."""
        return float(self.conversion.mean()) if len(self.conversion) else 0.5

    @property
    def shifts(self) -> Floats:
        """Each customer's distance from the mean in log-odds."""
        return logit(self.conversion) - logit(np.array([self.mean]))

    @classmethod
    def unknown(cls, customers: int) -> ResponsePrior:
        """Nothing is expected."""
        return cls(np.full(customers, 0.5))


@dataclass(frozen=True)
class ContactRates:
    """Log-odds of conversion. ``segments``: segments x channels x 7 x dayparts; ``customer_*``: the customers' own shifts."""

    segments: Floats
    customer_level: Floats
    customer_shifts: tuple[Floats, Floats, Floats]
    strengths: dict[str, float]

    def log_odds(self, customers: Integers, segment: Integers) -> Floats:
        """Customers x channels x weekdays x dayparts."""
        channel, day, daypart = (shift[customers] for shift in self.customer_shifts)
        own = self.customer_level[customers][:, None, None, None] + channel[:, :, None, None]
        return np.asarray(self.segments[segment] + own + day[:, None, :, None] + daypart[:, None, None, :], dtype=np.float64)


def estimate_rates(touches: Touches, segments: int, shape: tuple[int, int, int], prior: ResponsePrior) -> ContactRates:
    """Fit the three layers. ``shape``: numbers of channels, weekdays and dayparts.

    The layers are fitted around the level of the touches. Then that level and all that was learned beside it are moved towards
    the prior, by its weight beside the touches; without touches each rate is the prior's.
    """
    strengths: dict[str, float] = {}
    before = prior.shifts[touches.customer]
    expected, converted = float(prior.conversion[touches.customer].sum()), float(touches.converted.sum())
    seen = logit(np.array([prior.mean * (converted + 0.5) / (expected + 0.5)]))[0]
    table = np.full((1, *shape), seen)
    group_of_table = nobody = np.zeros(len(touches.customer), dtype=np.int64)
    for name, group, groups in (("everyone", nobody, 1), ("segment", touches.segment, segments)):
        fit = _Layer(name, touches, group, groups, shape=shape, strengths=strengths)
        level, shifts = fit.marginals(_expected(table, group_of_table, touches.values, before))
        table = table + level[:, None, None, None] + _spread(shifts)
        table = table + fit.cells(_expected(table, group, touches.values, before))
        group_of_table = group
    fit = _Layer("customer", touches, touches.customer, len(prior.conversion), shape=shape, strengths=strengths)
    level, shifts = fit.marginals(_expected(table, touches.segment, touches.values, before))
    supposed, weight = prior.strength * prior.mean, len(touches.converted) / (len(touches.converted) + prior.strength)
    overall = logit(np.array([prior.mean * (converted + supposed) / (expected + supposed)]))[0]
    return ContactRates(
        overall + weight * (table - seen),
        prior.shifts + weight * level,
        (weight * shifts[0], weight * shifts[1], weight * shifts[2]),
        strengths,
    )


class _Layer:
    """One layer's shifts, each estimated on top of those before it."""

    def __init__(
        self,
        name: str,
        touches: Touches,
        group: Integers,
        groups: int,
        *,
        shape: tuple[int, int, int],
        strengths: dict[str, float],
    ) -> None:
        self.name, self.touches, self.group, self.groups = name, touches, group, groups
        self.shape, self.strengths = shape, strengths

    def marginals(self, expected: Floats) -> tuple[Floats, tuple[Floats, Floats, Floats]]:
        """Shifts of the level (groups) and of each dimension (groups x values)."""
        everything = np.ones(len(expected), dtype=bool)
        level = self._shift("level", self.group, self.groups, expected, everything)
        expected = expit(logit(expected) + level[self.group])
        shifts = []
        for name, values, size in zip(DIMENSIONS, self.touches.values, self.shape, strict=True):
            known = values != UNKNOWN
            cell = self.group * size + values
            flat = self._shift(name, cell, self.groups * size, expected, known)
            expected = np.where(known, expit(logit(expected) + flat[np.where(known, cell, 0)]), expected)
            shifts.append(flat.reshape(self.groups, size))
        return level, (shifts[0], shifts[1], shifts[2])

    def cells(self, expected: Floats) -> Floats:
        """Shifts of single combinations (groups x shape), from touches of which every dimension is known."""
        known = np.logical_and.reduce([values != UNKNOWN for values in self.touches.values])
        channel, day, daypart = self.touches.values
        cell = ((self.group * self.shape[0] + channel) * self.shape[1] + day) * self.shape[2] + daypart
        size = self.groups * int(np.prod(self.shape))
        return self._shift("combination", cell, size, expected, known).reshape(self.groups, *self.shape)

    def _shift(self, dimension: str, cell: Integers, size: int, expected: Floats, known: Booleans) -> Floats:
        trials = _sums(cell[known], np.ones(int(known.sum())), size)
        successes = _sums(cell[known], self.touches.converted[known], size)
        means = _sums(cell[known], expected[known], size) / np.maximum(trials, 1)
        strength = prior_strength(successes, trials, means)
        self.strengths[f"{self.name} {dimension}"] = strength
        shifted = logit(posterior_mean(successes, trials, means, strength)) - logit(means)
        return np.where(trials > 0, shifted, 0.0)


def _sums(cell: Integers, weights: Floats, size: int) -> Floats:
    return np.asarray(np.bincount(cell, weights=weights, minlength=size), dtype=np.float64)


def _spread(shifts: Sequence[Floats]) -> Floats:
    channel, day, daypart = shifts
    return channel[:, :, None, None] + day[:, None, :, None] + daypart[:, None, None, :]


def _expected(table: Floats, group: Integers, values: tuple[Integers, Integers, Integers], before: Floats) -> Floats:
    """The probability of each touch under ``table``, moved by ``before``; over an unknown dimension, the mean."""
    probability = expit(table)
    for axis in (1, 2, 3):
        probability = np.concatenate([probability, probability.mean(axis=axis, keepdims=True)], axis=axis)
    # -1, unknown, is the last place on each axis: the mean that was just appended.
    return np.asarray(expit(logit(probability[group, values[0], values[1], values[2]]) + before), dtype=np.float64)


def prior_strength(successes: Floats, trials: Floats, means: Floats) -> float:
    """The strength s in trials, within ``STRENGTH_BOUNDS``. Groups without trials are left out."""
    low, high = STRENGTH_BOUNDS
    used = trials > 0
    n, c, m = trials[used], successes[used], np.clip(means[used], _EDGE, 1 - _EDGE)
    spare = float((n - 1).sum())
    if spare <= 0:
        return high
    rho = (float(((c - n * m) ** 2 / (n * m * (1 - m))).sum()) - len(n)) / spare
    return high if rho <= 0 else min(max(1 / rho - 1, low), high)


def posterior_mean(successes: Floats, trials: Floats, means: Floats, strength: float) -> Floats:
    """(c + s m) / (n + s)."""
    return np.asarray((successes + strength * means) / (trials + strength), dtype=np.float64)


def logit(probability: Floats) -> Floats:
    """Log-odds, with probabilities kept within 1e-6 of 0 and 1."""
    return np.asarray(special.logit(np.clip(probability, _EDGE, 1 - _EDGE)), dtype=np.float64)
