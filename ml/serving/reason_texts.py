"""Reasons as text for marketers: "4 views of Fitness in 3 days", "bought Beauty 2 times in 30 days, 84.50 EUR"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from customer360.features import Feature
from customer360.settings import NONE, OTHER, AttributeType, Shop
from customer360.text import many, without_markup
from ml.frames import MISSING

# Longer titles and values are cut, so that a reason mostly has at most 60 characters.
LONGEST = 24
# Measures of one quantity in two units: one reason for both, with both in its text.
TOPICS = {
    "dwell_seconds": "views",
    "spend": "orders",
    "monetary": "frequency",
    "lifetime_spend": "lifetime_lines",
    "lifetime_share": "lifetime_lines",
}
QUIET_DAYS = 7  # from then on the reason is the absence


def topic(feature: Feature) -> tuple[str, str | None]:
    """What a feature is about: features of one topic are one reason, whatever their window."""
    return TOPICS.get(feature.measure, feature.measure), feature.category_id


class ReasonTexts:
    """The texts of a shop's features. ``titles``: name of each category; its id where the name is missing."""

    def __init__(self, features: Sequence[Feature], shop: Shop, titles: Mapping[str, str]) -> None:
        self._shop, self._titles = shop, titles
        self._names = {(feature.measure, feature.category_id, feature.window_days): feature.name for feature in features}

    def texts(self, feature: Feature, matrix: pd.DataFrame) -> Iterator[str]:
        """For each row of a feature matrix, the reason that the feature gives. Producers' texts are shown without markup."""
        if feature.kind == "categorical":
            yield from (self._choice(feature, str(value)) for value in matrix[feature.name])
            return
        values = _floats(matrix, feature.name)
        first, second = _PAIRS.get(topic(feature)[0], (feature.measure, None))
        firsts, seconds = (self._sibling(feature, measure, matrix) for measure in (first, second))
        for value, of_first, of_second in zip(values, firsts, seconds, strict=True):
            known = None if np.isnan(value) else float(value)
            yield self._number(feature, known, _or_zero(of_first), _or_zero(of_second))

    def _sibling(self, feature: Feature, measure: str | None, matrix: pd.DataFrame) -> np.ndarray:
        """The values of another measure of the same category and window; zeros where there is none."""
        name = self._names.get((measure or "", feature.category_id, feature.window_days))
        return _floats(matrix, name) if name in matrix.columns else np.zeros(len(matrix))

    def _choice(self, feature: Feature, value: str) -> str:
        if feature.measure == "last_category_id":
            return "has not bought yet" if value in {NONE, MISSING} else f"last bought {self._title(value)}"
        return f"{_label(feature)}: {'not known' if value == MISSING else without_markup(value, LONGEST)}"

    def _number(self, feature: Feature, value: float | None, first: float, second: float) -> str:
        about, category = topic(feature)
        days = feature.window_days or self._shop.rfm.window_days
        within = f"in {many(days, 'day')}"
        title = self._title(category) if category else None
        if about == "views":
            return f"{_looks(title, first, second, is_time=feature.measure == 'dwell_seconds')} {within}"
        if about in {"orders", "frequency", "lifetime_lines"}:
            paid = f", {second:,.2f} {self._shop.currency}" if first and second > 0 else ""
            bought = _lifetime(title, first) if about == "lifetime_lines" else f"{_orders(title, first)} {within}"
            return f"{bought}{paid}"
        if about in _COUNTS:
            return f"{_count(about, value or 0.0)} {within}"
        if about in {"returned_amount", "return_share"}:
            return f"returned {self._returned(feature, value)} {within}"
        if about in _SINCE:
            return _SINCE[about](value)
        return f"{_label(feature)}: {self._attribute(feature, value)}"

    def _returned(self, feature: Feature, value: float | None) -> str:
        if not value:
            return "nothing"
        return f"{value:.0%} of purchases" if feature.measure == "return_share" else f"{value:,.2f} {self._shop.currency}"

    def _title(self, category: str) -> str:
        if category == OTHER:
            return "other products"
        title = self._titles.get(category, "").strip() or category.replace("_", " ").capitalize()
        return without_markup(title, LONGEST)

    def _attribute(self, feature: Feature, value: float | None) -> str:
        if value is None:
            return "not known"
        spec = self._shop.attributes.get(feature.name)
        if spec is not None and spec.type is AttributeType.BOOLEAN:
            return "yes" if value else "no"
        return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


_PAIRS = {
    "views": ("views", "dwell_seconds"),
    "orders": ("orders", "spend"),
    "frequency": ("frequency", "monetary"),
    "lifetime_lines": ("lifetime_lines", "lifetime_spend"),
}
_COUNTS = {  # none, one, several
    "carts": ("put nothing into the cart", "put 1 product into the cart", "put {} products into the cart"),
    "offers_shown": ("saw no offer", "saw 1 offer", "saw {} offers"),
    "offers_clicked": ("clicked no offer", "clicked 1 offer", "clicked {} offers"),
}


def _looks(title: str | None, views: float, seconds: float, *, is_time: bool) -> str:
    if is_time and seconds:
        return f"{_duration(seconds)} on {title or 'products'}"
    if views:
        return f"{many(round(views), 'view')} of {title or 'products'}"
    return f"did not look at {title or 'any product'}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return "less than a minute"
    minutes = round(seconds / 60)
    return many(minutes, "minute") if minutes < 120 else many(round(seconds / 3600), "hour")


def _orders(title: str | None, orders: float) -> str:
    count = round(orders)
    if title is None:
        return many(count, "order") if count else "no order"
    if not count:
        return f"did not buy {title}"
    return f"bought {title} {'once' if count == 1 else f'{count:,} times'}"


def _lifetime(title: str | None, lines: float) -> str:
    if not lines:
        return f"never bought {title or 'anything'}"
    return f"{_orders(title, lines)} so far" if title else f"bought {many(round(lines), 'product')} so far"


def _count(measure: str, amount: float) -> str:
    nothing, single, several = _COUNTS[measure]
    count = round(amount)
    return nothing if not count else single if count == 1 else several.format(f"{count:,}")


def _last_activity(days: float | None) -> str:
    if days is None:
        return "not active yet"
    if days >= QUIET_DAYS:
        return f"not active for {many(int(days), 'day')}"
    return f"last active {_ago(days)}" if days >= 1 else "active within a day"


def _last_order(days: float | None) -> str:
    return "no order yet" if days is None else f"last order {_ago(days)}"


_SINCE = {"recency_days": _last_order, "days_since_last_activity": _last_activity}


def _ago(days: float) -> str:
    full_days = int(days)
    return f"{many(full_days, 'day')} ago" if full_days else "today"


def _label(feature: Feature) -> str:
    """What shop.yaml calls an attribute, else its name with blanks."""
    return feature.description if feature.description != feature.name else feature.name.replace("_", " ").capitalize()


def _floats(matrix: pd.DataFrame, name: str | None) -> np.ndarray:
    return matrix[name].to_numpy(np.float64)


def _or_zero(value: float) -> float:
    return 0.0 if np.isnan(value) else float(value)
