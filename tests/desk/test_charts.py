"""What plotly.js is given, and the picture that stands for it before."""

from __future__ import annotations

import html
import json
import re

import pandas as pd
import pytest

from customer360.services.desk.charts import bar, heatmap, line, with_bands
from customer360.services.desk.drawing import picture
from tests.desk.conftest import whole
from tests.desk.in_django import Desk


def test_one_report_stands_at_its_day_and_many_on_an_axis_of_time() -> None:
    days = pd.DataFrame({"day": pd.to_datetime(["2026-05-01", "2026-05-02", "2026-05-03"]), "value": [1.0, None, 3.0]})
    assert line("day", "value")(days.head(1))["data"][0]["x"] == ["2026-05-01"]
    assert line("day", "value")(days.head(1))["layout"]["xaxis"] == {"type": "category"}
    many = line("day", "value")(days)
    assert (many["data"][0]["x"][0], many["data"][0]["y"]) == ("2026-05-01T00:00:00", [1.0, None, 3.0])
    assert "xaxis" not in many["layout"]


def test_a_heatmap_has_a_cell_for_each_pair_and_none_where_there_is_no_row() -> None:
    rows = pd.DataFrame({"hour": [9, 9, 10], "segment": ["Lost", "New", "New"], "share": [0.1, 0.2, 0.3]})
    figure = heatmap("hour", "segment", "share")(rows)
    (trace,) = figure["data"]
    assert {figure["layout"][axis]["type"] for axis in ("xaxis", "yaxis")} == {"category"}  # else 2026-05 were a date
    assert (trace["x"], trace["y"], trace["z"]) == ([9.0, 10.0], ["Lost", "New"], [[0.1, None], [0.2, 0.3]])


def test_the_csv_of_a_chart_has_its_rows_and_no_formula(desk: Desk) -> None:
    desk.shop.tables["model_versions"] = desk.shop.tables["model_versions"].replace("'v' || n", "'=v' || n")
    desk.shop.publish()
    lines = desk.client("viewer").get("/models/?csv=losses&days=7").content.decode().splitlines()
    assert lines[0] == "created_at,model_name,model_version,relative_loss"
    assert [line.split(",")[2] for line in lines[1:]] == ["'=v6", "'=v7"]


def test_a_chart_of_a_page_carries_its_sql_and_a_link_with_the_filters(desk: Desk) -> None:
    page = desk.client("viewer").get("/models/?days=7").content.decode()
    assert "-- $days = 7" in page
    assert 'href="?days=7#drift"' in page
    again = desk.client("viewer").get("/models/?days=7&more=1").content.decode()  # of the same rows, which are kept
    assert 'href="?days=7&amp;more=1#drift"' in again and "-- $days = 7" in again
    figure = page.split('data-figure="')[1].split('"')[0].replace("&quot;", '"')
    assert json.loads(figure)["data"]


DAYS = """
    select 'spring' as campaign_id, date '2026-05-01' + n::integer as day, 900 * n as contacts, 100 * n as holdouts,
        .03 as contact_rate, .02 as holdout_rate, .01 as lift, -.02 as lift_low, .03 as lift_high, -.05 as anytime_low,
        .06 as anytime_high
    from range(1, 4) as days (n)
"""


@pytest.mark.parametrize("is_closed", [True, False])
def test_the_lift_over_days_is_a_chart_with_both_intervals_and_provisional_until_the_close(desk: Desk, is_closed: bool) -> None:
    arms = f"select 'spring' as campaign_id, unnest(['contact', 'holdout']) as arm, {is_closed} as is_closed"
    desk.shop.tables |= {"campaign_results": whole("campaign_results", arms)}
    desk.shop.tables |= {"campaign_result_days": whole("campaign_result_days", DAYS)}
    desk.shop.publish()
    page = desk.client("viewer").get("/campaigns/spring/results/").content.decode()
    assert ("Provisional until the campaign is closed" in page) is not is_closed
    assert "-- $campaign = &#x27;spring&#x27;" in page
    drawn = json.loads(html.unescape(page.split('data-figure="')[1].split('"')[0]))["data"]
    assert [trace["y"][0] for trace in drawn] == [-0.05, 0.06, -0.02, 0.03, 0.01]
    assert [trace.get("fill") for trace in drawn] == [None, "tonexty", None, "tonexty", None]
    header, first, *_ = desk.client("viewer").get("/campaigns/spring/results/?csv=lift").content.decode().splitlines()
    assert header.startswith("day,contacts,holdouts") and first == "2026-05-02,900,100,0.03,0.02,0.01,-0.05,0.06,-0.02,0.03"


def test_a_picture_has_a_shape_for_each_value_at_its_place() -> None:
    days = pd.DataFrame({"day": pd.to_datetime(["2026-05-01", "2026-05-02", "2026-05-04"]), "value": [5.0, 10.0, None]})
    drawn = picture(line("day", "value", unit="EUR")(days))
    # Four days, each a quarter wide: their middles are at 12.5, 37.5 and 87.5; 10 is the greatest, and 0 the least.
    assert 'd="M12.50 50.00L37.50 0.00"' in drawn and 'd="M12.50 50.00h0M37.50 0.00h0"' in drawn
    assert ">10 EUR<" in drawn and ">May 4<" in drawn


def test_bars_stand_side_by_side_on_one_another_or_lie() -> None:
    rows = pd.DataFrame({"kind": ["a", "b"], "first": [1.0, 4.0], "second": [3.0, None]})
    beside = picture(bar("kind", ["first", "second"])(rows))
    assert 'c0" d="M5.00 75.00h20.00v25.00h-20.00zM55.00 0.00h20.00v100.00h-20.00z"' in beside
    assert 'c1" d="M25.00 25.00h20.00v75.00h-20.00z' in beside
    stacked = picture(bar("kind", ["first", "second"], is_stacked=True)(rows))
    assert 'c1" d="M5.00 0.00h40.00v75.00h-40.00z' in stacked  # from 1 to 4
    assert 'c0" d="M0.00 5.00h25.00v20.00h-25.00z' in picture(bar("kind", ["first", "second"], is_horizontal=True)(rows))


def test_cells_are_the_darker_the_greater_and_names_are_text() -> None:
    rows = pd.DataFrame({"hour": [9, 10, 10], "segment": ["<b>Lost", "<b>Lost", "New"], "share": [0.1, 0.2, 0.3]})
    drawn = picture(heatmap("hour", "segment", "share", unit="%")(rows))
    assert re.findall(r'fill-opacity="([\d.]+)"', drawn) == ["0.06", "0.53", "1.00"]
    assert "&lt;b&gt;Lost" in drawn and "<b>" not in drawn and "10%" in drawn and "30%" in drawn


def test_a_band_lies_between_its_bounds() -> None:
    rows = pd.DataFrame({"n": ["a", "b"], "lift": [0.0, 0.0], "low": [-1.0, -0.5], "high": [1.0, 0.5]})
    drawn = picture(with_bands(line("n", "lift"), "n", [("low", "high", "95%")])(rows))
    assert '<path class="band c1" d="M25.00 100.00L75.00 75.00L75.00 25.00L25.00 0.00"/>' in drawn
    assert drawn.count('class="line') == 1 and ">95%<" in drawn.replace("</i>", ">")


@pytest.mark.parametrize("values", [[0.0, 0.0], [None, None], [-3.0, 1e9], [1e-6, 2e-6]])
def test_any_values_can_be_drawn(values: list[float | None]) -> None:
    rows = pd.DataFrame({"n": ["a", "b"], "value": values})
    for figure in (line("n", "value"), bar("n", "value"), bar("n", "value", is_horizontal=True), heatmap("n", "n", "value")):
        assert "nan" not in picture(figure(rows)) and "<svg" in picture(figure(rows))
