"""Activity and segments: filters reach the SQL, links restore them, and CSV has the rows of the chart."""

from __future__ import annotations

import pytest

from customer360.services.desk.access import DeskRequest
from customer360.services.desk.charts import Chart, Drawn
from tests.desk.in_django import Desk

TABLES = {
    "orders_daily": """
        select date '2026-05-01' - cast(day as integer) as local_date, 3 as orders, 30.0 as gross_revenue,
            5.0 as returned_amount, 25.0 as revenue, true as is_complete from range(0, 60) as days (day)
    """,
    "traffic_sources": """
        select timestamp '2026-04-30 23:30' as event_slice, source as utm_source, 'cpc' as utm_medium, 'web' as device,
            visits, 9 as page_and_product_views, 1 as purchases, 10.0 as revenue
        from (values ('google', 4), ('<script>alert(1)</script>', 2)) as sources (source, visits)
    """,
    "funnel_daily": """
        select date '2026-04-30' as local_date, utm_source, utm_medium, '(all)' as device, '(all)' as category_id, sessions,
            sessions // 2 as sessions_with_view, sessions // 3 as sessions_with_cart, 1 as sessions_with_checkout,
            1 as sessions_with_order, sessions as customers, 2 as customers_with_view, 2 as customers_with_cart,
            1 as customers_with_checkout, 1 as customers_with_order
        from (values ('(all)', '(all)', 12), ('google', 'cpc', 6)) as rows (utm_source, utm_medium, sessions)
    """,
    "channel_attribution": """
        select period, starts_on, utm_source, 'cpc' as utm_medium, null::varchar as utm_campaign, 'linear' as model, orders,
            orders * 10 as revenue, .5 as removal_effect
        from (values ('last 30 whole days', date '2026-04-01', 'google', 3),
            ('last 30 whole days', date '2026-04-01', 'bing', 1), ('month', date '2026-04-01', 'google', 4),
            ('month', date '2026-03-01', 'google', 5),
            ('month', date '2025-03-01', 'google', 100)) as rows (period, starts_on, utm_source, orders)
    """,
    "retention_cohorts": """
        select month as cohort_month, 0 as months_since, 10 as customers, 10 as active_customers, 10 as revenue,
            true as is_complete from (values (date '2026-03-01'), (date '2025-01-01')) as months (month)
    """,
    "rfm_segments": """
        select 'C' || c as customer_id, if(c = 3, 'Lost', 'Champions') as segment, 10.0 as monetary, 3 as recency_days,
            1 as frequency from range(1, 4) as customers (c)
    """,
}


@pytest.fixture
def shown(desk: Desk) -> Desk:
    desk.shop.tables |= TABLES
    desk.shop.publish()
    return desk


def rows(desk: Desk, address: str, chart: str, **filters: str) -> list[str]:
    response = desk.client("viewer").get(address, {"csv": chart, **filters})
    assert response.status_code == 200
    return response.content.decode().splitlines()


def test_a_measure_is_shown_by_day_for_the_period_that_is_chosen(shown: Desk) -> None:
    assert len(rows(shown, "/activity/", "measure", measure="revenue", days="7")) == 1 + 8
    week = rows(shown, "/activity/", "measure", measure="returned_share", days="7")
    assert week[0] == "local_date,returned_share" and week[-1].endswith(f",{5 / 30}")


def test_a_measure_is_split_and_filtered_by_its_dimensions_alone(shown: Desk) -> None:
    split = rows(shown, "/activity/", "measure", measure="visits", by="utm_source")
    assert split[1:] == ["2026-05-01,<script>alert(1)</script>,2.0", "2026-05-01,google,4.0"]  # the shop's day
    assert rows(shown, "/activity/", "measure", measure="visits", source="google / cpc")[1:] == ["2026-05-01,4.0"]
    whole = rows(shown, "/activity/", "measure", measure="orders", by="segment; drop table x", source="google / cpc")
    assert whole[0] == "local_date,orders"


def test_the_funnel_takes_a_source_or_all_of_them_and_never_sums_both(shown: Desk) -> None:
    assert rows(shown, "/activity/", "funnel")[1:3] == ["all,12.0,12.0", "viewed,6.0,2.0"]
    assert rows(shown, "/activity/", "funnel", source="google / cpc")[1] == "all,6.0,6.0"


def test_channels_are_credited_in_the_period_and_of_the_source_that_are_chosen(shown: Desk) -> None:
    both = ["google / cpc,linear,3.0,30.0,0.5", "bing / cpc,linear,1.0,10.0,0.5"]
    assert rows(shown, "/activity/", "attribution")[1:] == both
    assert rows(shown, "/activity/", "attribution", source="bing / cpc", days="7")[1:] == both[1:]
    assert rows(shown, "/activity/", "attribution", days="90")[1:] == ["google / cpc,linear,9.0,90.0,"]


def test_cohorts_are_those_of_a_long_period_or_all(shown: Desk) -> None:
    cohorts = {days: [row[:7] for row in rows(shown, "/activity/", "cohorts", days=days)[1:]] for days in ("30", "90")}
    assert cohorts == {"30": ["2025-01", "2026-03"], "90": ["2026-03"]}


def test_names_from_data_are_escaped_and_links_restore_the_filters(shown: Desk) -> None:
    text = shown.client("viewer").get("/activity/", {"measure": "visits", "by": "utm_source", "days": "7"}).content.decode()
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text
    assert "measure=visits&amp;by=utm_source&amp;days=7#measure" in text


def test_segments_have_their_sizes_and_the_charts_of_published_tables_alone(shown: Desk) -> None:
    assert rows(shown, "/segments/", "sizes")[1:] == ["Champions,2,20.0,3.0,1.0", "Lost,1,10.0,3.0,1.0"]
    text = shown.client("viewer").get("/segments/").content.decode()
    assert 'id="labels"' in text and 'id="moves"' not in text and 'id="worth"' not in text
    assert rows(shown, "/segments/", "probabilities")[1].startswith("Champion,books,0.1")
    assert shown.client("viewer").get("/segments/", {"csv": "moves"}).status_code == 404


def test_a_version_that_is_published_while_a_page_is_made_is_not_read_by_it(
    shown: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, read = Drawn.of, []

    def of(chart: Chart, request: DeskRequest) -> Drawn:
        found = drawn(chart, request)
        read.append(request.snapshot.read("select sum(orders) as orders from orders_daily")["orders"].item())
        shown.shop.tables["orders_daily"] = TABLES["orders_daily"].replace("3 as orders", f"{100 + len(read)} as orders")
        shown.shop.publish()
        return found

    monkeypatch.setattr(Drawn, "of", of)
    assert shown.client("viewer").get("/activity/?days=90").status_code == 200
    charts = len(read)
    assert charts > 1 and set(read) == {3 * 60}
    shown.client("viewer").get("/activity/?days=90")
    assert set(read[charts:]) == {(100 + charts) * 60}
