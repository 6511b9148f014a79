"""Campaigns: the list, one campaign with its draft, decisions on it, planning, and what it brought."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.conf import settings as django_settings
from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from customer360.campaigns.approval import Approved, Withdrawn, approve, withdraw
from customer360.campaigns.definition import Campaign, Channel
from customer360.campaigns.drafts import MEASURED, definition_of
from customer360.campaigns.files import made_file
from customer360.campaigns.overview import CampaignOverview, campaign_overviews
from customer360.decisions import DecisionRefused, Request
from customer360.definition_files import is_name
from customer360.lake.operations.clock import shop_now
from customer360.services.desk.access import APPROVE, PLAN, VIEW, DeskRequest, page
from customer360.services.desk.audit import record
from customer360.services.desk.charts import Chart, bar, heatmap, line, with_bands
from customer360.services.desk.dagster import DagsterError, launch
from customer360.services.desk.models import AuditEntry
from customer360.services.desk.planning import brief_of, planned_again, reason_texts
from customer360.services.desk.publications import publish_soon
from customer360.services.desk.show import show
from customer360.snapshot import published_touches

JOB, PLAN_REQUESTED, CAMPAIGN_SAVED, RUN_STARTED = "campaign_job", "plan requested", "campaign saved", "run started"
APPROVED_ENTRY, COVERED = "campaign approved", "saves_covered"
CALENDAR = """
select strftime(contact_date, '%a %d %b') || ' ' || daypart as day_and_daypart, channel, count(*) as contacts
from campaign_plan where campaign_id = $campaign and plan_version = $version and decision = 'contact'
group by contact_date, daypart, channel order by contact_date, min(send_at), channel
"""
PROGRESS = """
select cast(event_at as date) as day, if(event = 'suppressed', 'not sent', event) as what, count(*) as contacts
from campaign_ledger
where campaign_id = $campaign and arm = 'contact' and event not in ('planned', 'approved', 'salt')
group by all order by 1, 2
"""
NOT_SENT = """
select detail as reason, count(*) as contacts from campaign_ledger
where campaign_id = $campaign and event = 'suppressed' and arm = 'contact' group by all order by 2 desc, 1
"""
DECILES = """
select decile, customers, predicted as expected, realised as ordered from campaign_result_deciles
where campaign_id = $campaign order by decile
"""
JUDGED = """
select campaign_id, is_closed, contacted, lift, lift_low, lift_high, profit, verdict
from campaign_results where arm = 'contact' order by campaign_id
"""
RESULTS = "from campaign_results where campaign_id = ? order by arm"
DAYS = """
select day, contacts, holdouts, contact_rate, holdout_rate, lift, anytime_low, anytime_high, lift_low, lift_high
from campaign_result_days where campaign_id = $campaign order by day
"""
DAYS_LABELS = {
    **{"day": gettext_lazy("Day"), "contacts": gettext_lazy("Contacts"), "holdouts": gettext_lazy("Held out")},
    "contact_rate": gettext_lazy("Ordered"),
    "holdout_rate": gettext_lazy("Ordered, held out"),
    "lift": gettext_lazy("Lift"),
    **{"anytime_low": gettext_lazy("On all days, from"), "anytime_high": gettext_lazy("On all days, to")},
    **{"lift_low": gettext_lazy("On one day, from"), "lift_high": gettext_lazy("On one day, to")},
}
BANDS = (
    ("anytime_low", "anytime_high", gettext_lazy("95% interval, holds on all days at once")),
    ("lift_low", "lift_high", gettext_lazy("95% interval, holds on one day chosen beforehand")),
)

Decision = TypeVar("Decision", Approved, Withdrawn)


@dataclass(frozen=True)
class Step:
    """Customers whom a rule leaves out, and why in words."""

    name: str
    customers: int
    text: str


@page("campaigns/", VIEW, name="campaigns", title=gettext_lazy("Campaigns"), order=40)
def campaigns(request: DeskRequest) -> HttpResponse:
    """Every campaign with its state, in the order of planning."""
    context = {"overviews": campaign_overviews(request.settings), "may_plan": request.may(PLAN), "day": _day(request)}
    judged = request.snapshot.connection.execute(JUDGED).df() if request.snapshot.has("campaign_results") else None
    return show(request, "desk/campaigns.html", {**context, "judged": [] if judged is None else judged.to_dict("records")})


@page("campaigns/<slug:campaign_id>/", VIEW, name="campaign")
def campaign(request: DeskRequest, campaign_id: str) -> HttpResponse:
    """One campaign: its draft with calendar, cost, profit and reasons; what is approved, and how far its sending is."""
    overview = _overview(request, campaign_id)
    draft, charts = overview.draft, []
    brief: dict[str, Any] = {}
    sentences: list[str] = []
    if draft is not None:
        brief, sentences = brief_of(request.snapshot, draft.plan_version)
        if request.snapshot.has("campaign_plan"):
            charts.append(
                Chart(
                    "calendar",
                    gettext_lazy("Contacts by channel, day and daypart"),
                    CALENDAR,
                    {"campaign": campaign_id, "version": draft.plan_version},
                    figure=heatmap("day_and_daypart", "channel", "contacts"),
                    empty=gettext_lazy("This draft contacts nobody. The reasons below say why."),
                )
            )
    if overview.versions and request.snapshot.has("campaign_ledger"):
        charts += _progress(campaign_id)
    approved = {version.plan_version for version in overview.versions}
    context = {
        "overview": overview,
        "brief": brief,
        "sentences": sentences,
        "steps": _steps(request, overview),
        "is_approved": draft is not None and draft.plan_version in approved,
        "needs_evidence": draft is not None and draft.value_basis != MEASURED,
        "is_made_here": is_name(campaign_id) and made_file(request.settings, campaign_id).exists(),
        "may_plan": request.may(PLAN),
        "may_approve": request.may(APPROVE),
        "planners": sorted(planners(overview)) if draft is not None else [],
        "four_eyes": django_settings.DESK.four_eyes,
        "day": _day(request),
        "channels": _limits(request, overview.campaign),
    }
    return show(request, "desk/campaign.html", context, charts=charts)


@page("campaigns/<slug:campaign_id>/what-if/", PLAN, name="campaign_what_if")
def what_if(request: DeskRequest, campaign_id: str) -> HttpResponse:
    """The campaign planned again with another budget and other capacities; nothing is saved."""
    overview = _overview(request, campaign_id)
    if overview.campaign is None:
        raise Http404(_("This campaign has no file that could be planned."))
    changed = overview.campaign
    context: dict[str, Any] = {"overview": overview}
    try:
        changed = _changed(request, overview.campaign)
        found = planned_again(request.snapshot, overview.campaign, changed)
        context |= {"now": found.now, "then": found.then, "sentences": found.sentences}
    except ValueError as wrong:
        context["error"] = str(wrong)
    return show(request, "desk/campaign_what_if.html", {**context, "channels": _limits(request, changed), "changed": changed})


@page("campaigns/<path:campaign_id>/results/", VIEW, name="campaign_results")
def results(request: DeskRequest, campaign_id: str) -> HttpResponse:
    """What a campaign brought beside the customers who were held out."""
    snapshot = request.snapshot
    has_results = snapshot.has("campaign_results")
    rows = snapshot.connection.execute(RESULTS, [campaign_id]).df().astype(object) if has_results else None
    arms = {} if rows is None else {row["arm"]: row for row in rows.where(rows.notna(), None).to_dict("records")}
    charts = [_lift_chart(campaign_id, is_closed=bool(arms.get("contact", {}).get("is_closed")))]
    if snapshot.has("campaign_result_deciles"):
        charts.append(
            Chart(
                "deciles",
                gettext_lazy("By tenths of the expectation"),
                DECILES,
                {"campaign": campaign_id},
                figure=bar("decile", ["expected", "ordered"], unit="%"),
                note=gettext_lazy("Customers who were contacted, from the least to the most expected to order."),
                empty=gettext_lazy("Tenths are judged once the campaign is closed, where each has 10 customers or more."),
            )
        )
    context = {"campaign_id": campaign_id, "contact": arms.get("contact"), "holdout": arms.get("holdout")}
    return show(request, "desk/campaign_results.html", context, charts=charts)


@page("campaigns/<slug:campaign_id>/approve/", APPROVE, name="campaign_approve", methods=("POST",))
def campaign_approve(request: DeskRequest, campaign_id: str) -> HttpResponse:
    """Approve the newest draft; the library decides under its lock whether that is still possible."""
    version, reason = request.POST.get("version", ""), request.POST.get("reason", "")
    saves = list(_saves(campaign_id).values_list("id", flat=True)[:1])
    overview = _overview(request, campaign_id)
    user, now = request.user.get_username(), datetime.now(UTC)
    if django_settings.DESK.four_eyes and user in planners(overview):
        messages.error(request, _("You made or planned this campaign, so somebody else has to approve it."))
        return redirect("campaign", campaign_id)
    details: dict[str, Any] = {"version": version}
    if saves and overview.campaign == definition_of(request.settings.place, campaign_id, version):
        details[COVERED] = saves[0]

    def decide() -> Approved:
        return approve(
            request.settings,
            campaign_id,
            version,
            Request(reason, now, user),
            shop_now(request.settings, now),
            touches=published_touches(request.settings),
            without_evidence=request.POST.get("without_evidence") == "on",
            is_published=False,
        )

    done = _decided(request, APPROVED_ENTRY, decide, subject=campaign_id, reason=reason, details=details)
    if done is None:
        return redirect("campaign", campaign_id)
    if done.before:
        messages.info(request, _("%(version)s was %(before)s already.") % {"version": version, "before": done.before})
    else:
        counts = {"version": version, "contacts": f"{done.contacts:,}", "holdouts": f"{done.holdouts:,}"}
        messages.success(request, _("%(version)s is approved: %(contacts)s contacts, %(holdouts)s held out.") % counts)
    return redirect("campaign", campaign_id)


@page("campaigns/<slug:campaign_id>/withdraw/", APPROVE, name="campaign_withdraw", methods=("POST",))
def campaign_withdraw(request: DeskRequest, campaign_id: str) -> HttpResponse:
    """Take back what is approved and not sent."""
    reason, now = request.POST.get("reason", ""), datetime.now(UTC)

    def decide() -> Withdrawn:
        asked = Request(reason, now, request.user.get_username())
        return withdraw(request.settings, campaign_id, asked, shop_now(request.settings, now), is_published=False)

    done = _decided(request, "campaign withdrawn", decide, subject=campaign_id, reason=reason, details={})
    if done is None:
        return redirect("campaign", campaign_id)
    counts = {"contacts": f"{done.contacts:,}", "sent": f"{done.sent:,}"}
    messages.success(request, _("%(contacts)s contacts are withdrawn; %(sent)s had been sent and stay sent.") % counts)
    return redirect("campaign", campaign_id)


@page("campaign-plans/", PLAN, name="campaigns_plan", methods=("POST",))
def campaigns_plan(request: DeskRequest) -> HttpResponse:
    """Ask Dagster to plan all campaigns for the published day."""
    day = _day(request)
    record(request, PLAN_REQUESTED, subject=day, details={"job": JOB})
    try:
        run_id = launch(JOB, request.user.get_username(), day)
    except DagsterError as error:
        messages.error(request, _("Nothing was planned: %(error)s") % {"error": error})
        return redirect("campaigns")
    record(request, RUN_STARTED, subject=run_id, details={"job": JOB})
    return redirect("run", run_id)


def planners(overview: CampaignOverview) -> set[str]:
    """Who may not approve a campaign's newest draft: who asked for a plan of its day, or saved its file since an approval.

    An approval covers the saves that its draft was made of: where the file was changed between plan and approval, it covers
    none. Plans that are started in Dagster or by a command are not known here.
    """
    if overview.draft is None:
        return set()
    day = overview.draft.plan_version.removeprefix(f"{overview.campaign_id}-")[:10]
    asked = set(AuditEntry.objects.filter(action=PLAN_REQUESTED, subject=day).values_list("username", flat=True))
    approved = AuditEntry.objects.filter(action=APPROVED_ENTRY, subject=overview.campaign_id)
    covered = max((details.get(COVERED, 0) for details in approved.values_list("details", flat=True)), default=0)
    return asked | set(_saves(overview.campaign_id).filter(id__gt=covered).values_list("username", flat=True))


def _saves(campaign_id: str) -> QuerySet[AuditEntry]:
    """The newest first."""
    return AuditEntry.objects.filter(action=CAMPAIGN_SAVED, subject=campaign_id)


def _decided(
    request: DeskRequest, action: str, decide: Callable[[], Decision], *, subject: str, reason: str, details: Mapping[str, Any]
) -> Decision | None:
    """Decide, with an entry before that it is asked for and one after of what came of it; None where it was refused.

    No transaction spans them: other entries need not wait, and what the ledger has is not taken back here by a later failure.
    """
    entry: dict[str, Any] = {"subject": subject, "reason": reason}
    record(request, f"{action}: asked", **entry, details=details)
    try:
        done = decide()
    except DecisionRefused as refused:
        record(request, f"{action}: refused", **entry, details={**details, "error": str(refused)})
        messages.error(request, str(refused))
        return None
    if not getattr(done, "before", None):
        record(request, action, **entry, details=details)
        publish_soon(request.settings.place, datetime.now(UTC))
    return done


def _overview(request: DeskRequest, campaign_id: str) -> CampaignOverview:
    for overview in campaign_overviews(request.settings):
        if overview.campaign_id == campaign_id:
            return overview
    raise Http404(_("There is no campaign of this name."))


def _day(request: DeskRequest) -> str:
    """The day that a plan would be made for: that of what is published."""
    return request.snapshot.as_of.astimezone(request.settings.shop.zone).strftime("%Y-%m-%d")


def _steps(request: DeskRequest, overview: CampaignOverview) -> list[Step]:
    if overview.draft is None or overview.campaign is None:
        return []
    texts = reason_texts(overview.campaign, request.settings.shop)
    reasons = overview.draft.reasons
    return [Step(name, reasons[name], text) for name, text in texts.items() if name in reasons]


def _progress(campaign_id: str) -> list[Chart]:
    of_campaign = {"campaign": campaign_id}
    return [
        Chart(
            "progress",
            gettext_lazy("Sending and what followed, by day"),
            PROGRESS,
            of_campaign,
            figure=bar("day", "contacts", by="what"),
            empty=gettext_lazy("Nothing is sent yet. What is due leaves hourly, or with customer360 campaigns send."),
        ),
        Chart(
            "not_sent",
            gettext_lazy("Why contacts were not sent"),
            NOT_SENT,
            of_campaign,
            empty=gettext_lazy("All contacts were sent, or wait."),
        ),
    ]


def _lift_chart(campaign_id: str, *, is_closed: bool) -> Chart:
    """The lift of all whose window had passed by each day."""
    closed = gettext_lazy("Closed: the narrower interval of the last day is that of the result.")
    provisional = gettext_lazy(
        "Provisional until the campaign is closed. Judge it before then by the wider interval alone, which holds however often "
        "you look; the narrower one leaves out the true lift on some day of every third campaign that is looked at daily."
    )
    return Chart(
        "lift",
        gettext_lazy("Lift over the days"),
        DAYS,
        {"campaign": campaign_id},
        figure=with_bands(line("day", "lift", unit="%", names=DAYS_LABELS), "day", BANDS),
        note=closed if is_closed else provisional,
        empty=gettext_lazy("No customer's window has passed yet. It is counted with the next daily_job after the first has."),
        labels=DAYS_LABELS,
    )


def _limits(request: DeskRequest, of: Campaign | None) -> list[tuple[str, Channel]]:
    return [] if of is None else [(name, of.channels[name]) for name in request.settings.shop.channels if name in of.channels]


def _changed(request: DeskRequest, given: Campaign) -> Campaign:
    """The campaign with the budget and the capacities that the query names; an empty field is no limit."""
    query = request.GET
    budget = _number(query.get("budget"), given.budget)
    channels = {
        name: channel.model_copy(update={"capacity_per_day": None if capacity is None else round(capacity)})
        for name, channel in given.channels.items()
        for capacity in [_number(query.get(f"capacity-{name}"), channel.capacity_per_day)]
    }
    return given.model_copy(update={"budget": budget, "channels": channels})


def _number(text: str | None, otherwise: float | None) -> float | None:
    if text is None:
        return otherwise
    if not text.strip():
        return None
    try:
        number = float(text)
    except ValueError:
        raise ValueError(_("%(text)s is no number; write 900, or nothing for no limit") % {"text": text}) from None
    if not 0 <= number < 1e12:
        raise ValueError(_("%(text)s is no limit; write 900, or nothing for no limit") % {"text": text})
    return number
