"""Why a customer's top category is on top: the three strongest reasons, in words that a marketer understands.

SHAP values (Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, 2017), exact for trees, as CatBoost has
them. A multiclass model's raw values mean something only beside each other, so a feature's push towards category c is its SHAP
value for c less the mean over all classes weighted by their probabilities: the first-order change of log p(c).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.features import HISTORY, Feature
from customer360.settings import NONE, AttributeType, Shop
from ml.frames import MISSING, feature_matrix
from ml.model_store import LoadedModel

TABLE = "customer_features"
REASON_COLUMNS = {"customer_id": "str", "category_id": "str", "reason_1": "str", "reason_2": "str", "reason_3": "str"}
COUNT = 3
# Rows explained at a time: SHAP values take rows x classes x features doubles, 30 MB for 5,000 x 7 x 105.
BATCH = 5_000
_SINGULAR = {
    "views": ("product views", "product view"),
    "orders": ("orders", "order"),
    "carts": ("additions to the cart", "addition to the cart"),
    "offers_shown": ("offers shown", "offer shown"),
    "offers_clicked": ("offers clicked", "offer clicked"),
}

Floats = npt.NDArray[np.float64]


def reasons(customer_features: pd.DataFrame, loaded: LoadedModel, shop: Shop) -> pd.DataFrame:
    """One row a customer: the most probable real category, and up to three reasons that push towards it, the strongest first.

    The windows of one measure in one category are one reason (their pushes add up), worded by its strongest window. Personal
    attributes (``personal: true`` in shop.yaml) are never given as a reason. Reasons are empty where fewer push towards it.
    """
    parts = [
        _explain(customer_features.iloc[start : start + BATCH], loaded, shop)
        for start in range(0, len(customer_features), BATCH)
    ]
    if not parts:
        return pd.DataFrame(columns=list(REASON_COLUMNS)).astype(REASON_COLUMNS)
    return pd.concat(parts, ignore_index=True).astype(REASON_COLUMNS)


def _explain(rows: pd.DataFrame, loaded: LoadedModel, shop: Shop) -> pd.DataFrame:
    model = loaded.model
    matrix = feature_matrix(rows, model.features, TABLE)
    probabilities = model.probabilities(matrix)
    # Ties by category id, as in customer_scores: look through the categories in that order.
    real = sorted((category, index) for index, category in enumerate(model.categories) if category != NONE)
    columns = np.array([index for _, index in real])
    top = columns[probabilities[:, columns].argmax(axis=1)]
    push = _push(loaded, matrix, probabilities, top)
    usable = [index for index, feature in enumerate(model.features) if not _is_personal(feature, shop)]
    texts = _strongest(push[:, usable], [model.features[index] for index in usable], matrix, shop)
    named = {f"reason_{number + 1}": texts[number] for number in range(COUNT)}
    categories = np.array(model.categories, dtype=object)[top]
    return pd.DataFrame({"customer_id": rows["customer_id"].to_numpy(dtype=object), "category_id": categories, **named})


def _push(loaded: LoadedModel, matrix: pd.DataFrame, probabilities: Floats, top: npt.NDArray[np.int64]) -> Floats:
    """Rows x features: how far each feature moves log p(top category), to first order."""
    model = loaded.model
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


def _strongest(push: Floats, features: list[Feature], matrix: pd.DataFrame, shop: Shop) -> list[npt.NDArray[np.object_]]:
    groups: dict[tuple[str, str | None], list[int]] = {}
    for index, feature in enumerate(features):
        groups.setdefault((feature.measure, feature.category_id), []).append(index)
    members = list(groups.values())
    totals = np.column_stack([push[:, columns].sum(axis=1) for columns in members])
    order = np.argsort(-totals, axis=1, kind="stable")[:, :COUNT]
    texts = [np.full(len(push), None, dtype=object) for _ in range(COUNT)]
    for place in range(min(COUNT, order.shape[1])):
        chosen = order[:, place]
        pushes = totals[np.arange(len(push)), chosen] > 0
        for group in np.unique(chosen[pushes]):
            at = np.flatnonzero(pushes & (chosen == group))
            best = np.array(members[group])[push[np.ix_(at, members[group])].argmax(axis=1)]
            for column in np.unique(best):
                where = at[best == column]
                feature = features[column]
                texts[place][where] = list(wording(feature, matrix[feature.name].iloc[where], shop))
    return texts


def wording(feature: Feature, values: pd.Series[float] | pd.Series[str], shop: Shop) -> Iterator[str]:
    """A feature's values (as in the feature matrix) in words: "4 product views in category fitness in the last 3 days"."""
    if feature.kind == "categorical":
        yield from (_category_words(feature, str(value)) for value in values)
        return
    for value in values.to_numpy(np.float64):
        yield _number_words(feature, None if np.isnan(value) else float(value), shop)


def _category_words(feature: Feature, value: str) -> str:
    if feature.measure == "last_category_id":
        return "has not bought before" if value in {NONE, MISSING} else f"last bought in category {value}"
    return f"{feature.description}: {'not known' if value == MISSING else value}"


def _number_words(feature: Feature, value: float | None, shop: Shop) -> str:
    if feature.measure in HISTORY:
        return _history_words(feature.measure, value, shop)
    if feature.window_days is None:
        return f"{feature.description}: {_attribute_value(feature, value, shop)}"
    amount = value or 0.0
    where = feature.description
    if feature.measure == "spend":
        return f"{shop.currency} {amount:,.2f} {where}"
    if feature.measure == "dwell_seconds":
        return _dwell_words(amount, where)
    plural, singular = _SINGULAR[feature.measure]
    if round(amount) == 1:
        where = where.replace(plural, singular, 1)
    return f"{'no' if amount == 0 else f'{amount:,.0f}'} {where}"


def _dwell_words(seconds: float, where: str) -> str:
    if seconds == 0:
        return where.replace("seconds", "no time", 1)
    if seconds < 120:
        return f"{seconds:,.0f} {where}"
    return where.replace("seconds", f"{seconds / 60:,.0f} minutes", 1)


def _history_words(measure: str, value: float | None, shop: Shop) -> str:
    within = f"in the last {shop.rfm.window_days} days"
    if measure == "recency_days":
        return "no order yet" if value is None else f"last order {_ago(value)}"
    if measure == "days_since_last_activity":
        return "never seen in the shop" if value is None else f"last seen {_ago(value)}"
    if measure == "frequency":
        count = value or 0.0
        return f"{'no' if count == 0 else f'{count:,.0f}'} {'order' if round(count) == 1 else 'orders'} {within}"
    return f"{shop.currency} {value or 0.0:,.2f} net spend {within}"


def _ago(days: float) -> str:
    whole = int(days)
    return "today" if whole == 0 else f"{whole} {'day' if whole == 1 else 'days'} ago"


def _attribute_value(feature: Feature, value: float | None, shop: Shop) -> str:
    if value is None:
        return "not known"
    if shop.attributes[feature.name].type is AttributeType.BOOLEAN:
        return "yes" if value else "no"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def _is_personal(feature: Feature, shop: Shop) -> bool:
    attribute = shop.attributes.get(feature.name)
    return attribute is not None and attribute.personal
