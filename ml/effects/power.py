"""Sample sizes that detect an effect with a power of 80%, by the interval that results use.

An effect is found where Newcombe's 95% interval leaves 0 out: its bound on the side of 0 is worked out for the difference that
four draws out of five exceed, by the normal approximation. The textbook size for two shares (Fleiss, Levin and Paik, 2003,
chapter 4) supposes a symmetric interval: of a small holdout it is too small, and found 4% against 6% in 70% of draws, not 80%.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import optimize, stats

from ml.effects.lift import wilson

POWER = 0.8
MOST = 10**10  # customers; a larger size counts as impossible
_Z = float(stats.norm.ppf(POWER))


def customers_needed(base_rate: float, effect: float, holdout_share: float) -> int | None:
    """Customers of both arms together, of whom ``holdout_share`` are held out, to find ``effect`` (a difference of shares).

    None where no number would do: no effect, nobody or everybody held out, or no such rates.
    """
    if not 0 < holdout_share < 1 or not _is_possible(base_rate, effect):
        return None
    return _least(lambda size: _surplus(base_rate, effect, size * (1 - holdout_share), size * holdout_share))


def holdout_needed(base_rate: float, effect: float, contacts: int) -> int | None:
    """Customers to hold out beside ``contacts`` to find ``effect``; None where no holdout is large enough."""
    if contacts < 1 or not _is_possible(base_rate, effect):
        return None
    return _least(lambda size: _surplus(base_rate, effect, contacts, size))


def detectable_effect(base_rate: float, contacts: int, holdouts: int) -> float | None:
    """The smallest rise above ``base_rate`` that these arms detect; None where a rate of 1 among the contacted is too small."""
    most = 1 - base_rate
    if contacts < 1 or holdouts < 1 or most <= 0 or _surplus(base_rate, most, contacts, holdouts) <= 0:
        return None
    return float(optimize.brentq(lambda effect: _surplus(base_rate, effect, contacts, holdouts), 1e-12, most))


def _is_possible(base_rate: float, effect: float) -> bool:
    return bool(effect) and 0 <= base_rate <= 1 and 0 <= base_rate + effect <= 1


def _surplus(base_rate: float, effect: float, contacts: float, holdouts: float) -> float:
    """Distance from 0 to the interval's bound at the 20th percentile of the difference; it grows with either arm.

    The deviation is divided between the arms in proportion to their variances: most of it falls on the smaller holdout.
    """
    variances = [max(rate * (1 - rate), 0.0) / size for rate, size in ((base_rate + effect, contacts), (base_rate, holdouts))]
    spread = math.sqrt(sum(variances))
    towards = math.copysign(_Z / spread, effect) if spread else 0.0
    rate = min(max(base_rate + effect - towards * variances[0], 0.0), 1.0)
    base = min(max(base_rate + towards * variances[1], 0.0), 1.0)
    low, high = wilson(rate * contacts, contacts)
    base_low, base_high = wilson(base * holdouts, holdouts)
    half = math.hypot(rate - low, base_high - base) if effect > 0 else math.hypot(high - rate, base - base_low)
    return math.copysign(1, effect) * (rate - base) - half


def _least(surplus: Callable[[float], float]) -> int | None:
    """The least whole number at which ``surplus`` is not below 0."""
    high = 1
    while surplus(high) < 0:
        high *= 2
        if high > MOST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if surplus(middle) < 0 else (low, middle)
    return high
