"""What Dagster says: failed checks, and the progress of a run that somebody asked for here."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from customer360.services.desk.access import ACCOUNTS, VIEW, DeskRequest, page
from customer360.services.desk.audit import record
from customer360.services.desk.dagster import DagsterError, failed_checks, launch, read_run
from customer360.services.desk.pages.campaigns import PLAN_REQUESTED, RUN_STARTED

JOBS = {
    "training_job": _("Train the models"),
    "daily_job": _("Load reference tables, plan, look for drift"),
}


DAILY = {"daily_job"}


def published_day(request: DeskRequest) -> str:
    """The key of the daily partition that the published version belongs to: plans are made of what is published."""
    return f"{request.snapshot.as_of.astimezone(ZoneInfo(request.settings.shop.time_zone)):%Y-%m-%d}"


@page("checks/", VIEW, name="checks", reads=False)
def checks(request: DeskRequest) -> HttpResponse:
    """A part of Today: it must not wait for Dagster."""
    try:
        return render(request, "desk/checks.html", {"failed": failed_checks()})
    except DagsterError as error:
        return render(request, "desk/checks.html", {"problem": error})


@page("runs/", ACCOUNTS, name="start_run", methods=("POST",))
def start_run(request: DeskRequest) -> HttpResponse:
    """Ask for a run of one of ``JOBS``; those of a day are asked for the published day."""
    job = request.POST.get("job", "")
    if job not in JOBS:
        raise Http404(gettext("There is no such job."))
    day = published_day(request) if job in DAILY else ""
    if day:
        record(request, PLAN_REQUESTED, subject=day, details={"job": job})
    record(request, "run asked for", subject=job)
    try:
        run_id = launch(job, request.user.get_username(), day)
    except DagsterError as error:
        messages.error(request, str(error))
        return redirect("models")
    record(request, RUN_STARTED, subject=run_id, details={"job": job})
    return redirect("run", run_id=run_id)


@page("runs/<uuid:run_id>/", VIEW, name="run", reads=False)
def run(request: DeskRequest, run_id: object) -> HttpResponse:
    """The progress of a run; htmx asks for the part that changes, until it is over."""
    try:
        context: dict[str, object] = {"run": read_run(str(run_id))}
    except DagsterError as error:
        context = {"problem": error}
    return render(request, "desk/run_progress.html" if request.htmx else "desk/run.html", context)
