"""When a contact may be sent: the days that a plan reaches over, the hours that are allowed on them, and the moment in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.settings import Shop
from ml.arrays import Booleans, Integers, Moments


@dataclass(frozen=True)
class ContactDays:
    """The days after ``plan_date`` and, of each day and daypart, the local hours in which a campaign may send."""

    plan_date: date
    days: tuple[date, ...]
    hours: tuple[tuple[tuple[int, ...], ...], ...]

    @classmethod
    def of(cls, campaign: Campaign, shop: Shop, plan_date: date) -> ContactDays:
        """The days of a plan; one on which the campaign does not run has no hours."""
        days = tuple(plan_date + timedelta(days=ahead) for ahead in range(1, shop.campaigns.days_ahead + 1))
        hours = tuple(
            tuple(
                _hours(campaign, day, set(range(daypart.start, daypart.end)), shop.zone) for daypart in shop.dayparts.values()
            )
            for day in days
        )
        return cls(plan_date, days, hours)

    @property
    def is_open(self) -> Booleans:
        """Days x dayparts: whether there is an allowed hour."""
        return np.array([[bool(hours) for hours in day] for day in self.hours], dtype=bool)

    @property
    def weekdays(self) -> Integers:
        """The weekday of each day, Monday 0."""
        return np.array([day.weekday() for day in self.days], dtype=np.int64)

    def send_at(self, day: Integers, daypart: Integers, zones: pd.Series[str]) -> Moments:
        """The first allowed hour of each contact's day and daypart where its customer is, as plain UTC.

        Where the clock skips an hour, the daypart's next allowed hour counts, if any; of an hour that occurs twice, the first.
        """
        keys = pd.DataFrame({"day": day, "daypart": daypart, "zone": zones.to_numpy(dtype=object)})
        found = {key: self._moment(*key) for key in keys.drop_duplicates().itertuples(index=False, name=None)}
        moments = [found[key] for key in keys.itertuples(index=False, name=None)]
        return np.array(moments, dtype="datetime64[us]")

    def _moment(self, day: int, daypart: int, zone: str) -> datetime:
        where = ZoneInfo(zone)
        hours = self.hours[day][daypart]
        starts = [datetime.combine(self.days[day], datetime.min.time(), where).replace(hour=hour) for hour in hours]
        utc = [start.astimezone(ZoneInfo("UTC")) for start in starts]
        existing = [moment for moment, start in zip(utc, starts, strict=True) if moment.astimezone(where).hour == start.hour]
        return (existing or utc)[0].replace(tzinfo=None)


def _hours(campaign: Campaign, day: date, daypart: set[int], zone: ZoneInfo) -> tuple[int, ...]:
    """The allowed hours of a daypart; none where the clock of the shop skips all of them that day."""
    hours = tuple(sorted(campaign.hours_on(day.isoweekday()) & daypart)) if campaign.runs_on(day) else ()
    return hours if any(_exists(day, hour, zone) for hour in hours) else ()


def _exists(day: date, hour: int, zone: ZoneInfo) -> bool:
    """Whether this local hour exists on this day: it does not where the clock is put forward over it."""
    start = datetime.combine(day, datetime.min.time(), zone).replace(hour=hour)
    return start.astimezone(ZoneInfo("UTC")).astimezone(zone).hour == hour
