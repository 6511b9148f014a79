"""Offers: what was shown and clicked, what decisions and policies brought, and what each customer is offered now."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
from django.http import HttpResponse
from django.utils.translation import gettext_lazy as _

from customer360.lake.slices import naive
from customer360.services.desk.access import VIEW, DeskRequest, page
from customer360.services.desk.audit import PERSONAL_VIEWED, record
from customer360.services.desk.charts import Chart, bar, heatmap, labels, line, plain
from customer360.services.desk.filters import Period, chosen
from customer360.services.desk.show import show

PERIODS = (Period(7, _("7 days")), Period(30, _("30 days")), Period(90, _("90 days")))
ESTIMATORS = ("doubly_robust", "snips", "ips")
COUNTS = {"shown": _("Shown"), "clicked": _("Clicked"), "click_through": _("Clicks per showing"), "offer": _("Offer")}

ACTIVITY = """
select cast(event_slice at time zone 'UTC' at time zone $zone as date) as local_date, coalesce(offers.name, offer_id) as offer,
    sum(shown) as shown, sum(clicked) as clicked, sum(clicked) / nullif(sum(shown), 0) as click_through
from offer_activity left join offers using (offer_id)
where event_slice >= $since
group by all order by offer, local_date
"""
TOTALS = """
select coalesce(offers.name, offer_id) as offer, sum(shown) as shown, sum(clicked) as clicked,
    sum(clicked) / nullif(sum(shown), 0) as click_through, sum(purchases) as purchases, sum(revenue) as revenue
from offer_activity left join offers using (offer_id)
where event_slice >= $since
group by all order by click_through desc nulls last, offer
"""
RESULTS = """
select coalesce(offers.name, results.offer_id) as offer, results.policy_version, segment, basis, sum(decisions) as decisions,
    sum(shown) as shown, sum(clicked) as clicked, sum(clicked) / sum(decisions) as click_rate, sum(bought) as bought,
    sum(orders) as orders, sum(revenue) as revenue
from offer_results as results left join offers using (offer_id)
where decision_date >= cast($since as date)
group by all order by decisions desc, offer
"""
EXPLORED = """
select decision_date, sum(decisions) as decisions, coalesce(sum(decisions) filter (basis = 'exploration'), 0) as explored,
    explored / sum(decisions) as exploration_share
from offer_results where decision_date >= cast($since as date)
group by decision_date order by decision_date
"""
POLICIES = """
select policy, estimator, value, value_low, value_high, gain, gain_low, gain_high, decisions, effective_decisions, overlap,
    is_trusted, is_serving
from offer_policy_values order by policy, estimator
"""
OFFERED = """
select coalesce(segment, '-') as segment, coalesce(offers.name, offer_id) as offer, count(*) as customers
from current_offers left join rfm_segments using (customer_id) left join offers using (offer_id)
group by all order by segment, offer
"""
ANSWER = """
select coalesce(offers.name, current_offers.offer_id) as offer, current_offers.reason, basis, propensity, candidates,
    current_offers.policy_version
from current_offers left join offers using (offer_id) where customer_id = $customer
"""


@page("offers/", VIEW, name="offers", title=_("Offers"), order=70)
def offers(request: DeskRequest) -> HttpResponse:
    """Performance by day, offer, policy and segment; the exploration share; the answer to any customer."""
    period = chosen(request, "days", PERIODS, 30)
    customer = request.GET.get("customer", "").strip()
    if customer:
        record(request, PERSONAL_VIEWED, subject=customer, details={"page": "offers"})
    since = {"since": naive(request.snapshot.as_of) - timedelta(days=period.days)}
    charts = [chart for table, chart in _charts(request, since) if request.snapshot.has(table)]
    if customer and request.snapshot.has("current_offers"):
        nobody = _("No customer of this id has an offer.")
        charts.append(Chart("answer", _("The offer of a customer"), ANSWER, {"customer": customer}, empty=nobody))
    return show(request, "desk/offers.html", {"periods": PERIODS, "period": period, "customer": customer}, charts)


def _charts(request: DeskRequest, since: dict[str, Any]) -> list[tuple[str, Chart]]:
    """Each chart with the table that it reads."""
    no_decisions = _("No decision is logged yet: a shop front that asks the API for offers makes them, see docs/serving.md.")
    by_day = since | {"zone": request.settings.shop.time_zone}
    through = line("local_date", "click_through", by="offer", unit="%")
    return [
        ("offer_activity", Chart("activity", _("Clicks per showing, by day"), ACTIVITY, by_day, through, labels=COUNTS)),
        (
            "offer_activity",
            Chart(
                "totals",
                _("Clicks per showing, by offer"),
                TOTALS,
                since,
                bar("offer", "click_through", unit="%", is_horizontal=True),
                labels=COUNTS,
            ),
        ),
        (
            "offer_results",
            Chart(
                "results",
                _("What decisions brought"),
                RESULTS,
                since,
                note=_("By offer, policy, segment and basis. offer_results has the intervals and the lift of each day."),
                empty=no_decisions,
            ),
        ),
        (
            "offer_results",
            Chart(
                "explored",
                _("Share of decisions that explored"),
                EXPLORED,
                since,
                line("decision_date", "exploration_share", unit="%"),
                note=_("Drawn at random, so that policies can be compared."),
                empty=no_decisions,
            ),
        ),
        (
            "offer_policy_values",
            Chart(
                "policies",
                _("What each policy would bring"),
                POLICIES,
                figure=_policy_values,
                note=_("Clicks a decision in 90 days, with 95% intervals. A policy serves once it beats the priority list."),
                empty=no_decisions,
            ),
        ),
        (
            "current_offers",
            Chart("offered", _("What is offered now, by segment"), OFFERED, figure=heatmap("segment", "offer", "customers")),
        ),
    ]


def _policy_values(rows: pd.DataFrame) -> dict[str, Any]:
    """A point with its interval for each policy, of the best estimator that has a value."""
    known = rows[rows["value"].notna()]
    best = known.assign(place=known["estimator"].map(ESTIMATORS.index)).sort_values("place").drop_duplicates("policy")
    lengths = {"array": best["value_high"] - best["value"], "arrayminus": best["value"] - best["value_low"]}
    bounds = {
        side: plain(length.clip(lower=0)) for side, length in lengths.items()
    }  # by chance a value lies outside its interval
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": labels(best["policy"]),
        "y": plain(best["value"]),
        "error_y": {"type": "data", "symmetric": False, **bounds},
    }
    return {"data": [trace], "layout": {"showlegend": False}, "unit": "%"}
