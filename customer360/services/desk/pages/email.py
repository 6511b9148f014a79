"""E-mail: how far sending is now, by campaign and mailbox provider, what comes back and why; stopping and resuming.

The state of sending is that of the mail queue now; charts show the published ``delivery_metrics`` and ``email_deliveries``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from customer360.decisions import DecisionRefused, Request
from customer360.mail.breaker import LEFT, Verdict
from customer360.mail.overview import Stop, stopped_campaigns, verdicts
from customer360.mail.queue import MailQueue, open_queue
from customer360.mail.queue.tables import ACCEPTED, FAILED, LEFT_OUT, QUEUED, SENDING, UNKNOWN
from customer360.services.desk.access import APPROVE, VIEW, DeskRequest, page
from customer360.services.desk.audit import record
from customer360.services.desk.charts import Chart, bar, line
from customer360.services.desk.filters import Period, chosen
from customer360.services.desk.show import show

PERIODS = (Period(7, gettext_lazy("7 days")), Period(30, gettext_lazy("30 days")), Period(90, gettext_lazy("90 days")))
STATES = (QUEUED, SENDING, ACCEPTED, FAILED, UNKNOWN, LEFT_OUT)
BY_DAY = """
select contact_date as day, sum(accepted) as accepted, sum(waiting) as waiting, sum(failed) as failed, sum(unknown) as unknown,
    sum(left_out) as left_out
from delivery_metrics where contact_date > $since group by all order by all
"""
A_MESSAGE = f"/ nullif(sum({' + '.join(LEFT)}), 0)"
RATES = f"""
select contact_date as day, sum(bounced_hard) {A_MESSAGE} as hard_bounces, sum(complained) {A_MESSAGE} as complaints,
    sum(unsubscribed) {A_MESSAGE} as unsubscribes, sum(clicked) {A_MESSAGE} as clicks
from delivery_metrics where contact_date > $since group by all order by all
"""
PROVIDERS = f"""
select provider, sum(planned) as planned, sum(accepted) as accepted, sum(failed) as failed, sum(unknown) as unknown,
    sum(left_out) as left_out, sum(bounced_hard) as bounced_hard, sum(bounced_soft) as bounced_soft,
    sum(complained) as complained, sum(unsubscribed) as unsubscribed, sum(clicked) as clicked,
    sum(clicked) {A_MESSAGE} as clicks_per_message
from delivery_metrics where contact_date > $since group by all order by planned desc, provider
"""
WHY = """
select campaign_id as campaign, state, reason, count(*) as contacts from email_deliveries
where contact_date > $since and state in ('failed', 'unknown', 'left_out') group by all order by contacts desc, campaign, reason
"""
CAME_BACK = """
select campaign_id as campaign, provider, bounce, bounce_reason as reason, count(*) as contacts from email_deliveries
where contact_date > $since and bounce is not null group by all order by contacts desc, campaign, reason
"""


@dataclass(frozen=True)
class Sending:
    """How far a campaign is: messages by state, whether it is stopped and why, and its rates in words."""

    campaign_id: str
    states: dict[str, int]
    stopped: Stop | None = None
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def messages(self) -> int:
        """All that were queued."""
        return sum(self.states.values())

    @property
    def done(self) -> int:
        """Percent that are neither queued nor being sent."""
        waiting = self.states.get(QUEUED, 0) + self.states.get(SENDING, 0)
        return round(100 * (1 - waiting / self.messages)) if self.messages else 0

    @property
    def counts(self) -> list[int]:
        """Messages in the order of ``STATES``."""
        return [self.states.get(state, 0) for state in STATES]


@page("email/", VIEW, name="email", title=gettext_lazy("E-mail"), order=45)
def email(request: DeskRequest) -> HttpResponse:
    """Sending now and over the last days."""
    if request.settings.shop.email is None:
        return show(request, "desk/email.html", {"is_off": True})
    period = chosen(request, "days", PERIODS, 30)
    queue = open_queue(request.settings.place)
    stops = stopped_campaigns(queue)
    context = {
        "campaigns": _sending(queue, stops),
        "all_stopped": stops.get(""),
        "states": [state.replace("_", " ") for state in STATES],
        "may_stop": request.may(APPROVE),
        "next_due": queue.next_due(),
        "periods": PERIODS,
        "period": period,
    }
    return show(request, "desk/email.html", context, _charts(request, period))


@page("email/stop/", APPROVE, name="email_stop", methods=("POST",), reads=False)
def email_stop(request: DeskRequest) -> HttpResponse:
    """Stop a campaign's messages, or all: nothing leaves from now on."""
    return _decided(request, "email stopped")


@page("email/resume/", APPROVE, name="email_resume", methods=("POST",), reads=False)
def email_resume(request: DeskRequest) -> HttpResponse:
    """Send a campaign's messages again, or all."""
    return _decided(request, "email resumed")


@page("email/send-unknown/", APPROVE, name="email_send_unknown", methods=("POST",), reads=False)
def email_send_unknown(request: DeskRequest) -> HttpResponse:
    """Send those of a campaign again of which nobody knows whether they arrived: customers may get them twice."""
    return _decided(request, "email sent again")


def _decided(request: DeskRequest, action: str) -> HttpResponse:
    """Decide about the campaign that the form names, or about all where it names none; the audit log has who and why."""
    if request.settings.shop.email is None:
        raise Http404(_("This shop sends no e-mail."))
    campaign_id, reason = request.POST.get("campaign", ""), request.POST.get("reason", "")
    queue, now = open_queue(request.settings.place), datetime.now(UTC)
    try:
        asked = Request(reason, now, request.user.get_username())
    except DecisionRefused as refused:
        messages.error(request, str(refused))
        return redirect("email")
    details: dict[str, Any] = {}
    if action == "email stopped":
        queue.stop_campaign(campaign_id or None, asked)
        messages.success(request, _("Nothing more is sent. What is on its way arrives."))
    elif action == "email resumed":
        queue.resume_campaign(campaign_id or None, asked)
        messages.success(request, _("What is due is sent again."))
    else:
        details["messages"] = queue.release_unknown(campaign_id or None, now)
        messages.success(request, _("%(count)s messages are sent again.") % {"count": f"{details['messages']:,}"})
    record(request, action, subject=campaign_id or "all", reason=asked.reason_line, details=details)
    return redirect("email")


def _sending(queue: MailQueue, stops: dict[str, Stop]) -> list[Sending]:
    states = queue.counts().groupby(["campaign_id", "state"])["messages"].sum().unstack(fill_value=0)
    found = verdicts(queue)
    return [
        Sending(
            str(campaign),
            {str(state): int(count) for state, count in row.items()},
            stops.get(str(campaign)),
            found.get(str(campaign), []),
        )
        for campaign, row in states.iterrows()
    ]


def _charts(request: DeskRequest, period: Period) -> list[Chart]:
    since = {"since": request.snapshot.as_of.astimezone(request.settings.shop.zone).date() - timedelta(days=period.days)}
    states = ["accepted", "waiting", "failed", "unknown", "left_out"]
    rates = ["hard_bounces", "complaints", "unsubscribes", "clicks"]
    nothing = gettext_lazy("No e-mail was planned in these days. Give a campaign a message, plan and approve it.")
    found = [
        (
            "delivery_metrics",
            Chart("by_day", gettext_lazy("Planned messages by day"), BY_DAY, since, bar("day", states), empty=nothing),
        ),
        (
            "delivery_metrics",
            Chart(
                "rates",
                gettext_lazy("Answers per message that left"),
                RATES,
                since,
                line("day", rates, unit="%"),
                empty=nothing,
            ),
        ),
        ("delivery_metrics", Chart("providers", gettext_lazy("Mailbox providers"), PROVIDERS, since, empty=nothing)),
        (
            "email_deliveries",
            Chart("why", gettext_lazy("Why messages were not sent"), WHY, since, empty=gettext_lazy("All were sent, or wait.")),
        ),
        (
            "email_deliveries",
            Chart(
                "came_back",
                gettext_lazy("Why messages came back"),
                CAME_BACK,
                since,
                empty=gettext_lazy("No message came back."),
            ),
        ),
    ]
    return [chart for table, chart in found if request.snapshot.has(table)]
