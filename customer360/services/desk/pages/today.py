"""Today: whether the data is fresh, what customers do now beside the same weekday, what runs, and what waits for the user."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext_lazy as _

from customer360.campaigns.ledger import APPROVED
from customer360.campaigns.ledger_sums import ledger_counts, running_campaigns
from customer360.lake.operations.clock import last_closed_slice
from customer360.services.alerts import open_incidents
from customer360.services.desk.access import APPROVE, VIEW, DeskRequest, page
from customer360.services.desk.charts import Chart, line
from customer360.services.desk.kept_rows import kept_rows
from customer360.services.desk.show import show

WEEKS = 4
# Each hour of the last 24 beside the mean of the same hour on the same weekday of the last weeks. Hours are shop-local.
ACTIVITY = """
with

hours as (

    select
        date_trunc('hour', event_slice) as hour,
        sum({measure}) as value

    from traffic
    where event_slice < $as_of and event_slice >= $as_of - interval 24 hour - interval 1 week * $weeks
    group by all
),

recent as (

    select * from hours where hour >= date_trunc('hour', $as_of) - interval 24 hour
)

select
    timezone($zone, timezone('UTC', recent.hour)) as local_hour,
    recent.value as now,
    avg(coalesce(earlier.value, 0)) as usual

from recent
cross join range(1, $weeks + 1) as weeks (week)
left join hours as earlier on earlier.hour = recent.hour - interval 1 week * week
where recent.hour - interval 1 week * week >= (select min(hour) from hours)
group by recent.hour, recent.value
order by recent.hour
"""
TOTALS = """
select
    coalesce(sum(purchases) filter (where event_slice >= $as_of - interval 1 day), 0) as purchases,
    coalesce(sum(revenue) filter (where event_slice >= $as_of - interval 1 day), 0) as revenue,
    sum(purchases) filter (where event_slice < $as_of - interval 7 day) as purchases_before,
    sum(revenue) filter (where event_slice < $as_of - interval 7 day) as revenue_before

from traffic
where event_slice < $as_of
    and (event_slice >= $as_of - interval 1 day
        or event_slice >= $as_of - interval 8 day and event_slice < $as_of - interval 7 day)
"""
LINES = """
select coalesce(sum(lines), 0) as lines, coalesce(sum(quarantined), 0) as quarantined
from slice_log
where slice >= $as_of - interval 1 day
"""
DRIFT = """
select report_date, count(*) filter (where is_drifted) as drifted, count(*) as columns
from drift_metrics
where report_date = (select max(report_date) from drift_metrics)
group by report_date
"""
PLANNED = """
select campaign_id, plan_version, plan_date,
    count(*) filter (where decision = 'contact') as contacts,
    sum(cost) filter (where decision = 'contact') as cost,
    sum(expected_value) filter (where decision = 'contact') as value
from campaign_plan
group by campaign_id, plan_version, plan_date
order by campaign_id
"""


@dataclass(frozen=True)
class Freshness:
    """The end of the last slice, how long the newest closed slice waits to be published, and how many do."""

    as_of: datetime
    missing_slices: int
    lag: timedelta


@page("", VIEW, name="today", title=_("Today"), order=10)
def today(request: DeskRequest) -> HttpResponse:
    """The first page."""
    context = {
        "freshness": freshness_of(request, datetime.now(UTC)),
        "incidents": open_incidents(request.settings.place),
        "lines": _row(request, "slice_log", LINES),
        "totals": _row(request, "traffic", TOTALS),
        "drift": _row(request, "drift_metrics", DRIFT),
        "running": running_campaigns(request.settings.place, request.snapshot.as_of).to_dict("records"),
        "waiting": waiting_drafts(request) if request.may(APPROVE) else None,
    }
    charts = [
        Chart(
            key,
            title,
            ACTIVITY.format(measure=measure),
            {"as_of": _as_of(request), "zone": request.settings.shop.time_zone, "weeks": WEEKS},
            line(
                "local_hour",
                ["now", "usual"],
                names={"now": _("Last 24 hours"), "usual": _("Same weekday, mean of up to 4 weeks")},
            ),
            note=_("Hours on the shop's clock; the first and the last may be incomplete."),
            empty=_("Nothing happened in the last 24 hours and four weeks: see whether clicks land, customer360 status."),
            labels={"local_hour": _("Hour"), "now": _("Last 24 hours"), "usual": _("Usual")},
        )
        for key, title, measure in (
            ("views", _("Page and product views an hour"), "page_and_product_views"),
            ("purchases", _("Orders an hour"), "purchases"),
        )
        if request.snapshot.has("traffic")
    ]
    return show(request, "desk/today.html", context, charts)


def freshness_of(request: DeskRequest, now: datetime) -> Freshness:
    """How far the request's version is behind the newest closed slice at ``now``."""
    as_of, width = request.snapshot.as_of, request.settings.shop.slice_width
    newest = last_closed_slice(request.settings, now)
    behind = max(timedelta(), newest + width - as_of) if newest else timedelta()
    return Freshness(as_of, behind // width, behind)


def waiting_drafts(request: DeskRequest) -> list[dict[Hashable, Any]]:
    """Drafts of the published plan that nobody has approved, by the ledger as it is now."""
    if not request.snapshot.has("campaign_plan"):
        return []
    counts = ledger_counts(request.settings.place)
    approved = set(counts.loc[counts["event"] == APPROVED, "plan_version"])
    drafts = kept_rows(request.snapshot, PLANNED).to_dict("records")
    return [draft for draft in drafts if draft["contacts"] and draft["plan_version"] not in approved]


def _row(request: DeskRequest, table: str, query: str) -> dict[Hashable, Any] | None:
    """The only row of a query on a table; None without the table or a row."""
    if not request.snapshot.has(table):
        return None
    found = kept_rows(request.snapshot, query, {"as_of": _as_of(request)} if "$as_of" in query else None).to_dict("records")
    return found[0] if found else None


def _as_of(request: DeskRequest) -> datetime:
    return request.snapshot.as_of.replace(tzinfo=None)
