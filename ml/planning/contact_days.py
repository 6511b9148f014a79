"""When a contact may be sent: the days that a plan reaches over, the hours that are allowed on them, and the moment in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.settings import Shop

Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


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
                tuple(sorted(campaign.hours_on(day.isoweekday()) & set(range(daypart.start, daypart.end))))
                if campaign.runs_on(day)
                else ()
                for daypart in shop.dayparts.values()
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
        """Of each day its place in the week, Monday 0."""
        return np.array([day.weekday() for day in self.days], dtype=np.int64)

    def send_at(self, day: Integers, daypart: Integers, zones: pd.Series[str]) -> npt.NDArray[np.datetime64]:
        """The first allowed hour of each contact's day and daypart where its customer is, as plain UTC.

        An hour that the clock leaves out that day is passed over, where the daypart has another; the first of two counts.
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
        there = [one for one, start in zip(utc, starts, strict=True) if one.astimezone(where).hour == start.hour]
        return (there or utc)[0].replace(tzinfo=None)
