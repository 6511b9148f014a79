"""What was known just before a contact, beside a slow reading of the same words, and attributes as they were known then."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.responses.contact_history import attributes_at, contact_history, history_columns

CHANNELS = ["email", "sms"]


def at(text: str) -> pd.Timestamp:
    return pd.Timestamp(f"2026-04-{text}")


def touch(number: int, when: str, channel: str | None = "email", *, customer: str = "c1", **more: object) -> dict[str, object]:
    base = {"touch_id": f"t{number}", "customer_id": customer, "touched_at": at(when), "channel": channel}
    return {**base, "is_converted": False, "converted_at": pd.NaT, "is_control": False, **more}


def history(touches: list[dict[str, object]], moments: list[str], orders: pd.DataFrame | None = None) -> pd.DataFrame:
    points = pd.DataFrame({"customer_id": "c1", "at": [at(moment) for moment in moments]})
    return contact_history(points, pd.DataFrame(touches), orders, CHANNELS)


def test_a_touch_is_no_part_of_its_own_history_and_touches_at_one_instant_do_not_see_each_other() -> None:
    touches = [touch(1, "01 10:00"), touch(2, "02 10:00", "sms"), touch(3, "02 10:00"), touch(4, "03 10:00")]
    found = history(touches, ["01 10:00", "02 10:00", "03 10:00"])
    assert found[["contacts_email", "contacts_sms"]].to_numpy().tolist() == [[0, 0], [1, 0], [2, 1]]
    assert found["previous_channel"].tolist() == [None, "email", "email"]  # t2 and t3 at once: the higher id is the later
    assert found["days_since_last_contact"].tolist()[1:] == [1.0, 1.0]
    assert np.isnan(found["days_since_last_contact"].iloc[0])


def test_the_order_of_rows_does_not_matter() -> None:
    touches = [touch(number, f"{number % 9 + 1:02} 10:00", CHANNELS[number % 2]) for number in range(40)]
    moments = ["01 10:00", "05 09:59", "09 10:01"]
    pd.testing.assert_frame_equal(history(touches, moments), history(touches[::-1], moments))


def test_a_conversion_counts_from_when_it_was_known_and_never_for_its_own_contact() -> None:
    touches = [
        touch(1, "01 10:00", is_converted=True, converted_at=at("03 12:00")),
        touch(2, "02 10:00", is_converted=True, converted_at=at("01 00:00")),  # a producer's clock was wrong
        touch(3, "02 11:00", is_converted=True),  # nobody knows when
    ]
    assert history(touches, ["02 10:00", "02 10:01", "03 12:00", "03 12:01"])["conversions"].tolist() == [0, 1, 1, 2]


def test_controls_were_not_contacted_and_an_unknown_channel_counts_for_none() -> None:
    found = history([touch(1, "01 10:00", is_control=True), touch(2, "02 10:00", None)], ["03 10:00"])
    assert found[["contacts_email", "contacts_sms"]].sum(axis=None) == 0
    assert found["previous_channel"].tolist() == [None]
    assert found["days_since_last_contact"].tolist() == [1.0]


def test_orders_of_a_year_count_and_the_last_one_is_older_where_it_is() -> None:
    orders = pd.DataFrame(
        {
            "customer_id": ["c1", "c1", "c1", "c2"],
            "ordered_at": [
                at("10 12:00") - pd.Timedelta(days=365),
                at("10 12:00") - pd.Timedelta(days=366),
                at("10 12:00"),
                at("01"),
            ],
            "amount": [10.0, 5.0, 7.5, 99.0],
            "lines": [1, 2, 1, 1],
        }
    )
    found = history([touch(1, "01")], ["10 12:00", "11 12:00"], orders)
    assert found["orders_365d"].tolist() == [1, 1]  # exactly 365 days before is within them; a day later only the newest is
    assert found["spend_365d"].tolist() == [10.0, 7.5]
    assert found["days_since_last_order"].tolist() == [365.0, 1.0]


def test_a_return_under_its_own_order_id_lowers_the_spend_and_is_no_order() -> None:
    orders = pd.DataFrame(
        {
            "customer_id": "c1",
            "ordered_at": [at("02 12:00"), at("05 12:00"), at("08 12:00")],
            "amount": [30.0, -10.0, 5.0],
            "lines": [2, 0, 1],
        }
    )
    found = history([touch(1, "01")], ["06 12:00", "09 12:00"], orders)
    assert found["orders_365d"].tolist() == [1, 2]
    assert found["spend_365d"].tolist() == [20.0, 25.0]
    assert found["days_since_last_order"].tolist() == [4.0, 1.0]


@pytest.mark.parametrize("orders", [None, pd.DataFrame({"customer_id": [], "ordered_at": [], "amount": [], "lines": []})])
def test_without_orders_their_features_are_null_not_zero(orders: pd.DataFrame | None) -> None:
    found = history([touch(1, "01")], ["02"], orders)
    assert found[["days_since_last_order", "orders_365d", "spend_365d"]].isna().all(axis=None)


def test_who_was_never_seen_has_an_empty_history() -> None:
    points = pd.DataFrame({"customer_id": ["stranger"], "at": [at("20")]}, index=[7])
    found = contact_history(points, pd.DataFrame([touch(1, "01")]), None, CHANNELS)
    assert found.index.tolist() == [7]
    assert list(found) == history_columns(CHANNELS)
    assert found[["contacts_email", "contacts_sms", "conversions"]].to_numpy().tolist() == [[0, 0, 0]]
    assert found["previous_channel"].tolist() == [None]


def slowly(point: pd.Series, touches: pd.DataFrame, orders: pd.DataFrame) -> list[object]:
    """One point after the other, by filters."""
    own = touches[(touches["customer_id"] == point["customer_id"]) & ~touches["is_control"]]
    seen = own[own["touched_at"] < point["at"]].sort_values(["touched_at", "touch_id"])
    won = own[own["is_converted"] & (own["converted_at"] < point["at"]) & (own["touched_at"] < point["at"])]
    bought = orders[(orders["customer_id"] == point["customer_id"]) & (orders["ordered_at"] < point["at"])]
    year = bought[bought["ordered_at"] >= point["at"] - pd.Timedelta(days=365)]
    sales = bought[bought["lines"] > 0]
    day = pd.Timedelta(days=1)
    return [
        *((seen["channel"] == channel).sum() for channel in CHANNELS),
        seen["channel"].iloc[-1] if len(seen) else None,
        (point["at"] - seen["touched_at"].iloc[-1]) / day if len(seen) else np.nan,
        len(won),
        (point["at"] - sales["ordered_at"].max()) / day if len(sales) else np.nan,
        (year["lines"] > 0).sum(),
        year["amount"].sum(),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_the_history_is_that_of_a_slow_reading(seed: int) -> None:
    """Few customers and few distinct times, so that many things happen at once."""
    rng = np.random.default_rng(seed)
    rows = 200
    times = pd.Series(at("01") + pd.to_timedelta(rng.integers(0, 40, rows), unit="h"))
    is_converted = rng.random(rows) < 0.4
    touches = pd.DataFrame(
        {
            "touch_id": [f"t{number:03}" for number in rng.permutation(rows)],
            "customer_id": rng.choice(["a", "b", "c", "d"], rows),
            "touched_at": times,
            "channel": rng.choice(np.array(["email", "sms", None], dtype=object), rows),
            "is_converted": is_converted,
            "converted_at": (times + pd.to_timedelta(rng.integers(0, 9, rows), unit="h")).where(is_converted),
            "is_control": rng.random(rows) < 0.2,
        }
    )
    days_back = pd.to_timedelta(rng.integers(-30, 400 * 24, 300), unit="h")
    orders = pd.DataFrame(
        {
            "customer_id": rng.choice(["a", "b", "e"], 300),
            "ordered_at": at("02") - days_back,
            "amount": rng.integers(-5, 50, 300),
            "lines": rng.integers(0, 3, 300),
        }
    )
    points = pd.DataFrame(
        {
            "customer_id": rng.choice(["a", "b", "c", "e", "f"], 150),
            "at": at("01") + pd.to_timedelta(rng.integers(0, 50, 150), unit="h"),
        }
    )
    found = contact_history(points, touches, orders, CHANNELS)
    expected = pd.DataFrame([slowly(point, touches, orders) for _, point in points.iterrows()], columns=list(found))
    previous = expected["previous_channel"].astype(object)
    expected["previous_channel"] = previous.where(previous.notna(), None)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_attributes_are_those_in_force_at_the_moment() -> None:
    versions = pd.DataFrame(
        {
            "customer_id": ["c1", "c1", "c2"],
            "valid_from": [pd.Timestamp("1970-01-01"), at("05"), pd.Timestamp("1970-01-01")],
            "valid_to": [at("05"), pd.NaT, at("03")],
            "region": ["north", "south", "west"],
        }
    )
    points = pd.DataFrame(
        {
            "customer_id": ["c1", "c1", "c1", "c2", "c2", "stranger"],
            "at": [at("04"), at("05"), at("06"), at("02"), at("03"), at("04")],
        },
        index=[5, 4, 3, 2, 1, 0],
    )
    found = attributes_at(points, versions)
    assert found.index.tolist() == points.index.tolist()
    assert found["region"].tolist()[:4] == ["north", "south", "south", "west"]
    assert found["region"].isna().tolist()[4:] == [True, True]
    assert attributes_at(points, versions.iloc[:0])["region"].isna().all()
