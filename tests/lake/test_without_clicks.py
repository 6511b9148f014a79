"""A shop whose history is reference purchases alone: its clock, its training cut-offs, its published tables, its volume."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from customer360.lake.operations.slice_health import judge_volume
from customer360.lake.publishing.publications import publish_warehouse
from customer360.lake.publishing.version import open_version
from customer360.lake.raw.raw_clicks import write_raw_slice
from customer360.lake.reference.reference import load_reference
from customer360.lake.warehouse.cutoffs import history_start, set_training_cutoffs
from customer360.lake.warehouse.slice_log import Plan, plan_transform
from customer360.lake.warehouse.warehouse import open_warehouse
from customer360.settings import Settings

LOADED = datetime(2026, 6, 1, tzinfo=UTC)
FIRST = "2025-09-03T11:50:00Z"
LAST = "2026-04-28T17:07:11Z"  # with slices of 15 minutes, the slice 17:00 to 17:15


at = datetime.fromisoformat


def land(settings: Settings, *moments: str) -> None:
    """The reference table ``purchases``, an order at each moment."""
    folder = settings.place.landing / "reference" / "purchases"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"order_id": f"o-{moment}", "product_id": "p", "line_no": 1, "customer_id": "c", "purchased_at": moment, "amount": 1}
        for moment in moments
    ]
    (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    load_reference(settings, "purchases", LOADED)


def planned(settings: Settings, now: datetime = LOADED) -> tuple[Plan, duckdb.DuckDBPyConnection]:
    connection = open_warehouse(settings.place)
    return plan_transform(connection, settings, now), connection


def test_the_clock_is_the_end_of_the_slice_of_the_last_purchase(settings: Settings) -> None:
    land(settings, FIRST, LAST)
    plan, connection = planned(settings)
    assert (plan.last_slice, plan.pending) == (at("2026-04-28 17:00"), [])
    assert connection.execute("from ops.clock").fetchall() == [(at("2026-04-28 17:00"), at("2026-04-28 17:15"))]


def test_purchases_from_slices_start_on_from_the_future_or_taken_back_do_not_move_the_clock(settings: Settings) -> None:
    land(settings, FIRST, LAST, "2026-04-30T10:00:00Z")
    land(settings, FIRST, LAST, "2026-05-01T00:00:00Z")  # the row of 30 April is gone from the second load
    plan, connection = planned(settings)
    assert plan.last_slice == at("2026-04-28 17:00")
    connection.close()
    assert planned(settings, datetime(2026, 4, 1, tzinfo=UTC))[0].last_slice == at("2025-09-03 11:45")


def test_a_live_slice_without_files_sets_the_clock_and_the_history_still_begins_with_the_first_purchase(
    settings: Settings,
) -> None:
    land(settings, FIRST, LAST)
    write_raw_slice(settings, settings.shop.slices_start)
    plan, connection = planned(settings)
    assert plan.last_slice == at("2026-05-01 00:00")
    assert history_start(connection, settings, "ops.slice_log") == at("2025-09-03 11:50")


def test_training_has_a_cut_off_a_week_from_nine_days_before_the_clock(settings: Settings) -> None:
    land(settings, "2026-03-24T17:15:00Z", LAST)
    _, connection = planned(settings)
    # A horizon of 7 days and 2 days for what comes late; 14 days of history before the oldest, which begins on 24 March.
    expected = [at("2026-04-19 17:15"), at("2026-04-12 17:15")]
    assert set_training_cutoffs(connection, settings) == expected


def test_with_clicks_the_history_begins_with_the_first_slice_as_ever(settings: Settings) -> None:
    land(settings, FIRST)
    history = settings.place.landing / "clicks/2026/05/01/0000"
    history.mkdir(parents=True)
    event = {"event_id": "e", "event_name": "page_view", "event_at": "2026-05-01T00:01:00Z", "customer_id": "c"}
    (history / "web.jsonl").write_text(json.dumps(event) + "\n", encoding="utf-8")
    write_raw_slice(settings, settings.shop.slices_start)
    _, connection = planned(settings)
    assert history_start(connection, settings, "ops.slice_log") == at("2026-05-01 00:00")


@pytest.mark.parametrize("moments", [[], ["2026-05-01T00:00:00Z"]], ids=["nothing", "purchases after slices_start alone"])
def test_a_place_without_history_has_no_clock(settings: Settings, moments: list[str]) -> None:
    if moments:
        land(settings, *moments)
    plan, connection = planned(settings)
    assert plan.last_slice is None
    assert connection.execute("from ops.clock").fetchall() == []


def test_reference_tables_that_were_never_loaded_are_published_without_rows(settings: Settings) -> None:
    land(settings, LAST)
    _, connection = planned(settings)
    publication = publish_warehouse(connection, settings, LOADED, {})
    assert {name: publication.rows[name] for name in ("offers", "campaigns", "products", "categories")} == {
        "offers": 0,
        "campaigns": 0,
        "products": 0,
        "categories": 0,
    }
    with open_version(settings.place) as version:
        assert version.connection.execute("select offer_id from offers").fetchall() == []


def test_the_volume_of_a_shop_that_has_no_clicks_is_usual() -> None:
    start, width = at("2026-05-01 00:00+00:00"), timedelta(minutes=15)
    volume = judge_volume({start + number * width: 0 for number in range(15 * 96)}, width)
    assert (volume.is_usual, volume.lines, volume.usual_lines, volume.days) == (True, 0, 0.0, 14)
