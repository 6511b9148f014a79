"""Campaigns one after the other, up to and past the first live slice, each carrying an offer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from customer360.simulation.arrays import Ints
from customer360.simulation.catalogue import OFFER_IDS
from customer360.simulation.parameters import Simulation

# name, kind, offer (position in the list of offers)
CAMPAIGNS = (
    ("Welcome back", "reactivation", 0),
    ("Delivered to your door", "seasonal", 1),
    ("Camera season", "category", 5),
    ("Beauty weeks", "category", 4),
    ("Get moving", "category", 3),
    ("Fresh start", "seasonal", 2),
)
CAMPAIGN_IDS = [f"k{number}" for number in range(1, len(CAMPAIGNS) + 1)]
LAST_CAMPAIGN_DAYS = 60


@dataclass(frozen=True)
class Calendar:
    """Which campaign runs on which shop-local day."""

    simulation: Simulation
    first_live_day: date

    def edges(self) -> list[date]:
        """First day of each campaign, and the first live day."""
        length, count = self.simulation.touch_days, len(CAMPAIGNS)
        return [self.first_live_day - timedelta(days=length - length * i // count) for i in range(count + 1)]

    def running(self, days: Ints) -> Ints:
        """The campaign of each day; a day is the number of days since the first live one. -1: none."""
        starts = np.array([(edge - self.first_live_day).days for edge in self.edges()[:-1]])
        campaign = np.searchsorted(starts, days, side="right") - 1
        return np.where(days >= LAST_CAMPAIGN_DAYS, -1, campaign).astype(np.int64)

    def table(self) -> pd.DataFrame:
        """The reference table ``campaigns``."""
        edges = self.edges()
        lasts = [
            *(edge - timedelta(days=1) for edge in edges[1:-1]),
            self.first_live_day + timedelta(LAST_CAMPAIGN_DAYS - 1),
        ]
        rows = [
            (campaign_id, name, kind, OFFER_IDS[offer], first, last)
            for campaign_id, (name, kind, offer), first, last in zip(CAMPAIGN_IDS, CAMPAIGNS, edges[:-1], lasts, strict=True)
        ]
        return pd.DataFrame(rows, columns=["campaign_id", "name", "kind", "offer_id", "starts_on", "ends_on"])
