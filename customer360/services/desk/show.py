"""Answers: a page with its charts, or the rows of one chart as CSV; and what every page is given."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pandas as pd
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext

from customer360.services.desk.access import DeskRequest, listed_pages
from customer360.services.desk.charts import Chart, Drawn, is_missing

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def show(
    request: DeskRequest, template: str, context: Mapping[str, Any] | None = None, charts: Sequence[Chart] = ()
) -> HttpResponse:
    """The page, with its charts by key as ``charts``; with ``?csv=<key>`` the rows of that chart, which alone is computed."""
    by_key = {chart.key: chart for chart in charts}
    if wanted := request.GET.get("csv"):
        if wanted not in by_key:
            raise Http404(gettext("There is no such table on this page."))
        if (asked := _drawn(by_key[wanted], request)) is None:
            raise Http404(gettext("There is no such table on this page."))
        if asked.is_too_large:
            return HttpResponse(asked.chart.empty, status=413, content_type="text/plain; charset=utf-8")
        return csv_response(wanted, asked.rows)
    drawn = {key: _drawn(chart, request) for key, chart in by_key.items()}
    known = {key: chart for key, chart in drawn.items() if chart is not None}
    return render(request, template, {**(context or {}), "charts": known})


def _drawn(chart: Chart, request: DeskRequest) -> Drawn | None:
    """None where a table that the chart reads or joins is not published yet."""
    try:
        return Drawn.of(chart, request)
    except duckdb.CatalogException as error:
        if "Table with name" not in str(error):
            raise
        return None


def csv_response(name: str, rows: Any) -> HttpResponse:
    """A data frame as a file for spreadsheets; texts that these would take for formulas begin with an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(rows.columns)
    writer.writerows([safe_cell(value) for value in row] for row in rows.itertuples(index=False))
    response = HttpResponse(buffer.getvalue(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


def safe_cell(value: Any) -> Any:
    """A value of a CSV: a text that a spreadsheet would take for a formula begins with an apostrophe; missing is empty."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    if isinstance(value, pd.Timestamp) and value == value.normalize():
        return value.date().isoformat()
    return "" if is_missing(value) else value


def everywhere(request: HttpRequest) -> dict[str, Any]:
    """What all templates see: the shop, and the pages of the navigation."""
    user = getattr(request, "user", None)
    pages = listed_pages(request.user) if user is not None and user.is_authenticated else []  # type: ignore[arg-type]
    match = getattr(request, "resolver_match", None)
    return {
        "shop": settings.SNAPSHOTS.settings.shop,
        "pages": pages,
        "page_name": match.url_name if match else "",
        "has_single_sign_on": bool(settings.DESK.oidc_issuer),
        "dagster_url": settings.DESK.dagster_url,
        "language": settings.DESK.locale,
    }


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The page for a form whose token is old: after a sign-in in another tab, or a restart with another key."""
    return render(request, "403_csrf.html", {"reason": reason}, status=403)
