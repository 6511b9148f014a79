"""What was sent and what was held back, as touches that the response model learns from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from customer360.campaigns.attribution import TOUCH_COLUMNS, first_orders, own_touches, with_own_touches
from customer360.campaigns.ledger import append, ledger_query, read_ledger
from customer360.campaigns.standing import standing
from customer360.lake.engine import connect
from customer360.lake.publishing.profiles import planned_contacts
from customer360.settings import Place, Shop
from tests.support.random_shop import small_shop

SHOP: Shop = small_shop(time_zone="Europe/Amsterdam")
NOW = datetime(2026, 5, 9, tzinfo=UTC)
DAY = pd.Timestamp("2026-05-03")
ZONES = pd.DataFrame({"customer_id": ["C2"], "time_zone": ["America/New_York"]})
ORDERS = pd.DataFrame(
    [
        ("C1", "O1", "2026-05-03 09:59:59", 10.0, 1),  # before it was sent
        ("C1", "O2", "2026-05-06 09:59:59", 10.0, 1),  # in the last second of the window
        ("C2", "O3", "2026-05-06 03:00:00", 10.0, 1),  # as the window closes
        ("C3", "O4", "2026-05-04 00:00:00", -5.0, 0),  # a return is no order
        ("C4", "O5", "2026-05-05 00:00:00", 0.0, 1),  # returned in part or in full, it was an order
    ],
    columns=["customer_id", "order_id", "ordered_at", "amount", "lines"],
).astype({"ordered_at": "datetime64[us]"})


def entry(event: str, customer: str, at: str, **values: Any) -> dict[str, Any]:
    planned = {"campaign_id": "spring", "plan_version": "v1", "contact_date": DAY, "channel": "mail", "daypart": "day"}
    return {"event": event, "customer_id": customer, "event_at": pd.Timestamp(at), **planned, **values}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """C1, C2 sent; C3 approved only; C4 held out; C5 held out for a later day; C6 withdrawn."""
    rows = []
    for customer, arm, send_at in (
        ("C1", "contact", "2026-05-03 10:00"),
        ("C2", "contact", "2026-05-03 03:00"),
        ("C3", "contact", "2026-05-09 10:00"),
        ("C4", "holdout", "2026-05-03 10:00"),
        ("C5", "holdout", "2026-05-08 10:00"),
        ("C6", "holdout", "2026-05-03 10:00"),
    ):
        rows.append(
            entry(
                "approved",
                customer,
                "2026-05-02 08:00",
                arm=arm,
                send_at=pd.Timestamp(send_at),
                is_exploration=customer == "C2",
            )
        )
    rows.append(entry("sent", "C1", "2026-05-03 10:00", arm="contact", is_exploration=False))
    rows.append(entry("sent", "C2", "2026-05-03 03:00", arm="contact", is_exploration=True))
    rows.append(entry("suppressed", "C6", "2026-05-02 09:00", detail="withdrawn"))
    place = Place(root=tmp_path)
    append(place, pd.DataFrame(rows), NOW, "test")
    return place


def test_contacts_convert_by_any_order_in_the_window_and_held_out_customers_are_controls(place: Place) -> None:
    touches = own_touches(standing(read_ledger(place)), ORDERS, ZONES, SHOP)
    shown = touches[["customer_id", "is_converted", "is_control", "is_randomised", "day_of_week", "local_hour"]]
    assert sorted(shown.itertuples(index=False, name=None)) == [
        ("C1", True, False, False, 7, 12),
        ("C2", False, False, True, 6, 23),  # Saturday night in New York
        ("C4", True, True, False, 7, 12),
    ]
    assert touches.set_index("customer_id")["converted_at"].to_dict() == {
        "C1": pd.Timestamp("2026-05-06 09:59:59"),
        "C2": pd.NaT,
        "C4": pd.Timestamp("2026-05-05"),
    }
    assert dict(touches.dtypes.astype(str)) == TOUCH_COLUMNS


def test_a_contact_that_the_shops_tool_reports_back_counts_once(place: Place) -> None:
    own = own_touches(standing(read_ledger(place)), ORDERS, ZONES, SHOP)
    reported = own[own["customer_id"] == "C1"].assign(touch_id="T1", is_converted=False)
    merged = with_own_touches(reported, own)
    assert sorted(zip(merged["customer_id"], merged["touch_id"] == "T1", strict=True)) == [
        ("C1", True),
        ("C2", False),
        ("C4", False),
    ]
    pd.testing.assert_frame_equal(with_own_touches(reported, own.head(0)), reported)


def test_without_a_ledger_there_are_no_touches(tmp_path: Path) -> None:
    empty = Place(root=tmp_path)
    assert own_touches(standing(read_ledger(empty)), ORDERS, ZONES, SHOP).empty


def test_contacts_to_come_are_those_approved_that_nothing_has_ended(place: Place) -> None:
    query = planned_contacts(None, ledger_query(place))
    with connect(place.root / ".tmp") as connection:
        found = connection.execute(f"select customer_id, channel, campaign_id, status from {query}").fetchall()
    assert found == [("C3", "mail", "spring", "approved")]


def test_the_first_order_within_a_window_counts_from_its_first_to_before_its_last_moment() -> None:
    at = pd.Timestamp("2026-03-02 10:00")
    customers, moments = (pd.Series(values, index=[7, 3, 5, 1]) for values in (["a", "b", "c", "d"], [at] * 4))
    orders = pd.DataFrame(
        {
            "customer_id": ["a", "a", "b", "c", "c"],
            "ordered_at": [at + timedelta(hours=hours) for hours in (0, 36, 72, -36, 71.99)],
        }
    )
    found = first_orders(customers, moments, orders, timedelta(days=3))
    assert list(found.index) == [7, 3, 5, 1]
    assert found[7] == at
    assert found[5] == at + timedelta(hours=71.99)
    assert found[[3, 1]].isna().all()
