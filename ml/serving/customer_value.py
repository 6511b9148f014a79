"""What a customer is worth within the horizons: the probability of a purchase, the spend to expect, the risk of no order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from customer360.features import Feature
from customer360.lake.publishing.tables import TABLES
from ml.arrays import Floats
from ml.fitting.class_model import Batch
from ml.versions.model_store import LoadedModel

VALUE_SCHEMA = TABLES["customer_value"].arrow_schema


@dataclass(frozen=True)
class Serving:
    """The model of each target that serves now; None where none does."""

    affinity: LoadedModel | None = None
    spend: LoadedModel | None = None
    churn: LoadedModel | None = None

    @property
    def features(self) -> list[Feature]:
        """The features that they read, each once: those of an earlier release may read fewer."""
        loaded = [model for model in (self.affinity, self.spend, self.churn) if model]
        return list(dict.fromkeys(feature for model in loaded for feature in model.model.features))


def customer_value(customer_features: pd.DataFrame, batch: Batch, serving: Serving, affinity: Floats | None) -> pa.Table:
    """``customer_value``: one row for each of ``customer_features``. What needs a model that does not serve is null.

    ``batch``: their features. ``affinity``: their probabilities by the affinity model, so that purchase_probability is
    1 - P(none) of the very scores that are published. expected_spend = purchase_probability x the
    spend to expect given a purchase, in the shop's currency. churn_probability is of no order within the churn horizon.
    """
    rows = len(customer_features)
    buys = None if affinity is None or serving.affinity is None else 1 - affinity[:, -1]
    spend, bands = None, serving.spend.model.bands if serving.spend else None  # the store refuses a model without its bands
    if buys is not None and serving.spend and bands:
        spend = buys * bands.expected(serving.spend.model.probabilities(batch))
    lost = None
    if serving.churn is not None:
        lost = serving.churn.model.probabilities(batch)[:, 0]
    columns: list[pa.Array[Any]] = [
        pa.array(customer_features["customer_id"], pa.string()),
        *(_numbers(values, rows) for values in (buys, spend, lost)),
        *(_version(loaded, rows) for loaded in (serving.affinity, serving.spend, serving.churn)),
        pa.array(customer_features["as_of"], pa.timestamp("us")),
    ]
    return pa.Table.from_arrays(columns, schema=VALUE_SCHEMA)


def _numbers(values: Floats | None, rows: int) -> pa.Array[Any]:
    return pa.nulls(rows, pa.float64()) if values is None else pa.array(values, pa.float64())


def _version(loaded: LoadedModel | None, rows: int) -> pa.Array[Any]:
    return pa.array([loaded.version if loaded else None], pa.string()).take(np.zeros(rows, dtype=np.int64))
