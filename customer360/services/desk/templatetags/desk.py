"""Filters that write numbers and times in the shop's locale and zone, and the tag of a chart."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from babel import dates, numbers
from django import template
from django.conf import settings
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from customer360.campaigns.conditions import written
from customer360.kept import Kept
from customer360.services.desk.charts import Drawn, is_missing

register = template.Library()
MISSING = "-"
CHARTS: Kept[SafeString] = Kept(300)
LONGEST = 300_000  # characters of a chart that is kept


def _is_missing(value: Any) -> bool:
    return is_missing(value) or (isinstance(value, str) and not value)


@register.filter
def number(value: Any, digits: int = 0) -> str:
    """A number with so many digits after the decimal sign."""
    if _is_missing(value):
        return MISSING
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return numbers.format_decimal(value, pattern, locale=settings.DESK.babel_locale)


@register.filter
def money(value: Any, digits: int | None = None) -> str:
    """An amount in the shop's currency; ``0`` leaves its cents away."""
    if _is_missing(value):
        return MISSING
    locale, currency = settings.DESK.babel_locale, settings.SNAPSHOTS.settings.shop.currency
    if digits is None:
        return numbers.format_currency(value, currency, locale=locale)
    pattern = locale.currency_formats["standard"].pattern.replace(".00", "." + "0" * digits if digits else "")
    return numbers.format_currency(value, currency, pattern, locale=locale, currency_digits=False)


@register.filter
def percent(value: Any, digits: int = 1) -> str:
    """A share from 0 to 1 as a percentage."""
    if _is_missing(value):
        return MISSING
    return numbers.format_percent(
        value, "#,##0" + ("." + "0" * digits if digits else "") + "%", locale=settings.DESK.babel_locale
    )


@register.filter
def moment(value: Any, style: str = "medium") -> str:
    """A time, plain UTC or with its zone, on the shop's clock."""
    if _is_missing(value):
        return MISSING
    zone = ZoneInfo(settings.SNAPSHOTS.settings.shop.time_zone)
    return dates.format_datetime(_aware(value), style, tzinfo=zone, locale=settings.DESK.babel_locale)


@register.filter
def day(value: Any, style: str = "medium") -> str:
    """A date, or the date of a time that is the shop's already."""
    if _is_missing(value):
        return MISSING
    return dates.format_date(pd.Timestamp(value).date(), style, locale=settings.DESK.babel_locale)


@register.filter
def duration(value: Any) -> str:
    """A time span in its largest unit."""
    if _is_missing(value):
        return MISSING
    span = value if isinstance(value, timedelta) else timedelta(seconds=float(value))
    return dates.format_timedelta(span, locale=settings.DESK.babel_locale)


@register.filter
def ago(value: Any) -> str:
    """How long ago a time is, by the wall clock."""
    if _is_missing(value):
        return MISSING
    return dates.format_timedelta(_aware(value) - datetime.now(UTC), add_direction=True, locale=settings.DESK.babel_locale)


@register.filter
def cell(value: Any) -> str:
    """A value of a table by its type; a number below 1, such as a share, with four digits."""
    if _is_missing(value):
        return MISSING
    if isinstance(value, pd.Timestamp | datetime):
        return day(value) if value == pd.Timestamp(value).normalize() else moment(value, "short")
    if isinstance(value, date):
        return day(value)
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return str(value)
    return number(value, 0 if float(value).is_integer() else 2 if abs(value) >= 1 else 4)


@register.filter
def audience_value(value: bool | float | str) -> str:
    """A value as the fields of the audience builder have it."""
    return value if isinstance(value, str) else written(value)


@register.filter
def is_number(value: Any) -> bool:
    """Whether a cell is set to the right."""
    return hasattr(value, "__float__") and not isinstance(value, bool)


@register.simple_tag(takes_context=True)
def chart(context: template.Context, drawn: Drawn) -> SafeString:
    """A chart with its table, CSV, SQL and link. All but the links, which hold the page's filters, is kept for the same rows.

    A page of charts spends its time on writing their cells.
    """
    chart = drawn.chart
    key = (context["request"].path, chart.key, str(chart.title), str(chart.note), str(chart.empty), drawn.key)
    shown = {"drawn": drawn, "chart": chart}
    body = CHARTS.of(key, lambda: render_to_string("desk/chart_body.html", shown), lambda text: len(text) <= LONGEST)
    return render_to_string("desk/chart.html", {**shown, "body": body})


def _aware(value: Any) -> datetime:
    found: datetime = pd.Timestamp(value).to_pydatetime()
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
