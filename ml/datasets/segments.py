"""Groups of customers by which a model is judged: the RFM segment, and how much and how recent the history is."""

from __future__ import annotations

import csv
from functools import lru_cache

import numpy as np
import pandas as pd

from customer360.settings import REPOSITORY, Shop
from ml.arrays import Booleans, Floats

GRIDS = REPOSITORY / "dbt_project" / "seeds" / "segment_grids.csv"
PROSPECT, UNRANKED = "Prospect", "Unranked"
FEWEST_BUYERS = 5
ORDERS = {"no order": (0, 0), "1 order": (1, 1), "2 to 4 orders": (2, 4), "5 orders and more": (5, np.inf)}


def customer_groups(matrix: pd.DataFrame, shop: Shop) -> pd.DataFrame:
    """One row for each of ``matrix`` (recency_days, frequency, monetary, days_since_last_activity).

    ``segment`` and ``orders`` of the RFM window, and ``last_seen``: by the last event or order, in the shop's windows. No
    feature holds how long a customer has been known, so customers without either are the ones with the shortest history.
    """
    frequency = matrix["frequency"].to_numpy(np.float64)
    orders = np.full(len(matrix), "no order", dtype=object)
    for name, (low, high) in ORDERS.items():
        orders[(frequency >= low) & (frequency <= high)] = name
    return pd.DataFrame({"segment": rfm_segments(matrix, shop), "orders": orders, "last_seen": last_seen(matrix, shop)})


def last_seen(matrix: pd.DataFrame, shop: Shop) -> pd.Series[str]:
    """Since when there was no event and no order: within the shortest window, the longest, before it, or never."""
    shortest, longest = shop.windows_days[0], shop.windows_days[-1]
    days = matrix[["days_since_last_activity", "recency_days"]].min(axis=1).to_numpy(np.float64)
    names = np.select(
        [np.isnan(days), days < shortest, days < longest],
        ["no event or order yet", f"in the last {shortest} days", f"in the last {longest} days"],
        f"{longest} days ago or more",
    )
    return pd.Series(names, dtype=object)


def rfm_segments(matrix: pd.DataFrame, shop: Shop) -> pd.Series[str]:
    """Segments by the rules of the dbt model ``rfm_segments``, among these rows: scores by percent rank, names by the grid.

    Fewer than five buyers are not ranked.
    """
    bought = matrix["frequency"].to_numpy(np.float64) > 0
    recency = _scores(-matrix["recency_days"].to_numpy(np.float64), bought)
    frequency = _scores(matrix["frequency"].to_numpy(np.float64), bought)
    monetary = _scores(matrix["monetary"].to_numpy(np.float64), bought)
    combined = np.floor((frequency + monetary + 1) / 2).astype(int)
    grid = _grid(shop.rfm.segment_grid)
    names = [grid[int(r), int(fm)] for r, fm in zip(recency, combined, strict=True)]
    is_prospect, is_unranked = matrix["recency_days"].isna().to_numpy(), bought & (bought.sum() < FEWEST_BUYERS)
    return pd.Series(np.select([is_prospect, is_unranked], [PROSPECT, UNRANKED], np.array(names, dtype=object)), dtype=object)


def _scores(values: Floats, ranked: Booleans) -> Floats:
    """1 + floor(5 x percent rank), at most 5, among the ranked rows; 1 for the others. Equal values get equal scores."""
    result = np.ones(len(values))
    places = pd.Series(values[ranked]).rank(method="min").to_numpy() - 1
    result[ranked] = np.minimum(5, 1 + np.floor(5 * places / max(len(places) - 1, 1)))
    return result


@lru_cache(maxsize=8)
def _grid(name: str) -> dict[tuple[int, int], str]:
    with GRIDS.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["grid"] == name]
    return {(int(row["recency_score"]), int(row["fm_score"])): row["segment"] for row in rows}
