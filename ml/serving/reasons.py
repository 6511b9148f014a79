"""Why a customer's top category is on top: the three strongest reasons, as text for marketers.

Of a simple rule the features that it is made of give the reason, by how far they move log p(c) from that of a customer of whom
nothing is known; of a blend both push by their weights, which is exact to first order for a logarithmic pool.

SHAP values (Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, 2017), exact for trees, as CatBoost has
them. A multiclass model's raw values mean something only beside each other, so a feature's push towards category c is its SHAP
value for c less the mean over all classes weighted by their probabilities: the first-order change of log p(c).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from customer360.features import Feature
from customer360.settings import NONE, Shop
from ml.arrays import Floats, Integers, Texts
from ml.fitting.class_model import ClassModel
from ml.frames import feature_matrix
from ml.serving.reason_texts import ReasonTexts, topic
from ml.versions.model_store import LoadedModel

TABLE = "customer_features"
REASON_COLUMNS = {"customer_id": "str", "category_id": "str", "reason_1": "str", "reason_2": "str", "reason_3": "str"}
COUNT = 3
# Rows explained at a time: SHAP values take rows x classes x features doubles, 30 MB for 5,000 x 7 x 105.
BATCH = 5_000


def reasons(
    customer_features: pd.DataFrame, loaded: LoadedModel, shop: Shop, titles: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """One row a customer: the most probable real category, and up to three reasons that push towards it, the strongest first.

    Views and time, or orders and spend, of one category are one reason in all their windows (their pushes add up), worded by
    its strongest feature; ``titles`` are the categories' names. Personal attributes (``personal: true`` in shop.yaml) are never
    given as a reason. Reasons are empty where fewer push towards it.
    """
    texts = ReasonTexts(loaded.model.features, shop, titles or {})
    parts = [
        _explain(customer_features.iloc[start : start + BATCH], loaded, shop, texts)
        for start in range(0, len(customer_features), BATCH)
    ]
    if not parts:
        return pd.DataFrame(columns=list(REASON_COLUMNS)).astype(REASON_COLUMNS)
    return pd.concat(parts, ignore_index=True).astype(REASON_COLUMNS)


def _explain(rows: pd.DataFrame, loaded: LoadedModel, shop: Shop, texts: ReasonTexts) -> pd.DataFrame:
    model = loaded.model
    matrix = feature_matrix(rows, model.features, TABLE)
    probabilities = model.probabilities(matrix)
    # Ties by category id, as in customer_scores: look through the categories in that order.
    real = sorted((category, index) for index, category in enumerate(model.categories) if category != NONE)
    columns = np.array([index for _, index in real])
    top = columns[probabilities[:, columns].argmax(axis=1)]
    push = _push(loaded, matrix, probabilities, top)
    usable = [index for index, feature in enumerate(model.features) if not _is_personal(feature, shop)]
    strongest = _strongest(push[:, usable], [model.features[index] for index in usable], matrix, texts)
    texts_by_name = {f"reason_{number + 1}": strongest[number] for number in range(COUNT)}
    categories = np.array(model.categories, dtype=object)[top]
    return pd.DataFrame({"customer_id": rows["customer_id"].to_numpy(dtype=object), "category_id": categories, **texts_by_name})


def _push(loaded: LoadedModel, matrix: pd.DataFrame, probabilities: Floats, top: Integers) -> Floats:
    """Rows x features: how far each feature moves log p(top category), to first order."""
    model = loaded.model
    result = np.zeros((len(matrix), len(model.features)))
    if model.baseline_weight < 1:
        result += (1 - model.baseline_weight) * _push_of_trees(model, matrix, probabilities, top)
    if model.baseline is not None and model.baseline_weight > 0:
        places = {feature.name: place for place, feature in enumerate(model.features)}
        for name, moved in model.baseline.pushes(matrix, model.features, top).items():
            result[:, places[name]] += model.baseline_weight * moved
    return result


def _push_of_trees(model: ClassModel, matrix: pd.DataFrame, probabilities: Floats, top: Integers) -> Floats:
    seen = model.seen_categories
    values = np.asarray(model.classifier.get_feature_importance(model.pool(matrix), type="ShapValues"))[:, :, :-1]
    position = {category: index for index, category in enumerate(seen)}
    weights = probabilities[:, [model.categories.index(category) for category in seen]]
    mean = np.einsum("rc,rcf->rf", weights / weights.sum(axis=1, keepdims=True), values)
    # A top category that training has not seen has no SHAP values; nothing pushes towards it.
    own = np.array([position.get(category, -1) for category in model.categories])[top]
    result = values[np.arange(len(matrix)), own] - mean
    result[own < 0] = 0
    return np.asarray(result, dtype=np.float64)


def _strongest(push: Floats, features: list[Feature], matrix: pd.DataFrame, texts: ReasonTexts) -> list[Texts]:
    groups: dict[tuple[str, str | None], list[int]] = {}
    for index, feature in enumerate(features):
        groups.setdefault(topic(feature), []).append(index)
    members = list(groups.values())
    totals = np.column_stack([push[:, columns].sum(axis=1) for columns in members])
    order = np.argsort(-totals, axis=1, kind="stable")[:, :COUNT]
    result = [np.full(len(push), None, dtype=object) for _ in range(COUNT)]
    for place in range(min(COUNT, order.shape[1])):
        chosen = order[:, place]
        pushes = totals[np.arange(len(push)), chosen] > 0
        for group in np.unique(chosen[pushes]):
            at = np.flatnonzero(pushes & (chosen == group))
            best = np.array(members[group])[push[np.ix_(at, members[group])].argmax(axis=1)]
            for column in np.unique(best):
                where = at[best == column]
                result[place][where] = list(texts.texts(features[column], matrix.iloc[where]))
    return result


def _is_personal(feature: Feature, shop: Shop) -> bool:
    attribute = shop.attributes.get(feature.name)
    return attribute is not None and attribute.personal
