"""Which ranking of products serves: that of the model, or of the best simple rule until the model beats it.

Judged by what customers bought within the label horizon of weekly cut-offs, none of which the model was trained on: evaluation
from a rolling origin (Tashman, Out-of-sample tests of forecasting accuracy, 2000). Log loss judges probabilities; this judges
their order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pandas as pd

from customer360.lake.atomic import write_text
from customer360.settings import Place, Shop
from customer360.text import many
from ml.arrays import Floats
from ml.datasets.targets import WAIT_DAYS
from ml.fitting.baselines import ALIKE, OWN_FREQUENCY
from ml.fitting.baselines import POPULARITY as RECENT_POPULARITY
from ml.fitting.class_model import ClassModel
from ml.recommendations.affinity import probabilities
from ml.recommendations.candidates import POPULARITY, SHARE, TIFU_KNN, bought_within, candidate_rows, know_until
from ml.recommendations.measures import LONGER, Comparison, Ranking, Split, compare

MODEL, ORDER_FILE = "model", "product_order.json"
MOST_CUTOFFS = 5
MOST_CUSTOMERS = 20_000  # of a cut-off, drawn by a hash of their ids
RULES: Mapping[str, Callable[[pd.DataFrame], Floats]] = {
    RECENT_POPULARITY: lambda rows: rows[POPULARITY].to_numpy(np.float64),
    OWN_FREQUENCY: lambda rows: (rows[SHARE] + rows[POPULARITY]).to_numpy(np.float64),
    ALIKE: lambda rows: rows[TIFU_KNN].to_numpy(np.float64),
}


@dataclass(frozen=True)
class BasketBacktest:
    """Measures of each ranking, the model's first, and which serves; ``comparison.best`` is the best rule."""

    comparison: Comparison

    @property
    def serves(self) -> str:
        """The model where it is better than the best rule beyond chance, else that rule."""
        return MODEL if self.comparison.gain.low > 0 else self.comparison.best

    @property
    def reason(self) -> str:
        """The comparison in a sentence."""
        best, found = self.comparison.best, self.comparison.difference
        where = f"over {many(self.comparison.splits, 'cut-off')}"
        if self.serves == MODEL:
            return f"the model's order is better than '{best}', the best rule, {where} ({found})"
        return f"'{best}' orders until the model beats it: it is not better beyond chance {where} ({found})"


def keep_order(place: Place, name: str) -> None:
    """Keep which ranking serves, for ``product_affinity``."""
    write_text(place.recommendations / ORDER_FILE, json.dumps({"serves": name}) + "\n")


def serving_order(place: Place) -> str:
    """The ranking that serves: ``MODEL`` or a name of ``RULES``; before the first backtest the model's."""
    file = place.recommendations / ORDER_FILE
    return str(json.loads(file.read_text(encoding="utf-8"))["serves"]) if file.exists() else MODEL


def judged_moments(shop: Shop, as_of: datetime, trained_until: datetime) -> list[datetime]:
    """The weekly cut-offs, oldest first, whose horizon had passed two days before ``as_of``, from the champion's judge on."""
    newest = as_of - timedelta(days=shop.label_horizon_days + WAIT_DAYS)
    moments = [newest - timedelta(weeks=week) for week in range(MOST_CUTOFFS)]
    return [moment for moment in moments if moment >= trained_until][::-1]


def backtest(
    connection: duckdb.DuckDBPyConnection, model: ClassModel, moments: Sequence[datetime], horizon_days: float
) -> BasketBacktest | None:
    """Judge the model and ``RULES`` at the moments (plain UTC); None where nobody with a history bought anything after them."""
    products = pd.Index(connection.execute("select distinct product_id from interactions order by 1").df()["product_id"])
    horizon = timedelta(days=horizon_days)
    splits = [Split(moment, moment + horizon, _at(connection, model, moment, horizon_days, products)) for moment in moments]
    splits = [split for split in splits if len(split.rankings[MODEL].taken)]
    return BasketBacktest(compare(splits)) if splits else None


def _at(
    connection: duckdb.DuckDBPyConnection, model: ClassModel, moment: datetime, horizon_days: float, products: pd.Index[str]
) -> dict[str, Ranking]:
    """Of each method the ranking at a moment: cases are the customers with candidates who then bought."""
    known = know_until(connection, moment)
    rows = candidate_rows(connection, known, 0, -(-known.customers // MOST_CUSTOMERS) or 1)
    bought = bought_within(connection, moment, horizon_days)
    taken = bought[bought["customer_id"].isin(rows["customer_id"])].groupby("customer_id")["product_id"].agg(list)
    rows = rows[rows["customer_id"].isin(taken.index)]
    popular = connection.execute("select product_id, popularity from products_of").df()
    shares = np.zeros(len(products))
    shares[products.get_indexer(pd.Index(popular["product_id"]))] = popular["popularity"]
    lengths = rows.groupby("customer_id")["orders"].first().fillna(0).to_numpy(np.int64)
    scores = {MODEL: probabilities(model, rows), **{name: rule(rows) for name, rule in RULES.items()}}
    return {
        name: Ranking(
            _best(rows, values, taken.index, products),
            [products.get_indexer(pd.Index(of)) for of in taken],
            lengths,
            taken.index.to_numpy(dtype=object),
            shares,
        )
        for name, values in scores.items()
    }


def _best(rows: pd.DataFrame, scores: Floats, customers: pd.Index[str], products: pd.Index[str]) -> np.ndarray:
    """Customers x ``LONGER`` codes of products, ties by popularity, -1 where there are fewer."""
    frame = pd.DataFrame(
        {
            "customer": customers.get_indexer(pd.Index(rows["customer_id"])),
            "product": products.get_indexer(pd.Index(rows["product_id"])),
            "score": scores,
            "tie": (rows[SHARE] + rows[POPULARITY]).to_numpy(np.float64),
        }
    ).sort_values(["customer", "score", "tie", "product"], ascending=[True, False, False, True])
    place = frame.groupby("customer").cumcount()
    found = np.full((len(customers), LONGER), -1, dtype=np.int64)
    is_shown = (place < LONGER).to_numpy()
    found[frame["customer"][is_shown], place[is_shown]] = frame["product"][is_shown]
    return found
