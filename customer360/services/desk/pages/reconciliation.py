"""Reconciliation: our days beside those of an uploaded export, and what explains the difference. Nothing is kept of it."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

import pandas as pd
from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _

from customer360.reconciliation.compare import Reconciliation, reconcile, usual_tool
from customer360.reconciliation.exports import COLUMNS, DATE, MOST_BYTES, ExportError, read_export
from customer360.reconciliation.own import CAUSES, POSSIBLE, FiguresError, Tool
from customer360.services.desk.access import VIEW, DeskRequest, page
from customer360.services.desk.show import csv_response
from customer360.settings import Shop

KINDS = {"ga4": _("Google Analytics 4"), "books": _("The shop's books"), "mail": _("The mail provider")}
MEASURES = {
    **{"sessions": _("Sessions"), "visitors": _("Visitors"), "orders": _("Orders"), "revenue": _("Revenue")},
    **{"sent": _("Sent"), "opened": _("Opened"), "clicked": _("Clicked"), "bounced": _("Bounced")},
}
CAUSE_TITLES = {
    "time_zone": _("Time zone"),
    "returns": _("Returns"),
    "without_visit": _("Orders without a visit"),
    "robots": _("Robots"),
    "late": _("Came late"),
    "repeats": _("Sent again"),
}


class Upload(forms.Form):
    """The export, and how its tool counts."""

    kind = forms.ChoiceField(label=_("Export of"), choices=list(KINDS.items()))
    file = forms.FileField(label=_("CSV file with one row per day"), max_length=200)
    zone = forms.CharField(label=_("Its days begin in the time zone"), max_length=64)
    returns = forms.ChoiceField(
        label=_("Returns lower its revenue"),
        choices=[("", _("as usual for the tool")), ("yes", _("yes")), ("no", _("no"))],
        required=False,
    )

    def clean_zone(self) -> str:
        """An IANA name."""
        zone = str(self.cleaned_data["zone"]).strip()
        if zone not in available_timezones():
            raise forms.ValidationError(_("Name a time zone as Europe/Amsterdam or UTC."))
        return zone

    def tool(self, shop: Shop) -> Tool:
        """How the tool counts."""
        returns = self.cleaned_data["returns"]
        usual = usual_tool(self.cleaned_data["kind"], shop)
        return Tool(self.cleaned_data["zone"], usual.is_net_of_returns if not returns else returns == "yes")


@page("reconciliation/", VIEW, name="reconciliation", title=_("Reconciliation"), order=80, methods=("GET", "POST"))
def reconciliation(request: DeskRequest) -> HttpResponse:
    """The form; a POST compares the file, as a page or as CSV."""
    if request.method == "GET":
        form = Upload(initial={"zone": request.settings.shop.time_zone})
        return render(request, "desk/reconciliation.html", {"form": form, "columns": _known_columns()})
    form = Upload(request.POST, request.FILES)
    context: dict[str, Any] = {"form": form, "columns": _known_columns()}
    if form.is_valid():
        file = form.cleaned_data["file"]
        try:
            export = read_export(form.cleaned_data["kind"], file.name, file.read(MOST_BYTES + 1))
            found = reconcile(request.snapshot, export, form.tool(request.settings.shop))
        except (ExportError, FiguresError) as error:
            form.add_error("file", str(error))
        else:
            if request.POST.get("as") == "csv":
                return csv_response("reconciliation", found.days)
            context |= {"found": found, "parts": _parts(found), "lines": found.lines.to_dict("records")}
    return render(request, "desk/reconciliation.html", context)


def _known_columns() -> list[tuple[Any, str]]:
    """Of each kind, the names of columns that are read."""
    return [(KINDS[kind], ", ".join(name for names in columns.values() for name in names)) for kind, columns in COLUMNS.items()]


def _parts(found: Reconciliation) -> list[dict[str, Any]]:
    """Of each measure its total and its days, with the causes that play a part in any of them."""
    totals = found.totals.set_index("measure")
    return [
        _part(str(measure), totals.loc[measure] if measure in totals.index else None, days)
        for measure, days in found.days.groupby("measure", sort=False)
    ]


def _part(measure: str, total: Any, days: pd.DataFrame) -> dict[str, Any]:
    causes = [cause for cause in (*CAUSES, *POSSIBLE) if days[cause].fillna(0).any()]
    certain = [cause for cause in causes if cause in CAUSES]
    columns = ["theirs", "ours", "difference", *certain, "unexplained", *(cause for cause in causes if cause in POSSIBLE)]
    titles = {"theirs": _("Theirs"), "ours": _("Ours"), "difference": _("Difference"), "unexplained": _("Unexplained")}
    return {
        "name": measure,
        "title": MEASURES[measure],
        "is_money": measure == "revenue",
        "header": [{**titles, **CAUSE_TITLES}[column] for column in columns],
        "total": None if total is None else total.to_dict(),
        "sums": None if total is None else [total[column] for column in columns],
        "days": [{"date": row[DATE], "cells": [row[column] for column in columns]} for row in days.to_dict("records")],
    }
