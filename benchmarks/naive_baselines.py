"""Baselines of who buys what next, for how much, and who is lost, from purchases alone and independent of the product.

A row is a customer at a cut-off. Sold lines before the cut-off are known; the label is the category of the customer's highest
net spend above 0 in the horizon after it (ties by name), or "none". Baselines are fitted at ``FITTED`` weekly cut-offs whose
horizons end by the first day, then give probabilities (rows x classes) or amounts at any later cut-off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from ml.arrays import Booleans, Floats, Integers

NONE, OTHER = "none", "other"
FITTED = 8
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
EDGES = {"recency_days": (7, 14, 28, 56, 112, 224, 365), "orders": (1, 2, 3, 5, 9, 17, 33)}
YEAR = timedelta(days=365)
EVER = datetime(1900, 1, 1)  # noqa: DTZ001  naive UTC


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

    def spend(self, start: datetime, end: datetime, customers: pd.Index) -> Floats:
        """Net amount of each customer in [start, end); 0 where more was returned than bought."""
        frame = self.frame[(self.frame["purchased_at"] >= start) & (self.frame["purchased_at"] < end)]
        amounts = frame.groupby("customer_id")["amount"].sum().reindex(customers).fillna(0.0)
        return np.asarray(amounts.clip(lower=0.0), dtype=np.float64)

    def orders(self, start: datetime, end: datetime, customers: pd.Index) -> Floats:
        """Orders with a sold line of each customer in [start, end)."""
        frame = self.frame[(self.frame["purchased_at"] >= start) & (self.frame["purchased_at"] < end) & self.frame["is_sold"]]
        orders = frame.groupby("customer_id")["order_id"].nunique().reindex(customers).fillna(0.0)
        return np.asarray(orders, dtype=np.float64)

    def earlier(self, first_day: datetime, horizon: timedelta) -> list[tuple[datetime, Known]]:
        """Weekly cut-offs whose horizons end by the first day, newest first, with the customers who had bought by then."""
        cutoffs = [first_day - horizon - timedelta(weeks=week) for week in range(FITTED)]
        known = [self.known(cutoff) for cutoff in cutoffs]
        return [(cutoff, part.of(part.counts.index)) for cutoff, part in zip(cutoffs, known, strict=True) if len(part.counts)]

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

    def bands(self) -> dict[str, np.ndarray]:
        """Each customer's band by recency, and by recency and frequency, as texts."""
        recency = np.digitize(self.recency_days.fillna(np.inf), EDGES["recency_days"]).astype(str)
        orders = np.digitize(self.orders, EDGES["orders"]).astype(str)
        return {"recency": recency, "recency and frequency": np.char.add(np.char.add(recency, "-"), orders)}

    def cells(self) -> np.ndarray:
        """Recency band and frequency band of each customer, as one text."""
        return self.bands()["recency and frequency"]


def naive_scores(known: Known) -> dict[str, Floats]:
    """Rankings of who buys: the later the last order and the more orders, the sooner."""
    recency = known.recency_days.fillna(1e6).to_numpy()
    orders = known.orders.to_numpy()
    return {"recency": -recency, "frequency": orders, "frequency, then recency": orders - recency / 1e7}


@dataclass(frozen=True)
class Rates:
    """Mean of a value by band, each with ten more rows that have the overall mean; a band that was not seen has that."""

    overall: float
    by_band: dict[str, float]

    @classmethod
    def fit(cls, bands: np.ndarray, values: np.ndarray, overall: float) -> Rates:
        """Learn from a band and a value a row."""
        sums = pd.Series(values, dtype=float).groupby(bands).agg(["sum", "count"])
        return cls(overall, dict((sums["sum"] + 10 * overall) / (sums["count"] + 10)))

    def of(self, bands: np.ndarray) -> Floats:
        """The mean of each row's band."""
        return np.array([self.by_band.get(band, self.overall) for band in bands], dtype=np.float64)


@dataclass(frozen=True)
class SpendBaselines:
    """Net spend in the horizon after a moment; fitted like ``Baselines``. A customer without an order has the mean order."""

    lines: Lines
    overall_mean: float
    mean_order: float
    orders: Rates

    @classmethod
    def fit(cls, lines: Lines, first_day: datetime) -> SpendBaselines:
        """Mean spend, mean order and orders in the horizon by recency and frequency, of those who had bought by a cut-off."""
        rows = []
        for cutoff, known in lines.earlier(first_day, lines.horizon):
            ahead = (cutoff, cutoff + lines.horizon, known.counts.index)
            rows.append(pd.DataFrame({"cell": known.cells(), "orders": lines.orders(*ahead), "spend": lines.spend(*ahead)}))
        frame = pd.concat(rows)
        orders = Rates.fit(frame["cell"].to_numpy(), frame["orders"].to_numpy(), float(frame["orders"].mean()))
        return cls(lines, float(frame["spend"].mean()), float(frame["spend"].sum() / max(frame["orders"].sum(), 1)), orders)

    def amounts(self, moment: datetime, known: Known) -> dict[str, Floats]:
        """The spend to expect of each customer by each baseline."""
        customers = known.counts.index
        orders = self.lines.orders(EVER, moment, customers)
        spent = self.lines.spend(EVER, moment, customers)
        own_mean = np.where(orders > 0, spent / np.maximum(orders, 1), self.mean_order)
        return {
            "own mean order x orders by recency and frequency": own_mean * self.orders.of(known.cells()),
            "overall mean": np.full(len(customers), self.overall_mean),
            "last horizon's spend": self.lines.spend(moment - self.lines.horizon, moment, customers),
        }


@dataclass(frozen=True)
class ChurnBaselines:
    """The frequency of no order in the churn horizon by bands, at cut-offs whose churn horizons end by the first day."""

    rates: dict[str, Rates]

    @classmethod
    def fit(cls, lines: Lines, first_day: datetime, horizon: timedelta) -> ChurnBaselines:
        """Count who ordered nothing in the horizon, of those who had bought by a cut-off."""
        earlier = lines.earlier(first_day, horizon)
        lost = np.concatenate([is_lost(lines, cutoff, horizon, known.counts.index) for cutoff, known in earlier])
        overall = float((lost.sum() + 1) / (len(lost) + 2))
        bands = [known.bands() for _, known in earlier]
        by_band = {name: Rates.fit(np.concatenate([part[name] for part in bands]), lost, overall) for name in bands[0]}
        return cls({"prior": Rates(overall, {}), **by_band})

    def probabilities(self, known: Known) -> dict[str, Floats]:
        """P(no order within the churn horizon) of each customer by each baseline."""
        bands = {"prior": np.full(len(known.counts), ""), **known.bands()}
        return {name: rates.of(bands[name]) for name, rates in self.rates.items()}


def is_lost(lines: Lines, moment: datetime, horizon: timedelta, customers: pd.Index) -> Booleans:
    """Whether each customer orders nothing in [moment, moment + horizon)."""
    return np.asarray(lines.orders(moment, moment + horizon, customers) == 0)


@dataclass(frozen=True)
class Baselines:
    """Fitted on the cut-offs whose horizons end by the first day."""

    lines: Lines
    prior: Floats
    by_last_category: dict[str, Floats]
    buying: Rates
    strengths: dict[str, float]

    @classmethod
    def fit(cls, lines: Lines, first_day: datetime) -> Baselines:
        """Count labels at weekly cut-offs, newest first; those without any earlier sale are left out."""
        earlier = lines.earlier(first_day, lines.horizon)
        known = [part for _, part in earlier]
        truth = np.concatenate([lines.labels(cutoff, part.counts.index) for cutoff, part in earlier])
        classes = len(lines.classes)
        prior = (np.bincount(truth, minlength=classes) + 1) / (len(truth) + classes)
        last = np.concatenate([part.last_category.to_numpy() for part in known])
        cells = np.concatenate([part.cells() for part in known])
        by_last = {name: _smoothed(truth[last == name], prior) for name in set(last)}
        rate = 1 - prior[-1]
        buying = Rates.fit(cells, truth < classes - 1, rate)
        fitted = cls(lines, prior, by_last, buying, {})
        counts = np.concatenate([part.counts.to_numpy() for part in known])
        for name, purchase in (("", np.full(len(truth), rate)), (", bought by recency and frequency", buying.of(cells))):
            losses = {strength: _loss(fitted._shares(counts, purchase, strength), truth) for strength in STRENGTHS}
            fitted.strengths[f"own category shares{name}"] = min(losses, key=lambda strength: losses[strength])
        return fitted

    def probabilities(self, known: Known) -> dict[str, Floats]:
        """Rows x classes of each baseline."""
        counts, rows = known.counts.to_numpy(), len(known.counts)
        flat, cells = np.full(rows, 1 - self.prior[-1]), self.buying.of(known.cells())
        shares = {
            name: self._shares(counts, cells if "frequency" in name else flat, strength)
            for name, strength in self.strengths.items()
        }
        last = np.array([self.by_last_category.get(name, self.prior) for name in known.last_category])
        return {"prior": np.tile(self.prior, (rows, 1)), "last category": last, **shares}

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
