"""Reasons kept fresh at a bounded cost: each run explains those that are most out of date, the other customers keep theirs.

Explaining costs .3 ms a customer, thirty times what scoring does: a million customers in every slice would take five minutes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from customer360.settings import Shop
from ml.model_store import LoadedModel
from ml.reasons import REASON_COLUMNS, reasons
from ml.scoring import top_categories

AT_ONCE = 2_000
KEPT_COLUMNS = {**REASON_COLUMNS, "model_version": "str", "reasons_as_of": "datetime64[us]"}


def refreshed_reasons(
    features: pd.DataFrame, scores: pd.DataFrame, loaded: LoadedModel, shop: Shop, kept: pd.DataFrame, *, at_once: int = AT_ONCE
) -> pd.DataFrame:
    """One row a customer of ``features`` that has reasons: ``KEPT_COLUMNS``. At most ``at_once`` of them are made anew.

    Reasons that speak of another category than the customer's top one of now, or of another model, are never kept. Who comes
    first: customers without valid reasons, the most recently active first; then those active since they were explained; then
    the longest unexplained. With at most ``at_once`` customers everyone is explained every time.
    """
    table = _standing(features, scores, loaded, kept)
    order = table.sort_values(
        ["is_valid", "was_active", "reasons_as_of", "idle_days", "customer_id"], ascending=[True, False, True, True, True]
    )
    chosen = np.sort(order.index.to_numpy()[:at_once])
    rows = features.iloc[chosen]
    made = reasons(rows, loaded, shop).assign(model_version=loaded.version, reasons_as_of=rows["as_of"].to_numpy())
    stay = table["is_valid"].to_numpy(copy=True)
    stay[chosen] = False
    others = kept[kept["customer_id"].isin(table.loc[stay, "customer_id"])]
    return (
        pd.concat([made, others[list(KEPT_COLUMNS)]], ignore_index=True)
        .astype(KEPT_COLUMNS)
        .sort_values("customer_id", ignore_index=True)
    )


def nothing_kept() -> pd.DataFrame:
    """No reasons, typed."""
    return pd.DataFrame(columns=list(KEPT_COLUMNS)).astype(KEPT_COLUMNS)


def _standing(features: pd.DataFrame, scores: pd.DataFrame, loaded: LoadedModel, kept: pd.DataFrame) -> pd.DataFrame:
    """Per row of ``features``: whether its kept reasons still hold, since when, and how recently the customer was active."""
    own = features[["customer_id", "as_of", "days_since_last_activity"]].reset_index(drop=True)
    known = kept[["customer_id", "category_id", "model_version", "reasons_as_of"]].rename(columns={"category_id": "explained"})
    table = own.merge(top_categories(scores), on="customer_id", how="left").merge(known, on="customer_id", how="left")
    idle = table["days_since_last_activity"].astype("float64").fillna(np.inf)
    explained_days = (table["as_of"] - table["reasons_as_of"]).dt.total_seconds() / 86_400
    return pd.DataFrame(
        {
            "customer_id": table["customer_id"],
            "is_valid": (table["explained"] == table["category_id"]) & (table["model_version"] == loaded.version),
            "was_active": idle < explained_days,
            "reasons_as_of": table["reasons_as_of"],
            "idle_days": idle,
        }
    )
