"""Scores: the probability of each category as every customer's next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from customer360.features import Feature
from customer360.lake.publishing.tables import TABLES
from ml.arrays import Floats
from ml.frames import feature_matrix, require_columns
from ml.versions.model_store import LoadedModel

TABLE = "customer_features"
SCORE_SCHEMA = TABLES["customer_scores"].arrow_schema


def score(customer_features: pd.DataFrame, loaded: LoadedModel) -> pa.Table:
    """``customer_scores``: one row for each customer and category, "none" included.

    The probabilities of a customer sum to 1; rank 1 is the most probable category, ties go by category id. ``is_label`` marks
    the one category that the model's decision names, which may be another one (``ml.fitting.decisions``). Raises ``FrameError``
    when ``customer_features`` lacks a column that the model reads.
    """
    matrix = served_matrix(customer_features, loaded.model.features)
    return to_table(customer_features, loaded, loaded.model.probabilities(matrix))


def served_matrix(customer_features: pd.DataFrame, features: Sequence[Feature]) -> pd.DataFrame:
    """The feature matrix of these customers for models with these features. Raises ``FrameError`` on a missing column."""
    require_columns(customer_features, TABLE, ["customer_id", "as_of", *[feature.name for feature in features]])
    return feature_matrix(customer_features, features, TABLE)


def to_table(customer_features: pd.DataFrame, loaded: LoadedModel, probabilities: Floats) -> pa.Table:
    """Long ``customer_scores`` from a table of customers x the model's categories. Arrow repeats the ids, not Python."""
    order = np.argsort(np.array(loaded.model.categories))
    shares = probabilities[:, order]
    customers, classes = shares.shape
    ranks = np.empty(shares.shape, dtype=np.int32)
    places = np.broadcast_to(np.arange(1, classes + 1, dtype=np.int32), shares.shape)
    np.put_along_axis(ranks, np.argsort(-shares, axis=1, kind="stable"), places, axis=1)
    is_label = loaded.model.decisions(probabilities)[:, None] == order
    customer_rows = np.repeat(np.arange(customers), classes)
    category_rows = np.tile(np.arange(classes), customers)
    columns: list[pa.Array[Any]] = [
        pa.array(customer_features["customer_id"], pa.string()).take(customer_rows),
        pa.array([loaded.model.categories[place] for place in order], pa.string()).take(category_rows),
        pa.array(shares.ravel()),
        pa.array(ranks.ravel()),
        pa.array(is_label.ravel()),
        pa.array([loaded.version], pa.string()).take(np.zeros(customers * classes, dtype=np.int64)),
        pa.array(customer_features["as_of"], pa.timestamp("us")).take(customer_rows),
    ]
    return pa.Table.from_arrays(columns, schema=SCORE_SCHEMA)
