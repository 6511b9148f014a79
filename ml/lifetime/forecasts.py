"""What each customer is expected to spend within a horizon, by five methods, from what was known at a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from catboost import CatBoostRegressor

from ml.arrays import Floats
from ml.lifetime.histories import FEATURES, histories, spent_between
from ml.lifetime.order_value import fit_order_value
from ml.lifetime.purchasing import Buying, Purchasing, likeliest_purchasing

PAST_RATE, REPEAT_BUYING, TREES = "past rate", "repeat buying", "trees"
BLEND = f"{TREES} and "
CUTOFFS = 4  # that trees learn from, a quarter of what they predict apart
LEAST_ROWS = 200
MOST_CUSTOMERS = 50_000  # that models are fitted and judged on; all are forecast
SEED = 360
FITS = 5  # whose mean is taken, each on half of the rows and figures (Ho, The random subspace method, 1998)
BOOSTING: Mapping[str, Any] = {
    "loss_function": "Poisson",
    "iterations": 200,
    "depth": 4,
    "learning_rate": 0.05,
    "l2_leaf_reg": 5,
    "rsm": 0.5,
    "bootstrap_type": "Bernoulli",
    "subsample": 0.5,
    "thread_count": 2,
    "verbose": False,
    "allow_writing_files": False,
}


@dataclass(frozen=True)
class Known:
    """What a forecast is made from: customers with an order (``histories``), at a moment (plain UTC), in a shop's time zone.

    ``history_days``: since the shop's first known purchase. ``every``: models learn from one in so many customers.
    """

    connection: duckdb.DuckDBPyConnection
    moment: datetime
    zone: str
    history_days: float
    every: int

    def learned_days(self, horizon_days: float) -> float:
        """How far ahead what lies back can teach and judge: the horizon, at most a third of the history."""
        return min(horizon_days, self.history_days / 3)

    def histories(self, window_days: float, every: int = 1, days_before: float = 0) -> pd.DataFrame:
        """``histories`` as of so many days before the moment."""
        return histories(self.connection, self.moment - timedelta(days=days_before), self.zone, window_days, every)


def forecasts(known: Known, customers: pd.DataFrame, horizon_days: float) -> Mapping[str, Floats]:
    """By method the spend to expect of each customer within ``horizon_days``, in currency.

    ``customers``: rows of ``histories`` whose window is ``learned_days``. A blend is the geometric mean of trees and a simple
    method, as other models blend by a logarithmic pool; equal weights, since learned ones seldom are better (Clemen, Combining
    forecasts: a review and annotated bibliography, 1989). Raises ``ValueError`` where there is too little to learn from.
    """
    simple = {PAST_RATE: past_rate(customers, horizon_days), REPEAT_BUYING: _repeat_buying(known, customers, horizon_days)}
    trees = _trees(known, customers, horizon_days)
    blends = {f"{BLEND}{name}": np.sqrt(values * trees) for name, values in simple.items()}
    return {**simple, TREES: trees, **blends}


def past_rate(customers: pd.DataFrame, horizon_days: float) -> Floats:
    """Spend to date over the days since the first order, times the horizon; who is younger than it repeats the spend."""
    spend, age = (customers[name].to_numpy(np.float64) for name in ("spend", "age_days"))
    return np.asarray(np.maximum(spend, 0) / np.maximum(age, horizon_days) * horizon_days, dtype=np.float64)


def buying_of(customers: pd.DataFrame) -> Buying:
    """The rows of ``histories`` as models of repeat buying read them, in days."""
    order_days, span, age = (customers[name].to_numpy(np.float64) for name in ("order_days", "span_days", "age_days"))
    return Buying(order_days - 1, span, age)


def purchasing_of(known: Known) -> Purchasing:
    """BG/NBD or MBG/NBD, fitted on what is known."""
    return likeliest_purchasing(buying_of(known.histories(1, known.every)))


def _repeat_buying(known: Known, customers: pd.DataFrame, horizon_days: float) -> Floats:
    learned = known.histories(1, known.every)
    value = fit_order_value(*_values(learned))
    orders = likeliest_purchasing(buying_of(learned)).expected(buying_of(customers), horizon_days)
    return orders * value.expected(*_values(customers))


def _values(customers: pd.DataFrame) -> tuple[Floats, Floats]:
    return customers["order_days"].to_numpy(np.float64), customers["mean_value"].to_numpy(np.float64)


def _trees(known: Known, customers: pd.DataFrame, horizon_days: float) -> Floats:
    """Spend as trees see it in the same time at earlier cut-offs; of a horizon above a third of the history, that third's rate.

    Poisson deviance, which is right for means whatever the distribution (Gourieroux, Monfort and Trognon, Pseudo maximum
    likelihood methods: applications to Poisson models, 1984).
    """
    learned_days = known.learned_days(horizon_days)
    parts = []
    for number in range(CUTOFFS):
        before = learned_days * (1 + number / CUTOFFS)
        rows = known.histories(learned_days, known.every, before)
        start = known.moment - timedelta(days=before)
        spent = spent_between(known.connection, start, start + timedelta(days=learned_days), known.moment)
        parts.append(rows.assign(spent=rows["customer_id"].map(spent).fillna(0).clip(lower=0)))
    rows = pd.concat(parts)
    scale = float(rows["spent"].mean()) if len(rows) >= LEAST_ROWS else 0.0
    if not scale > 0:
        raise ValueError(
            f"{len(rows)} histories at cut-offs {learned_days:.0f} days apart, {LEAST_ROWS} with spend after are needed"
        )
    inputs, target = rows[list(FEATURES)], rows["spent"] / scale
    fits = [CatBoostRegressor(random_seed=SEED + number, **BOOSTING).fit(inputs, target) for number in range(FITS)]
    now = customers[list(FEATURES)]
    expected = np.mean([np.exp(trees.predict(now, prediction_type="RawFormulaVal")) for trees in fits], axis=0) * scale
    return np.asarray(expected * horizon_days / learned_days, dtype=np.float64)
