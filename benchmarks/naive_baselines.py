"""Baselines of who buys what next, from purchases alone and independent of the product: frames in, probabilities out.

A row is a customer at a cut-off. Sold lines before the cut-off are known; the label is the category of the customer's highest
net spend above 0 in the horizon after it (ties by name), or "none". Baselines are fitted at ``FITTED`` weekly cut-offs whose
horizons end by the first day, then give probabilities (rows x classes) at any later cut-off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from ml.arrays import Floats, Integers

NONE, OTHER = "none", "other"
FITTED = 8
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
EDGES = {"recency_days": (7, 14, 28, 56, 112, 224, 365), "orders": (1, 2, 3, 5, 9, 17, 33)}
YEAR = timedelta(days=365)


@dataclass(frozen=True)
class Lines:
    """Order lines with ``customer_id``, ``order_id``, ``purchased_at``, ``amount``, ``is_sold`` and ``category`` (a class).

    ``classes`` are the categories of shop.yaml, "other" and "none", in this order.
    """

    frame: pd.DataFrame
    classes: tuple[str, ...]
    horizon: timedelta

    @classmethod
    def of(cls, purchases: pd.DataFrame, categories: Sequence[str], horizon: timedelta) -> Lines:
        """Lines of customers from purchases in the contract's columns; a numbered line that is there twice counts once."""
        numbered = purchases[purchases["line_no"].notna()].drop_duplicates(["order_id", "product_id", "line_no"])
        lines = pd.concat([numbered, purchases[purchases["line_no"].isna()]])
        lines = lines[lines["customer_id"].notna()]
        amount = lines["amount"].astype(float)
        category = lines["category_id"].where(lines["category_id"].isin(list(categories)), OTHER)
        is_sold = (amount > 0) | ((amount == 0) & (lines["quantity"].fillna(1).astype(float) > 0))
        columns = lines[["customer_id", "order_id", "purchased_at"]]
        frame = columns.assign(amount=amount, category=category.astype(str), is_sold=is_sold)
        return cls(frame.reset_index(drop=True), (*categories, OTHER, NONE), horizon)

    def labels(self, cutoff: datetime, customers: pd.Index) -> Integers:
        """Number of each customer's class in [cutoff, cutoff + horizon)."""
        frame = self.frame
        ahead = frame[(frame["purchased_at"] >= cutoff) & (frame["purchased_at"] < cutoff + self.horizon)]
        spend = ahead.groupby(["customer_id", "category"], as_index=False)["amount"].sum()
        spend["amount"] = spend["amount"].round(2)
        spend = spend[spend["amount"] > 0].sort_values(["amount", "category"], ascending=[False, True])
        label = spend.drop_duplicates("customer_id").set_index("customer_id")["category"].reindex(customers).fillna(NONE)
        return np.array([self.classes.index(name) for name in label], dtype=np.int64)

    def known(self, cutoff: datetime) -> Known:
        """What each customer with a sold line before the cut-off had bought by then."""
        past = self.frame[(self.frame["purchased_at"] < cutoff) & self.frame["is_sold"]]
        counts = (
            past.groupby(["customer_id", "category"])
            .size()
            .unstack(fill_value=0)
            .reindex(columns=self.classes[:-1], fill_value=0)
        )
        last = (
            past.sort_values("purchased_at", kind="stable").drop_duplicates("customer_id", keep="last").set_index("customer_id")
        )
        orders = past[past["purchased_at"] >= cutoff - YEAR].groupby("customer_id")["order_id"].nunique()
        return Known(
            counts.astype(float),
            last["category"].reindex(counts.index),
            (cutoff - last["purchased_at"]).dt.days.reindex(counts.index).astype(float),
            orders.reindex(counts.index).fillna(0).astype(float),
        )


@dataclass(frozen=True)
class Known:
    """By customer: sold lines by category over everything known, last category, days since the last sale, orders of a year."""

    counts: pd.DataFrame
    last_category: pd.Series
    recency_days: pd.Series
    orders: pd.Series

    def of(self, customers: pd.Index) -> Known:
        """The same of these customers; who never bought has counts of 0 and no last category."""
        return Known(
            self.counts.reindex(customers, fill_value=0.0),
            self.last_category.reindex(customers).fillna(NONE),
            self.recency_days.reindex(customers),
            self.orders.reindex(customers).fillna(0.0),
        )

    def cells(self) -> pd.Series:
        """Recency band and frequency band of each customer, as one text."""
        recency = np.digitize(self.recency_days.fillna(np.inf), EDGES["recency_days"])
        orders = np.digitize(self.orders, EDGES["orders"])
        return pd.Series([f"{days}-{times}" for days, times in zip(recency, orders, strict=True)], index=self.counts.index)


def naive_scores(known: Known) -> dict[str, Floats]:
    """Rankings of who buys: the later the last order and the more orders, the sooner."""
    recency = known.recency_days.fillna(1e6).to_numpy()
    orders = known.orders.to_numpy()
    return {"recency": -recency, "frequency": orders, "frequency, then recency": orders - recency / 1e7}


@dataclass(frozen=True)
class Baselines:
    """Fitted on the cut-offs whose horizons end by the first day."""

    lines: Lines
    prior: Floats
    by_last_category: dict[str, Floats]
    buying: dict[str, float]
    strengths: dict[str, float]

    @classmethod
    def fit(cls, lines: Lines, first_day: datetime) -> Baselines:
        """Count labels at weekly cut-offs, newest first; those without any earlier sale are left out."""
        cutoffs = [first_day - lines.horizon - timedelta(weeks=week) for week in range(FITTED)]
        known = [lines.known(cutoff) for cutoff in cutoffs]
        known = [part.of(part.counts.index) for part in known if len(part.counts)]
        labels = [lines.labels(cutoff, part.counts.index) for cutoff, part in zip(cutoffs, known, strict=False)]
        truth = np.concatenate(labels)
        classes = len(lines.classes)
        prior = (np.bincount(truth, minlength=classes) + 1) / (len(truth) + classes)
        last = np.concatenate([part.last_category.to_numpy() for part in known])
        cells = np.concatenate([part.cells().to_numpy() for part in known])
        by_last = {name: _smoothed(truth[last == name], prior) for name in set(last)}
        rate = 1 - prior[-1]
        buys = truth < classes - 1
        buying = {cell: float((buys[cells == cell].sum() + 10 * rate) / ((cells == cell).sum() + 10)) for cell in set(cells)}
        fitted = cls(lines, prior, by_last, buying, {})
        counts = np.concatenate([part.counts.to_numpy() for part in known])
        for name, purchase in (("", np.full(len(truth), rate)), (", bought by recency and frequency", fitted._buying(cells))):
            losses = {strength: _loss(fitted._shares(counts, purchase, strength), truth) for strength in STRENGTHS}
            fitted.strengths[f"own category shares{name}"] = min(losses, key=lambda strength: losses[strength])
        return fitted

    def probabilities(self, known: Known) -> dict[str, Floats]:
        """Rows x classes of each baseline."""
        counts, rows = known.counts.to_numpy(), len(known.counts)
        flat, cells = np.full(rows, 1 - self.prior[-1]), self._buying(known.cells().to_numpy())
        shares = {
            name: self._shares(counts, cells if "frequency" in name else flat, strength)
            for name, strength in self.strengths.items()
        }
        last = np.array([self.by_last_category.get(name, self.prior) for name in known.last_category])
        return {"prior": np.tile(self.prior, (rows, 1)), "last category": last, **shares}

    def _buying(self, cells: np.ndarray) -> Floats:
        return np.array([self.buying.get(cell, 1 - self.prior[-1]) for cell in cells])

    def _shares(self, counts: Floats, purchase: Floats, strength: float) -> Floats:
        """Own shares over everything known, smoothed towards those of all buyers, times the probability to buy at all."""
        among = self.prior[:-1] / self.prior[:-1].sum()
        within = (counts + strength * among) / (counts.sum(axis=1, keepdims=True) + strength)
        return np.column_stack([within * purchase[:, None], 1 - purchase])


def _smoothed(truth: Integers, prior: Floats) -> Floats:
    return np.asarray((np.bincount(truth, minlength=len(prior)) + len(prior) * prior) / (len(truth) + len(prior)))


def _loss(probabilities: Floats, truth: Integers) -> float:
    return float(row_losses(probabilities, truth).mean())


def row_losses(probabilities: Floats, truth: Integers) -> Floats:
    """-log p(truth) of each row, in nats; a probability below 1e-15 counts as that."""
    return np.asarray(-np.log(np.clip(probabilities[np.arange(len(truth)), truth], 1e-15, None)))
