"""Scores: the probability of each category as every customer's next one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from customer360.settings import NONE
from ml.affinity_model import Probabilities
from ml.frames import feature_matrix, require_columns
from ml.model_store import LoadedModel

TABLE = "customer_features"
# Column -> pandas type; the table is typed even when it has no rows.
SCORE_COLUMNS = {
    "customer_id": "str",
    "category_id": "str",
    "probability": "float64",
    "rank": "int32",
    "is_label": "bool",
    "model_version": "str",
    "as_of": "datetime64[us]",
}


def score(customer_features: pd.DataFrame, loaded: LoadedModel) -> pd.DataFrame:
    """``customer_scores``: one row for each customer and category, "none" included.

    The probabilities of a customer sum to 1; rank 1 is the most probable category, ties go by category id. ``is_label`` marks
    the one category that the model's decision names, which may be another one (``ml.decisions``). Raises
    ``FrameError`` when ``customer_features`` has other columns than the model was trained on.
    """
    names = [feature.name for feature in loaded.model.features]
    require_columns(customer_features, TABLE, ["customer_id", "as_of", *names], exact=True)
    matrix = feature_matrix(customer_features, loaded.model.features, TABLE)
    return to_frame(customer_features, loaded, loaded.model.probabilities(matrix))


def to_frame(customer_features: pd.DataFrame, loaded: LoadedModel, probabilities: Probabilities) -> pd.DataFrame:
    """Long ``customer_scores`` from a table of customers x the model's categories."""
    order = np.argsort(np.array(loaded.model.categories))
    categories = np.array(loaded.model.categories, dtype=object)[order]
    shares = probabilities[:, order]
    ranks = np.empty(shares.shape, dtype=np.int32)
    places = np.broadcast_to(np.arange(1, shares.shape[1] + 1, dtype=np.int32), shares.shape)
    np.put_along_axis(ranks, np.argsort(-shares, axis=1, kind="stable"), places, axis=1)
    is_label = loaded.model.decisions(probabilities)[:, None] == order
    customers = len(customer_features)
    frame = pd.DataFrame(
        {
            "customer_id": np.repeat(customer_features["customer_id"].to_numpy(dtype=object), len(categories)),
            "category_id": np.tile(categories, customers),
            "probability": shares.ravel(),
            "rank": ranks.ravel(),
            "is_label": is_label.ravel(),
            "model_version": loaded.version,
            "as_of": np.repeat(customer_features["as_of"].to_numpy(), len(categories)),
        }
    )
    return frame.astype(SCORE_COLUMNS)


def empty_scores() -> pd.DataFrame:
    """``customer_scores`` without rows: what is published before the first champion."""
    return pd.DataFrame(columns=list(SCORE_COLUMNS)).astype(SCORE_COLUMNS)


def top_categories(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a customer: customer_id, category_id, probability of the most probable category that is not "none"."""
    real = scores[scores["category_id"] != NONE].sort_values(["customer_id", "rank"])
    return real.drop_duplicates("customer_id")[["customer_id", "category_id", "probability"]].reset_index(drop=True)
