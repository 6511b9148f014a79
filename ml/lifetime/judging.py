"""Which method of forecasting spend serves: judged beside each other on a held-out period, by what was known before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ml.arrays import Floats
from ml.bootstrap import Interval, mean_interval
from ml.lifetime.forecasts import BLEND, PAST_RATE, SEED, Known, forecasts
from ml.lifetime.histories import spent_between

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_BUYERS = 50


@dataclass(frozen=True)
class Judged:
    """How each method did (``table``: method, mean_absolute_error, deviance, total_ratio) in the days before the moment.

    ``best``: the better blend, or trees or repeat buying where one of them is better than it beyond chance: over a horizon that
    nobody has seen yet, a blend errs less. ``gain``: deviance of the past rate less that of ``best``.
    """

    days: float
    customers: int
    table: pd.DataFrame
    best: str
    gain: Interval

    @property
    def serves(self) -> str:
        """``best`` where it is better than the past rate beyond chance, else the past rate."""
        return self.best if self.gain.low > 0 else PAST_RATE

    @property
    def reason(self) -> str:
        """The comparison in a sentence."""
        found = f"{self.gain.estimate:+.3f} deviance over {self.days:.0f} days, {self.gain.low:+.3f} to {self.gain.high:+.3f}"
        if self.serves == PAST_RATE:
            return f"the past rate serves until a model beats it: '{self.best}' is not better beyond chance ({found})"
        return f"'{self.best}' is better than the past rate beyond chance ({found})"

    @property
    def total_ratio(self) -> float:
        """Spend that the method which serves had expected of all, over what came."""
        return float(self.table.set_index("method")["total_ratio"][self.serves])


def judge(known: Known, horizon_days: float) -> Judged:
    """Forecast the newest days, as many as the horizon but at most a third of the history, by what was known before them.

    The deviance is Tweedie's of power 1.5, in the square root of the currency: it is lowest in expectation for the true mean,
    which an absolute error is not (Gneiting, Making and Evaluating Point Forecasts, 2011), and large buyers weigh less than by
    squares. Raises ``ValueError`` where fewer than ``LEAST_BUYERS`` bought in these days, or there is too little to learn from.
    """
    days = known.learned_days(horizon_days)
    start = known.moment - timedelta(days=days)
    before = replace(known, moment=start, history_days=known.history_days - days)
    customers = before.histories(before.learned_days(days), known.every)
    real = customers["customer_id"].map(spent_between(known.connection, start, known.moment, known.moment)).fillna(0)
    if (real > 0).sum() < LEAST_BUYERS:
        raise ValueError(
            f"{int((real > 0).sum())} of the customers known before bought in the {days:.0f} days that judge; "
            f"{LEAST_BUYERS} are needed"
        )
    return _judged(days, forecasts(before, customers, days), np.asarray(real, dtype=np.float64))


def deviances(expected: Floats, real: Floats) -> Floats:
    """Tweedie deviance of power 1.5 of each row; expectations are at least a ten thousandth of the mean, returns are 0."""
    real = np.maximum(real, 0)
    mean = np.sqrt(np.maximum(expected, real.mean() * 1e-4))
    return np.asarray(4 * (real / mean + mean - 2 * np.sqrt(real)), dtype=np.float64)


def _judged(days: float, expected: Mapping[str, Floats], real: Floats) -> Judged:
    losses = {name: deviances(values, real) for name, values in expected.items()}
    table = pd.DataFrame(
        {
            "method": name,
            "mean_absolute_error": float(np.abs(values - real).mean()),
            "deviance": float(losses[name].mean()),
            "total_ratio": float(values.sum() / real.sum()),
        }
        for name, values in expected.items()
    )
    models = [name for name in losses if name != PAST_RATE]
    blend, single = (
        min((name for name in models if name.startswith(BLEND) == is_blend), key=lambda name: float(losses[name].mean()))
        for is_blend in (True, False)
    )
    best = single if mean_interval(losses[blend] - losses[single], SEED).low > 0 else blend
    return Judged(days, len(real), table, best, mean_interval(losses[PAST_RATE] - losses[best], SEED))


def draw_total_ratios(axes: Axes, rows: pd.DataFrame) -> None:
    """The spend that each method had expected of all customers over what came; ``rows``: ``lifetime_backtest``."""
    names = [f"{method}, {days:.0f} days" for method, days in zip(rows["method"], rows["horizon_days"], strict=True)]
    axes.barh(names[::-1], rows["total_ratio"][::-1], height=0.6)
    axes.axvline(1, linewidth=1)
    axes.set_xlabel("expected spend of all customers over what came")
