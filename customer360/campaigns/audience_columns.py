"""The columns that an audience may ask for, with their types: those of the published tables, one row a customer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from customer360.features import feature_list
from customer360.settings import NONE, AttributeType, Shop, slug

Kind = Literal["number", "text", "boolean"]

FEATURES, SEGMENTS, VALUE, SCORES = "customer_features", "rfm_segments", "customer_value", "customer_scores"
# Those of rfm_segments and customer_value that are not in customer_features too.
_SEGMENT_COLUMNS: dict[str, Kind] = {
    "segment": "text",
    "recency_score": "number",
    "frequency_score": "number",
    "monetary_score": "number",
    "fm_score": "number",
}
_VALUE_COLUMNS: dict[str, Kind] = {"purchase_probability": "number", "expected_spend": "number", "churn_probability": "number"}


@dataclass(frozen=True)
class Column:
    """A column of a published table; ``category`` says which one of customer_scores gives ``probability_<category>``."""

    name: str
    table: str
    kind: Kind
    category: str | None = None


def audience_columns(shop: Shop) -> dict[str, Column]:
    """Name to column: features, segments, value, then ``label`` and ``probability_<category>`` of the scores."""
    columns = [Column("customer_id", FEATURES, "text")]
    for feature in feature_list(shop):
        kind: Kind = "text" if feature.kind == "categorical" else "number"
        spec = shop.attributes.get(feature.name)
        columns.append(Column(feature.name, FEATURES, "boolean" if spec and spec.type is AttributeType.BOOLEAN else kind))
    columns += [Column(name, SEGMENTS, kind) for name, kind in _SEGMENT_COLUMNS.items()]
    columns += [Column(name, VALUE, kind) for name, kind in _VALUE_COLUMNS.items()]
    columns.append(Column("label", SCORES, "text"))
    columns += [Column(f"probability_{slug(name)}", SCORES, "number", name) for name in (*shop.category_ids, NONE)]
    known: dict[str, Column] = {}
    for column in columns:  # an attribute of a shop comes first where two have one name
        known.setdefault(column.name, column)
    return known
