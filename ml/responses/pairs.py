"""A model's probabilities for every pair of a customer and an option, without a row for each pair.

Each split of a tree tests a feature either of the customer or of the option. The leaf of a pair follows from the bits of both,
each computed once: for 100,000 customers and 63 options, 100,063 rows are read instead of 6,300,000. The sums are those of the
model itself.

CatBoost's trees are oblivious (one split a level), so that a leaf's index has one bit for each split.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from catboost import CatBoostClassifier
from scipy.special import softmax

from ml.arrays import Floats, Integers
from ml.fitting.class_model import ClassModel

# Customers per batch: with 63 options of 8 bytes, the sums that every tree adds to stay within a processor's cache.
BATCH = 2_000


def pair_probabilities(model: ClassModel, customers: pd.DataFrame, options: pd.DataFrame) -> Floats:
    """Customers x options x the model's categories, as ``model.probabilities`` says of each pair's features put together.

    ``customers`` and ``options`` are feature matrices (``ml.frames.feature_matrix``) with other columns, together all of them.
    """
    pairs = len(customers), len(options)
    if not min(pairs):
        return np.empty((*pairs, len(model.categories)))
    shares = _shares(model, customers, options)
    published = model.published(shares.reshape(-1, shares.shape[-1]))
    return published.reshape(*pairs, len(model.categories))


def _shares(model: ClassModel, customers: pd.DataFrame, options: pd.DataFrame) -> Floats:
    trees = _Trees.of(model.classifier, set(options.columns))
    if trees is None:
        return _row_by_row(model, customers, options)
    # Customers and options are each combined with the first row of the other side, whose bits are masked out.
    leaves = [
        model.classifier.calc_leaf_indexes(model.pool(rows.assign(**{str(name): others[name].iloc[0] for name in others})))
        for rows, others in ((customers, options), (options, customers))
    ]
    raw = trees.sums(leaves[0], leaves[1])
    return np.asarray(softmax(raw, axis=2), dtype=np.float64)


def _row_by_row(model: ClassModel, customers: pd.DataFrame, options: pd.DataFrame) -> Floats:
    """For trees with splits on several features at once: target statistics of categories with too many values."""
    people, choices = np.repeat(np.arange(len(customers)), len(options)), np.tile(np.arange(len(options)), len(customers))
    rows = pd.concat(
        [customers.iloc[people].reset_index(drop=True), options.iloc[choices].reset_index(drop=True)], axis="columns"
    )
    found = np.asarray(model.classifier.predict_proba(model.pool(rows)), dtype=np.float64)
    return found.reshape(len(customers), len(options), -1)


@dataclass(frozen=True)
class _Trees:
    """CatBoost's oblivious trees: of each the leaf values (leaves x classes) and the bits of its splits on options."""

    values: tuple[Floats, ...]
    option_bits: Integers
    bias: Floats

    @classmethod
    def of(cls, classifier: CatBoostClassifier, option_names: set[str]) -> _Trees | None:
        """None where a split has more than one feature, or a tree is not oblivious."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.json"
            classifier.save_model(str(path), format="json")  # the documented way to a model's splits
            document = json.loads(path.read_text(encoding="utf-8"))
        if "oblivious_trees" not in document:
            return None
        names: Sequence[str] = classifier.feature_names_
        places = {
            kind: {
                feature["feature_index"]: names[feature["flat_feature_index"]]
                for feature in document["features_info"].get(kind, ())
            }
            for kind in ("float_features", "categorical_features")
        }
        scale, bias = document["scale_and_bias"]
        values, bits = [], []
        for tree in document["oblivious_trees"]:
            asked = [_feature(split, places) for split in tree["splits"] or ()]
            if None in asked:
                return None
            values.append(scale * np.array(tree["leaf_values"], dtype=np.float64).reshape(2 ** len(asked), -1))
            bits.append(sum(1 << level for level, name in enumerate(asked) if name in option_names))
        return cls(tuple(values), np.array(bits, dtype=np.int64), np.array(bias, dtype=np.float64))

    def sums(self, customer_leaves: npt.NDArray[Any], option_leaves: npt.NDArray[Any]) -> Floats:
        """Raw values of every pair (customers x options x classes), from rows x trees of each."""
        people, choices = len(customer_leaves), len(option_leaves)
        classes = len(self.bias)
        result = np.empty((people, choices, classes))
        of_customers = (customer_leaves.astype(np.int64) & ~self.option_bits).T.copy()
        of_options = (option_leaves.astype(np.int64) & self.option_bits).T
        # Only differences between classes count, so one class less is added up.
        tables = [
            [np.ascontiguousarray(_table(value[:, k] - value[:, 0], leaves)) for k in range(1, classes)]
            for value, leaves in zip(self.values, of_options, strict=True)
        ]
        result[:, :, 0] = self.bias[0]
        for start in range(0, people, BATCH):
            batch = slice(start, start + BATCH)
            size = len(range(people)[batch])
            taken = np.empty((size, choices))
            for k in range(1, classes):
                total = np.full((size, choices), self.bias[k])
                for leaves, of_class in zip(of_customers, tables, strict=True):
                    np.take(of_class[k - 1], leaves[batch], axis=0, out=taken, mode="clip")
                    total += taken
                result[batch, :, k] = total
        return result


def _table(values: Floats, option_leaves: Integers) -> Floats:
    """Customer's leaf bits x options: the value of the leaf that both make."""
    return np.asarray(values[np.arange(len(values))[:, None] | option_leaves[None, :]], dtype=np.float64)


def _feature(split: dict[str, Any], places: dict[str, dict[int, str]]) -> str | None:
    """The feature of a split, None for another kind of split."""
    if split["split_type"] == "FloatFeature":
        return places["float_features"][split["float_feature_index"]]
    if split["split_type"] == "OneHotFeature":
        return places["categorical_features"][split["cat_feature_index"]]
    return None
