"""The feature columns of ``customer_features``, derived from shop.yaml: the list that dbt and ``ml`` share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from customer360.lake.landing.contracts import ATTRIBUTE_TYPES, CAMPAIGN_EVENTS, CUSTOMER_EVENTS
from customer360.lake.slices import event_slice_minutes
from customer360.settings import AttributeType, Shop, TopCategories, slug

CATEGORY_MEASURES = ("views", "dwell_seconds", "orders", "spend")
WINDOW_TOTALS = ("views", "dwell_seconds", "carts", "orders", "spend", "returned_amount", "offers_shown", "offers_clicked")
# Over everything known, by category; the first two also in all.
LIFETIME_MEASURES = ("lifetime_lines", "lifetime_spend", "lifetime_share")
HISTORY = ("recency_days", "frequency", "monetary", "return_share", "days_since_last_activity")
# Sums since the beginning: they move as the history grows, without any change of what customers do.
GROWING_MEASURES = {"lifetime_lines", "lifetime_spend"}
# What the drift report compares: 70 days of at most 50,000 customers. More customers hardly move its figures.
MONITORED_DAYS, MONITORED_CUSTOMERS = 70, 50_000
# Kept scores are one file a shop-local day, so at most eight of them lie in the 7 x 24 hours of matured scores.
MATURED_CUTOFFS = 8
# Types of columns in dbt's names; a measure that is not listed is a bigint.
MEASURE_TYPES = {
    "dwell_seconds": "double",
    "spend": "decimal(18, 2)",
    "returned_amount": "decimal(18, 2)",
    "monetary": "decimal(18, 2)",
    "lifetime_spend": "decimal(18, 2)",
    "lifetime_share": "double",
    "return_share": "double",
    "last_category_id": "string",
}
NUMERIC_ATTRIBUTES = {AttributeType.INTEGER, AttributeType.DOUBLE, AttributeType.BOOLEAN}


@dataclass(frozen=True)
class Feature:
    """One column of ``customer_features`` that a model may read."""

    name: str
    kind: Literal["numeric", "categorical"]
    description: str
    measure: str
    category_id: str | None = None
    window_days: int | None = None


def feature_list(shop: Shop) -> list[Feature]:
    """Every feature, in column order: attributes, history, window totals, category x window, lifetime, last category."""
    attributes = [
        Feature(name, "numeric" if spec.type in NUMERIC_ATTRIBUTES else "categorical", spec.description or name, name)
        for name, spec in shop.attributes.items()
        if spec.feature and spec.type is not AttributeType.DATE
    ]
    history = [Feature(name, "numeric", _HISTORY_TEXT[name], name) for name in HISTORY]
    totals = [
        Feature(f"{measure}_{days}d", "numeric", f"{_MEASURE_TEXT[measure]} in the last {days} days", measure, None, days)
        for days in shop.windows_days
        for measure in WINDOW_TOTALS
    ]
    by_category = [
        Feature(
            f"{measure}_{slug(category)}_{days}d",
            "numeric",
            f"{_MEASURE_TEXT[measure]} in category {category} in the last {days} days",
            measure,
            category,
            days,
        )
        for category in shop.category_ids
        for days in shop.windows_days
        for measure in CATEGORY_MEASURES
    ]
    lifetime = [Feature(measure, "numeric", _MEASURE_TEXT[measure], measure) for measure in LIFETIME_MEASURES[:2]]
    lifetime += [
        Feature(f"{measure}_{slug(category)}", "numeric", f"{_MEASURE_TEXT[measure]} in category {category}", measure, category)
        for category in shop.category_ids
        for measure in LIFETIME_MEASURES
    ]
    last = Feature(
        "last_category_id", "categorical", "category of the last purchase, none before the first", "last_category_id"
    )
    return [*attributes, *history, *totals, *by_category, *lifetime, last]


_MEASURE_TEXT = {
    "views": "product views (view_item)",
    "dwell_seconds": "seconds spent on products",
    "carts": "additions to the cart",
    "orders": "orders",
    "spend": "spend net of returns",
    "returned_amount": "amount of the returns (a positive number), whenever the goods were bought,",
    "offers_shown": "offers shown",
    "offers_clicked": "offers clicked",
    "lifetime_lines": "purchase lines ever",
    "lifetime_spend": "spend ever (net of returns)",
    "lifetime_share": "share of all purchase lines ever that have a category (null without one),",
}
_HISTORY_TEXT = {
    "recency_days": "shop-local days since the last order; a return is none",
    "frequency": "orders in the RFM window",
    "monetary": "spend net of returns in the RFM window",
    "return_share": "amount of returns in the RFM window as a share of the gross amount bought in it, at most 1",
    "days_since_last_activity": "days since the last event or order",
}


def feature_type(shop: Shop, feature: Feature) -> str:
    """The type of the feature's column, as dbt names it."""
    if feature.name in shop.attributes:
        return _dbt_type(shop.attributes[feature.name].type)
    return MEASURE_TYPES.get(feature.measure, "bigint")


def _dbt_type(attribute: AttributeType) -> str:
    kind = ATTRIBUTE_TYPES[attribute]
    return "string" if kind == "VARCHAR" else kind.lower()


def dbt_vars(shop: Shop) -> dict[str, Any]:
    """The shop's settings as dbt ``--vars``: equal for an equal shop, so that dbt does not parse again between runs."""
    excluded = shop.categories if isinstance(shop.categories, TopCategories) else TopCategories(top=1)
    exclusions = {"excluded_categories": excluded.exclude, "excluded_products": excluded.exclude_products}
    return {
        **{name: ids for name, ids in exclusions.items() if ids},
        "time_zone": shop.time_zone,
        "currency": shop.currency,
        "slice_minutes": shop.slice_minutes,
        "event_slice_minutes": event_slice_minutes(shop.slice_minutes),
        "live": shop.live,
        "event_names": list(CUSTOMER_EVENTS),
        "campaign_event_names": list(CAMPAIGN_EVENTS),
        "categories": [{"id": category, "slug": slug(category)} for category in shop.category_ids],
        "attributes": [{"name": name, "type": _dbt_type(spec.type)} for name, spec in shop.attributes.items()],
        "windows_days": shop.windows_days,
        "label_horizon_days": shop.label_horizon_days,
        "churn_horizon_days": shop.churn_horizon_days,
        "rfm_window_days": shop.rfm.window_days,
        "segment_grid": shop.rfm.segment_grid,
        "training_cutoffs": shop.training.cutoffs,
        "matured_cutoffs": MATURED_CUTOFFS,
        "monitored_days": MONITORED_DAYS,
        "monitored_customers": MONITORED_CUSTOMERS,
        "channels": shop.channels,
        "features": [{**asdict(feature), "type": feature_type(shop, feature)} for feature in feature_list(shop)],
    }
