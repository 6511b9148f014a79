"""Activity: any measure over time and by dimension, the funnel, cohorts, channels, products, and when customers come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext_lazy as _

from customer360.lake.engine import quoted
from customer360.lake.slices import naive
from customer360.measures import Measure, load_measures
from customer360.services.desk.access import VIEW, DeskRequest, page
from customer360.services.desk.charts import Chart, Figure, bar, heatmap, line
from customer360.services.desk.filters import Period, chosen
from customer360.services.desk.show import show

PERIODS = (Period(7, _("7 days")), Period(30, _("30 days")), Period(90, _("90 days")), Period(365, _("A year")))
ALL = "(all)"
STEPS = ("", "_with_view", "_with_cart", "_with_checkout", "_with_order")
FUNNEL = f"""
with steps as (
    select {", ".join(f"sum({counted}{step}) as {counted}{step}" for counted in ("sessions", "customers") for step in STEPS)}
    from funnel_daily where local_date >= cast($since as date) and (utm_source, utm_medium) = ($source, $medium)
        and device = $device and category_id = $category
)
select unnest(['all', 'viewed', 'added to the cart', 'checked out', 'ordered']) as step,
    unnest([{", ".join(f"sessions{step}" for step in STEPS)}]) as sessions,
    unnest([{", ".join(f"customers{step}" for step in STEPS)}]) as customers
from steps
"""
COHORTS = """
select strftime(cohort_month, '%Y-%m') as cohort, months_since, customers, active_customers,
    active_customers / customers as retention, revenue
from retention_cohorts
where is_complete and customers > 0 and ($days <= 30 or cohort_month >= date_trunc('month', cast($since as date)))
order by cohort, months_since
"""
ATTRIBUTION = """
with credited as (
    select concat_ws(' / ', utm_source, utm_medium, utm_campaign) as channel, model, sum(orders) as orders,
        sum(revenue) as revenue, if(count(*) = 1, any_value(removal_effect), null) as removal_effect
    from channel_attribution
    where if($days <= 30, period = 'last 30 whole days',
            period = 'month' and starts_on >= date_trunc('month', cast($since as date)))
        and ($source = '(all)' or (utm_source, utm_medium) = ($source, $medium))
    group by all
)
select * from credited order by sum(orders) over (partition by channel) desc, channel, model
"""
PRODUCTS = """
select coalesce(products.name, performance.product_id) as product, performance.category_id, views, carts, buyers, orders,
    conversion, gross_revenue, returned_amount, revenue, returned_share
from product_performance as performance left join products using (product_id)
where period = 'last 30 days' and ($category = '(all)' or performance.category_id = $category)
order by revenue desc, product limit 100
"""
HOURS = """
select extract('isodow' from local_at) as day_of_week, extract('hour' from local_at) as local_hour,
    sum(page_and_product_views) as views
from (
    select page_and_product_views, event_slice at time zone 'UTC' at time zone $zone as local_at
    from traffic where event_slice >= $since
)
group by all order by day_of_week, local_hour
"""


@dataclass(frozen=True)
class Choice:
    """What the explorer shows: a measure, the dimension that it is split by, and one value of each filtered dimension."""

    measure: Measure
    by: str
    values: Mapping[str, str]


@page("activity/", VIEW, name="activity", title=_("Activity"), order=60)
def activity(request: DeskRequest) -> HttpResponse:
    """Filters, the chosen measure, and what the shop's customers did in the period."""
    period = chosen(request, "days", PERIODS, 30)
    measures = {name: measure for name, measure in load_measures().items() if request.snapshot.has(measure.table)}
    since = {"since": naive(request.snapshot.as_of) - timedelta(days=period.days)}
    filters = {name: request.GET.get(name, ALL) for name in ("source", "device", "category")}
    context = {"periods": PERIODS, "period": period, "measures": measures.values(), **_options(request), **filters}
    charts = _presets(request, since, filters, period.days)
    if measures:
        choice = _choice(request, measures)
        charts.insert(0, _explorer(request, choice, since))
        context |= {"measure": choice.measure, "by": choice.by}
    return show(request, "desk/activity.html", context, charts)


def _choice(request: DeskRequest, measures: Mapping[str, Measure]) -> Choice:
    default = measures.get("orders", next(iter(measures.values())))
    measure = measures.get(request.GET.get("measure", ""), default)
    by = request.GET.get("by", "")
    asked = {"utm_source": "source", "device": "device", "category_id": "category"}
    values = {
        dimension: value.split(" / ")[0]
        for dimension, name in asked.items()
        if dimension in measure.dimensions and (value := request.GET.get(name, ALL)) != ALL
    }
    return Choice(measure, by if by in measure.dimensions else "", values)


def _explorer(request: DeskRequest, choice: Choice, since: Mapping[str, Any]) -> Chart:
    """The measure a day, or where its rows are of longer periods each of them; split by a dimension where one is chosen."""
    measure, column = choice.measure, quoted(choice.measure.time_column)
    (kind,) = request.snapshot.connection.execute(f"select any_value(typeof({column})) from {measure.table}").fetchone() or (
        None,
    )
    is_moment = kind == "TIMESTAMP"
    moment = f"cast({column} at time zone 'UTC' at time zone $zone as date)" if is_moment else column
    split = f"cast({quoted(choice.by)} as varchar) as {quoted(choice.by)}, " if choice.by else ""
    wheres = [f"{column} >= " + ("$since" if is_moment else "cast($since as date)")]
    wheres += [f"{quoted(name)} = ${name}" for name in choice.values]
    sql = (
        f"select {moment} as local_date, {split}{measure.sql} as {quoted(measure.name)}\n"
        f"from {measure.table}\nwhere {' and '.join(wheres)}\ngroup by all order by 1, 2"
    )
    unit = {"share": "%", "currency": request.settings.shop.currency}.get(measure.unit, "")
    parameters = {**since, **choice.values} | ({"zone": request.settings.shop.time_zone} if is_moment else {})
    figure: Figure = line("local_date", measure.name, by=choice.by or None, unit=unit, names={measure.name: measure.label})
    return Chart(
        "measure", measure.label, sql, parameters, figure, note=measure.description, labels={measure.name: measure.label}
    )


def _presets(request: DeskRequest, since: dict[str, Any], filters: Mapping[str, str], days: int) -> list[Chart]:
    """The charts whose tables are published."""
    source, _slash, medium = filters["source"].partition(" / ")
    visits = {"source": source, "medium": medium or ALL}
    currency = request.settings.shop.currency
    presets = {
        "funnel_daily": Chart(
            "funnel",
            _("From the visit to the order"),
            FUNNEL,
            since | visits | {"device": filters["device"], "category": filters["category"]},
            bar("step", ["sessions", "customers"], is_horizontal=True),
            note=_("Sessions and customers by the furthest step; a later step implies those before it."),
        ),
        "traffic": Chart(
            "hours",
            _("When customers come"),
            HOURS,
            since | {"zone": request.settings.shop.time_zone},
            heatmap("local_hour", "day_of_week", "views"),
            note=_("Pages and products viewed, by weekday (1 is Monday) and hour of the shop's clock."),
        ),
        "retention_cohorts": Chart(
            "cohorts",
            _("Who comes back"),
            COHORTS,
            since | {"days": days},
            heatmap("months_since", "cohort", "retention", unit="%"),
            note=_(
                "Share of the customers of each month of first order who ordered again, by months since. "
                "A period above 30 days chooses the months."
            ),
        ),
        "channel_attribution": Chart(
            "attribution",
            _("Orders by channel, in the last 30 days") if days <= 30 else _("Orders by channel, in the months of the period"),
            ATTRIBUTION,
            since | visits | {"days": days},
            bar("channel", "orders", by="model", is_horizontal=True),
            note=_("Credit, not cause: what a channel brings is told by customers who were held out of it."),
        ),
        "product_performance": Chart(
            "products",
            _("Products, in the last 30 days"),
            PRODUCTS,
            {"category": filters["category"]},
            bar("product", "revenue", unit=currency, is_horizontal=True),
        ),
    }
    return [chart for table, chart in presets.items() if request.snapshot.has(table)]


def _options(request: DeskRequest) -> dict[str, list[str]]:
    """What the filters offer."""
    options: dict[str, list[str]] = {"sources": [], "devices": [], "categories": list(request.settings.shop.category_ids)}
    if request.snapshot.has("traffic_sources"):
        pairs = "select distinct utm_source || ' / ' || utm_medium from traffic_sources order by 1 limit 200"
        devices = "select distinct device from traffic_sources where device is not null order by 1 limit 50"
        for name, query in (("sources", pairs), ("devices", devices)):
            options[name] = [str(value) for (value,) in request.snapshot.connection.execute(query).fetchall() if value]
    return options
