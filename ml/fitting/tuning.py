"""Boosting settings by random search in a time budget (Bergstra, Bengio: Random Search for Hyper-Parameter Optimization, 2012).

The best of many trials looks better than it is. So what choosing gains is measured on rows that had no part in it: for each
fifth of the tuning rows, the best by the others is compared with the present settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from ml.arrays import Floats
from ml.bootstrap import mean_interval
from ml.fitting.boosting_settings import BoostingSettings
from ml.fitting.calibration import FOLDS

DEPTHS = (3, 4, 5, 6)
# Drawn evenly on a logarithmic scale.
LEARNING_RATE = (0.03, 0.3)
L2_LEAF_REG = (1.0, 100.0)
RANDOM_STRENGTH = (0.1, 10.0)
SUBSAMPLE = (0.4, 1.0)
TREES = (100, 600)


@dataclass(frozen=True)
class Budget:
    """Seconds that a search may take, by ``clock``, which gives seconds from any beginning."""

    seconds: float
    clock: Callable[[], float]


class Trial(BaseModel):
    """Settings that were tried, their mean log loss on the tuning rows, and the seconds that it took."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: dict[str, float]
    log_loss: float
    seconds: float
    is_chosen: bool = False


@dataclass(frozen=True)
class Search:
    """The settings to train with, why, and every trial in its order; the first is that of the present settings."""

    chosen: BoostingSettings
    reason: str
    trials: tuple[Trial, ...]


def search(first: BoostingSettings, budget: Budget, seed: int, row_losses: Callable[[BoostingSettings], Floats]) -> Search:
    """Try ``first`` and then settings drawn by ``seed`` until the budget is spent; a trial that would overrun it is not begun.

    ``row_losses`` gives the log loss of each tuning row, in a fixed order, of a model with these settings that was not fitted
    on them. The best is chosen where the whole 95% interval of what choosing gains over ``first`` lies below 0. How many trials
    there are follows from the clock; which they are, from the seed.
    """
    started = budget.clock()
    tried: list[tuple[BoostingSettings, Floats, float]] = []
    for candidate in _candidates(first, seed):
        before = budget.clock()
        if tried and before - started + max(seconds for *_, seconds in tried) > budget.seconds:
            break
        tried.append((candidate, row_losses(candidate), budget.clock() - before))
    rows = np.stack([losses for _, losses, _ in tried])
    chosen, reason = int(rows.mean(axis=1).argmin()), f"none of {len(tried) - 1} other settings is better"
    if chosen:
        found = mean_interval(_gain_of_choosing(rows), seed)
        chosen = chosen if found.high < 0 else 0
        reason = (
            f"choosing the best of {len(tried) - 1} other settings is {'better' if chosen else 'not better'} beyond chance, on "
            f"rows that had no part in the choice: {found.estimate:+.4f} log loss, {found.low:+.4f} to {found.high:+.4f}"
        )
    trials = tuple(
        Trial(settings=_drawn(candidate), log_loss=float(losses.mean()), seconds=seconds, is_chosen=number == chosen)
        for number, (candidate, losses, seconds) in enumerate(tried)
    )
    return Search(tried[chosen][0], reason, trials)


def _gain_of_choosing(rows: Floats) -> Floats:
    """Trials x rows -> each row's loss by the best trial of the other folds, less that of the first trial."""
    fold = np.arange(rows.shape[1]) % FOLDS
    gain = np.empty(rows.shape[1])
    for number in range(FOLDS):
        best = rows[:, fold != number].mean(axis=1).argmin()
        gain[fold == number] = (rows[best] - rows[0])[fold == number]
    return gain


def _candidates(first: BoostingSettings, seed: int) -> Iterator[BoostingSettings]:
    """``first``, then others without end. Small steps get more trees, so that all may go as far."""
    generator = np.random.default_rng(seed)
    yield first
    while True:
        rate = _log_uniform(generator, LEARNING_RATE)
        yield replace(
            first,
            depth=int(generator.choice(DEPTHS)),
            learning_rate=rate,
            iterations=int(np.clip(first.iterations * first.learning_rate / rate, *TREES)),
            l2_leaf_reg=_log_uniform(generator, L2_LEAF_REG),
            subsample=round(float(generator.uniform(*SUBSAMPLE)), 2),
            random_strength=_log_uniform(generator, RANDOM_STRENGTH),
        )


def _log_uniform(generator: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(f"{np.exp(generator.uniform(*np.log(bounds))):.3g}")


def _drawn(settings: BoostingSettings) -> dict[str, Any]:
    """What the search draws of the settings."""
    names = ("depth", "learning_rate", "iterations", "l2_leaf_reg", "subsample", "random_strength")
    return {name: getattr(settings, name) for name in names}


def trials_frame(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row a trial, the lowest log loss first: its settings, log loss, seconds, and whether it was chosen."""
    rows = [
        {**trial.settings, "log_loss": trial.log_loss, "seconds": trial.seconds, "chosen": trial.is_chosen} for trial in trials
    ]
    return pd.DataFrame(rows).sort_values("log_loss", kind="stable", ignore_index=True)
