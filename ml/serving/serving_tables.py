"""Names of the tables that serving works on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tables:
    """What serving reads (features, names of categories) and writes (scores, reasons, value), as SQL names."""

    features: str = "marts.customer_features"
    scores: str = "predictions.customer_scores"
    reasons: str = "predictions.customer_reasons"
    categories: str = "raw.categories"
    value: str = "predictions.customer_value"
