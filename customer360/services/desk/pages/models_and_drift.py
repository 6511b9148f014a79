"""Models and drift: the champions, their history, cards and plots as training left them, and drift columns over time."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from markdown_it import MarkdownIt

from customer360.services.desk.access import VIEW, DeskRequest, page
from customer360.services.desk.charts import Chart, heatmap, line
from customer360.services.desk.pages.runs import JOBS
from customer360.services.desk.show import show

CHOICES = (7, 30, 60, 180, 365)  # days of drift reports
NAME = re.compile(r"[A-Za-z0-9_-]+")
VERSIONS = """
select model_name, model_version, is_champion, status, reason, created_at, decided_at, decided_by, log_loss, best_baseline,
    best_baseline_log_loss, auc, calibration_error, lift_10, rows_train, feature_count
from model_versions
order by model_name, created_at desc
"""
LOSSES = """
select created_at, model_name, model_version, log_loss / nullif(best_baseline_log_loss, 0) as relative_loss
from model_versions
where log_loss is not null
order by created_at
"""
# A value above 1 is beyond the column's threshold.
DRIFT = """
with

measured as (

    select report_date, kind || ': ' || "column" as measure, max(value / nullif(threshold, 0)) as ratio
    from drift_metrics
    where report_date > (select max(report_date) from drift_metrics) - $days and value is not null
    group by all
)

select report_date, measure, ratio
from measured
qualify row_number() over (partition by report_date order by ratio desc nulls last, measure) <= $columns
order by report_date, ratio desc
"""
ALARMS = """
select report_date, count(*) filter (where is_drifted) as drifted
from drift_metrics
where report_date > (select max(report_date) from drift_metrics) - $days
group by report_date
order by report_date
"""


@page("models/", VIEW, name="models", title=_("Models and drift"), order=85)
def models(request: DeskRequest) -> HttpResponse:
    """Every model's versions, and what drifted."""
    folder = Path(request.settings.place.reports / "models")
    cards = {(card.parent.parent.name, card.parent.name) for card in folder.glob("*/*/card.md")}
    found: dict[str, list[dict[Hashable, Any]]] = {}
    if request.snapshot.has("model_versions"):
        for row in request.snapshot.read(VERSIONS).to_dict("records"):
            row["has_card"] = (row["model_name"], row["model_version"]) in cards
            found.setdefault(row["model_name"], []).append(row)
    days = next((choice for choice in CHOICES if str(choice) == request.GET.get("days")), 60)
    charts = [
        Chart(
            "losses",
            _("Log loss of each version, as a share of its best baseline's"),
            LOSSES,
            {},
            line("created_at", "relative_loss", by="model_name"),
            note=_("Below 1 is better than the best baseline on the last cut-off."),
            empty=_("No version has been judged yet: run training_job."),
        ),
        Chart(
            "alarms",
            _("Drifted columns by report"),
            ALARMS,
            {"days": days},
            line("report_date", "drifted"),
            empty=_("There is no drift report yet: daily_job makes one every day."),
        ),
        Chart(
            "drift",
            _("The columns nearest to their threshold"),
            DRIFT,
            {"days": days, "columns": 20},
            heatmap("report_date", "measure", "ratio"),
            note=_("Distance between the report's week and the training data over the column's threshold: above 1 it drifted."),
            empty=_("There is no drift report yet: daily_job makes one every day."),
        ),
    ]
    has = {"losses": "model_versions", "alarms": "drift_metrics", "drift": "drift_metrics"}
    shown = [chart for chart in charts if request.snapshot.has(has[chart.key])]
    reports = sorted((path.stem for path in (request.settings.place.reports / "drift").glob("*.html")), reverse=True)
    return show(
        request,
        "desk/models.html",
        {"models": found, "days": days, "choices": CHOICES, "jobs": JOBS, "reports": reports[:1]},
        shown,
    )


@page("models/<str:name>/<str:version>/", VIEW, name="model_card")
def model_card(request: DeskRequest, name: str, version: str) -> HttpResponse:
    """The card of a version, as training wrote it, with its plots."""
    card = _folder(request, name, version) / "card.md"
    if not card.exists():
        raise Http404(gettext("This version has no card."))
    return render(request, "desk/model_card.html", {"name": name, "version": version, "card": _html(card)})


@page("models/<str:name>/<str:version>/<str:plot>.png", VIEW, name="model_plot")
def model_plot(request: DeskRequest, name: str, version: str, plot: str) -> HttpResponse:
    """A plot that stands beside a card."""
    file = _folder(request, name, version) / f"{plot}.png"
    if not NAME.fullmatch(plot) or not file.exists():
        raise Http404(gettext("This version has no such plot."))
    return FileResponse(file.open("rb"), content_type="image/png")  # type: ignore[return-value]


def _folder(request: DeskRequest, name: str, version: str) -> Path:
    """Where training left what it wrote about a version. Raises ``Http404`` for names that no version has."""
    if not (NAME.fullmatch(name) and NAME.fullmatch(version)):
        raise Http404(gettext("There is no such model."))
    return Path(request.settings.place.reports / "models" / name / version)


def _html(card: Path) -> SafeString:
    """A card's Markdown as HTML. Markup that names in the data may carry is shown as text."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    return SafeString(markdown.render(card.read_text(encoding="utf-8")))
