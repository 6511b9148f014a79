"""What plotly.js is given."""

from __future__ import annotations

import json

import pandas as pd

from customer360.services.desk.charts import heatmap, line
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
    figure = page.split('data-figure="')[1].split('"')[0].replace("&quot;", '"')
    assert json.loads(figure)["data"]
