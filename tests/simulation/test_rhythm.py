"""The shop's day on its own clock."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from customer360.simulation import Simulation, rhythm
from customer360.simulation.arrays import microseconds
from customer360.simulation.behaviour import draw_block
from customer360.simulation.synthetic_shop import SyntheticShop

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


def busiest_hour_utc(day: datetime) -> int:
    starts = rhythm.slots(microseconds(day), microseconds(day + timedelta(days=1)))
    return int(np.argmax(rhythm.weights(starts, AMSTERDAM)) // 4)


def test_the_busiest_hour_keeps_to_the_local_clock_across_its_change():
    before, after = datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC)
    assert (busiest_hour_utc(before), busiest_hour_utc(after)) == (19, 18)


def test_the_hour_that_does_not_exist_is_skipped_and_the_one_that_comes_twice_is_counted_twice():
    for day, hours in ((datetime(2026, 3, 29, tzinfo=AMSTERDAM), 23), (datetime(2026, 10, 25, tzinfo=AMSTERDAM), 25)):
        end = (day + timedelta(days=1)).astimezone(UTC)
        starts = rhythm.slots(microseconds(day), microseconds(end))
        assert len(starts) == 4 * hours
        weights = rhythm.weights(starts, AMSTERDAM)
        # Hours 2, 3 and 4 are equally quiet: two of them are left in spring, four come in autumn.
        assert np.isclose(weights, rhythm.HOURS[2] * rhythm.WEEKDAYS[6]).sum() == 4 * (3 + hours - 24)


def test_the_mean_of_a_week_is_one():
    monday = datetime(2026, 4, 6, tzinfo=AMSTERDAM)
    starts = rhythm.slots(microseconds(monday), microseconds(monday + timedelta(days=7)))
    assert np.isclose(rhythm.weights(starts, AMSTERDAM).mean(), 1.0)


def test_events_follow_the_rhythm_unless_it_is_switched_off(synthetic_shop):
    monday = microseconds(datetime(2026, 4, 6, tzinfo=UTC))
    hours = {}
    for flat in (False, True):
        synthetic = SyntheticShop.build(Simulation(customers=2_000, seed=4, flat=flat), synthetic_shop)
        events = draw_block(synthetic, monday, monday + 7 * 86_400_000_000)
        local = pd.DatetimeIndex(events.at.view("datetime64[us]")).tz_localize("UTC").tz_convert(AMSTERDAM)
        hours[flat] = np.bincount(local.hour, minlength=24) / len(events)
        assert abs(len(events) / (7 * synthetic.simulation.events_per_day(synthetic_shop)) - 1) < 0.05
    assert hours[False][19:22].sum() > hours[False][12:15].sum() > hours[False][7:10].sum()
    assert hours[False][20] > 8 * hours[False][3]
    assert hours[True].max() < 1.6 * hours[True].min()
