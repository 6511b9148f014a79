from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from published_frames import small_shop

from customer360.campaigns.definition import Campaign
from customer360.settings import CampaignRules, Shop
from ml.planning.contact_days import ContactDays

SHOP = small_shop().model_copy(update={"campaigns": CampaignRules(days_ahead=4)})
MORNING, AFTERNOON, EVENING = range(3)


def campaign(**changes: Any) -> Campaign:
    base = {"campaign_id": "k", "title": "K", "audience": "everyone", "value_per_conversion": 10, "channels": {"email": {}}}
    return Campaign.model_validate({**base, **changes})


def at_night() -> Shop:
    """One daypart, the night and what follows it."""
    shop = small_shop(dayparts={"night": {"from": 1, "to": 4}, "day": {"from": 4, "to": 24}})
    return shop.model_copy(update={"campaigns": CampaignRules(days_ahead=4)})


def moment(days: ContactDays, day: int, daypart: int, zone: str) -> str:
    found = days.send_at(np.array([day]), np.array([daypart]), pd.Series([zone]))
    return str(found[0])[:16]


def test_a_plan_reaches_over_the_days_after_it_and_keeps_to_the_hours_of_window_and_daypart() -> None:
    window = {"days": [5, 6], "from": 10, "to": 14}
    days = ContactDays.of(campaign(send_windows=[window]), SHOP, date(2026, 5, 7))  # a Thursday
    assert days.days == (date(2026, 5, 8), date(2026, 5, 9), date(2026, 5, 10), date(2026, 5, 11))
    assert days.weekdays.tolist() == [4, 5, 6, 0]
    assert days.hours[0] == ((10, 11), (12, 13), ())
    assert days.is_open.tolist() == [[True, True, False]] * 2 + [[False] * 3] * 2


def test_the_first_and_the_last_day_of_a_campaign_are_its_own() -> None:
    days = ContactDays.of(campaign(starts_on="2026-05-09", ends_on="2026-05-10"), SHOP, date(2026, 5, 7))
    assert days.is_open.any(axis=1).tolist() == [False, True, True, False]


def test_several_windows_of_a_day_add_up() -> None:
    windows = [{"from": 8, "to": 9}, {"from": 11, "to": 13}, {"from": 8, "to": 10}]
    days = ContactDays.of(campaign(send_windows=windows), SHOP, date(2026, 5, 7))
    assert days.hours[0] == ((8, 9, 11), (12,), ())


@pytest.mark.parametrize(
    ("zone", "sent"),
    [
        ("Europe/Amsterdam", "2026-05-08T08:00"),  # two hours ahead of UTC in May
        ("America/New_York", "2026-05-08T14:00"),  # four behind
        ("Asia/Kolkata", "2026-05-08T04:30"),  # five and a half ahead
        ("Pacific/Auckland", "2026-05-07T22:00"),  # twelve ahead: the day before, in UTC
    ],
)
def test_a_contact_is_sent_at_the_first_allowed_hour_where_the_customer_is(zone: str, sent: str) -> None:
    days = ContactDays.of(campaign(send_windows=[{"from": 10, "to": 14}]), SHOP, date(2026, 5, 7))
    assert moment(days, 0, MORNING, zone) == sent


def test_the_day_on_which_clocks_go_forward_is_an_hour_nearer_to_utc() -> None:
    days = ContactDays.of(campaign(), SHOP, date(2026, 3, 27))
    # Amsterdam: one hour ahead of UTC on Saturday the 28th, two from Sunday the 29th on. New York changed three weeks earlier.
    assert [moment(days, day, MORNING, "Europe/Amsterdam")[5:] for day in range(3)] == [
        "03-28T07:00",
        "03-29T06:00",
        "03-30T06:00",
    ]
    assert [moment(days, day, MORNING, "America/New_York")[5:] for day in range(2)] == ["03-28T12:00", "03-29T12:00"]


def test_an_hour_that_the_clock_leaves_out_is_passed_over() -> None:
    # On 2026-03-29 Amsterdam's clocks go from 2:00 to 3:00, which is 1:00 UTC.
    days = ContactDays.of(campaign(send_windows=[{"from": 2, "to": 5}]), at_night(), date(2026, 3, 28))
    assert moment(days, 0, 0, "Europe/Amsterdam") == "2026-03-29T01:00"
    assert moment(days, 0, 0, "America/New_York") == "2026-03-29T06:00"
    assert moment(days, 1, 0, "Europe/Amsterdam") == "2026-03-30T00:00"


def test_of_an_hour_that_comes_twice_the_first_counts() -> None:
    # On 2026-10-25 Amsterdam's clocks go back from 3:00 to 2:00: 2:00 is 0:00 UTC, and 1:00 UTC once more.
    days = ContactDays.of(campaign(send_windows=[{"from": 2, "to": 5}]), at_night(), date(2026, 10, 23))
    assert [moment(days, day, 0, "Europe/Amsterdam") for day in range(3)] == [
        "2026-10-24T00:00",
        "2026-10-25T00:00",
        "2026-10-26T01:00",
    ]
    assert moment(days, 1, 1, "Europe/Amsterdam") == "2026-10-25T03:00"


def test_each_contact_has_its_own_day_daypart_and_zone() -> None:
    days = ContactDays.of(campaign(), SHOP, date(2026, 5, 7))
    zones = pd.Series(["Europe/Amsterdam", "Asia/Kolkata", "Europe/Amsterdam"], index=[7, 3, 5])
    found = days.send_at(np.array([0, 1, 3]), np.array([MORNING, AFTERNOON, EVENING]), zones)
    assert [str(send_at)[5:16] for send_at in found] == ["05-08T06:00", "05-09T06:30", "05-11T16:00"]
    assert found.dtype == np.dtype("datetime64[us]")


def test_a_window_of_nothing_but_the_hour_that_the_clock_skips_is_closed_that_day() -> None:
    shop = at_night()  # Amsterdam: on 29 March two o'clock is three o'clock
    days = ContactDays.of(campaign(send_windows=[{"from": 2, "to": 3}]), shop, date(2026, 3, 27))
    assert [day.isoformat() for day in days.days] == ["2026-03-28", "2026-03-29", "2026-03-30", "2026-03-31"]
    assert days.is_open[:, 0].tolist() == [True, False, True, True]
