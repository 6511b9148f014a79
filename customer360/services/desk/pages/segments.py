"""Segments: how many customers and how much they are worth, what they will buy, when to reach them, and who moves where."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils.translation import gettext_lazy as _

from customer360.lake.engine import literal, quoted
from customer360.services.desk.access import VIEW, DeskRequest, page
from customer360.services.desk.charts import Chart, bar, heatmap
from customer360.services.desk.show import show
from customer360.settings import NONE, slug

ALL = "(all)"
SIZES = """
select segment, count(*) as customers, sum(monetary) as spend, avg(recency_days) as mean_recency_days,
    avg(frequency) as mean_orders
from rfm_segments group by segment order by customers desc, segment
"""
LABELS = """
select segment, label, count(*) as customers from customer_profiles
where label is not null group by all order by segment, label
"""
CHANNELS = """
select channel || ', ' || daypart as channel_and_daypart, day_of_week, count(*) as contacts,
    avg(expected_value) as mean_expected_value
from campaign_plan where decision = 'contact' and ($segment = '(all)' or segment = $segment)
group by all order by channel_and_daypart, day_of_week
"""
MOVES = """
select previous_segment, segment, customers, previous_monetary, monetary
from segment_moves where as_of = (select max(as_of) from segment_moves) order by previous_segment, segment
"""
WORTH = """
select segment, count(*) as customers, avg(spend_to_date) as mean_spend_to_date,
    avg(expected_spend_90d) as mean_expected_spend_90d, avg(expected_spend_365d) as mean_expected_spend_365d,
    avg(probability_alive) as mean_probability_alive
from rfm_segments left join customer_lifetime using (customer_id)
group by segment order by mean_expected_spend_365d desc nulls last
"""
WORTH_MEASURES = {
    "mean_spend_to_date": _("Spent to date"),
    "mean_expected_spend_90d": _("Expected in 90 days"),
    "mean_expected_spend_365d": _("Expected in 365 days"),
}


@page("segments/", VIEW, name="segments", title=_("Segments"), order=50)
def segments(request: DeskRequest) -> HttpResponse:
    """RFM segments as charts; one segment can be chosen for the plan's channels and times."""
    segment = request.GET.get("segment", ALL)
    known = "select distinct segment from rfm_segments order by 1"
    found = request.snapshot.connection.execute(known).fetchall() if request.snapshot.has("rfm_segments") else []
    charts = [chart for tables, chart in _charts(request, segment) if all(map(request.snapshot.has, tables))]
    return show(request, "desk/segments.html", {"segment": segment, "segments": [name for (name,) in found]}, charts)


def _charts(request: DeskRequest, segment: str) -> list[tuple[tuple[str, ...], Chart]]:
    """Each chart with the tables that it reads."""
    currency = request.settings.shop.currency
    return [
        (
            ("rfm_segments",),
            Chart("sizes", _("Customers by segment"), SIZES, figure=bar("segment", "customers", is_horizontal=True)),
        ),
        (
            ("rfm_segments", "customer_lifetime"),
            Chart(
                "worth",
                _("What a customer spent, and is expected to spend"),
                WORTH,
                figure=bar("segment", WORTH_MEASURES, unit=currency, names=WORTH_MEASURES, is_horizontal=True),
                note=_("Means. An expectation needs as many days of history as it looks ahead."),
                labels=WORTH_MEASURES,
            ),
        ),
        (
            ("customer_profiles",),
            Chart(
                "labels",
                _("Customers by segment and most likely purchase"),
                LABELS,
                figure=heatmap("label", "segment", "customers"),
            ),
        ),
        (
            ("customer_profiles",),
            Chart(
                "probabilities",
                _("Probability of a purchase by category, mean of the segment"),
                _probabilities(request),
                figure=heatmap("category", "segment", "mean_probability", unit="%"),
            ),
        ),
        (
            ("campaign_plan",),
            Chart(
                "channels",
                _("Recommended channel, day and time"),
                CHANNELS,
                {"segment": segment},
                heatmap("day_of_week", "channel_and_daypart", "contacts"),
                note=_("Contacts of the newest drafts by channel, weekday (1 is Monday) and daypart."),
                empty=_("No draft contacts this segment. Campaigns has the plans."),
            ),
        ),
        (
            ("segment_moves",),
            Chart(
                "moves",
                _("Segment a week ago and now"),
                MOVES,
                figure=heatmap("segment", "previous_segment", "customers"),
                empty=_("A week of history is needed before segments can be compared."),
            ),
        ),
    ]


def _probabilities(request: DeskRequest) -> str:
    categories = [*request.settings.shop.category_ids, NONE]
    columns = ", ".join(f"avg({quoted(f'probability_{slug(name)}')})" for name in categories)
    names = ", ".join(literal(name) for name in categories)
    return (
        f"select segment, unnest([{names}]) as category, unnest([{columns}]) as mean_probability\n"
        "from customer_profiles where segment is not null group by segment order by segment"
    )
