"""Contacts that were really made, and what the truth makes of each: a function of the seed, the contact and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.settings import Shop
from customer360.simulation.arrays import Bools, Floats, Ints, Keys, Parallel, uniform
from customer360.simulation.parameters import SimulationError
from customer360.simulation.response import Response
from customer360.simulation.synthetic_shop import SyntheticShop
from customer360.simulation.touches import MEAN_DELAY_HOURS, contact_delay

CONTACT_COLUMNS = ("customer_id", "campaign_id", "channel", "sent_at")
_REACTS, _DELAY = 51, 52


@dataclass(frozen=True)
class Contacts(Parallel):
    """Contacts as parallel arrays: customers and channels by their places, ``sent_at`` in microseconds since 1970 (UTC).

    ``day`` (0 = Monday) and ``daypart`` are those of the customer's own clock when the contact was made.
    """

    customer: Ints
    campaign_id: npt.NDArray[np.object_]
    key: Keys
    channel: Ints
    sent_at: Ints
    day: Ints
    daypart: Ints

    def draws(self, seed: int, purpose: int) -> Floats:
        """A number in [0, 1) for each contact and purpose."""
        return uniform(seed, purpose, self.key)

    def reacts(self, seed: int, response: Response) -> Bools:
        """Whether the contact adds an order."""
        chance = response.added_probability(self.customer, self.channel, self.day, self.daypart)
        return np.asarray(self.draws(seed, _REACTS) < chance)

    def ordered_at(self, seed: int, shop: Shop) -> Ints:
        """When the order comes that the contact adds, should it add one."""
        hours = -MEAN_DELAY_HOURS * np.log1p(-self.draws(seed, _DELAY))
        return self.sent_at + contact_delay(hours, shop) * 1_000_000


def contacts_of(frame: pd.DataFrame, synthetic: SyntheticShop) -> Contacts:
    """The contacts of a frame with CONTACT_COLUMNS; ``sent_at`` is UTC, plain or with its zone.

    Each customer, campaign and moment counts once. Customers that the simulation does not have cannot react and are left out.
    Raises ``SimulationError`` on missing columns and on channels that the shop does not have.
    """
    missing = [name for name in CONTACT_COLUMNS if name not in frame.columns]
    if missing:
        raise SimulationError(f"contacts lack {', '.join(missing)}; they have {', '.join(CONTACT_COLUMNS)}")
    unknown = sorted(set(frame["channel"]) - set(synthetic.shop.channels))
    if unknown:
        raise SimulationError(f"contacts name channels that shop.yaml does not: {', '.join(map(str, unknown))}")
    sent_at = pd.to_datetime(frame["sent_at"], utc=True).dt.as_unit("us").reset_index(drop=True)
    known = frame.reset_index(drop=True).assign(sent_at=sent_at)[["customer_id", "campaign_id", "channel", "sent_at"]]
    known = known.drop_duplicates(["customer_id", "campaign_id", "sent_at"])
    known = known[known["customer_id"].isin(synthetic.population.customer_ids)]
    local = pd.DatetimeIndex(known["sent_at"]).tz_convert(synthetic.shop.zone)
    moments = pd.DatetimeIndex(known["sent_at"]).asi8.astype(np.int64)
    identity = known["customer_id"] + "\n" + known["campaign_id"] + "\n" + moments.astype(str)
    return Contacts(
        customer=pd.Index(synthetic.population.customer_ids).get_indexer(pd.Index(known["customer_id"])).astype(np.int64),
        campaign_id=known["campaign_id"].to_numpy(dtype=object),
        key=np.array([_key(text) for text in identity], dtype=np.uint64),
        channel=pd.Index(synthetic.shop.channels).get_indexer(pd.Index(known["channel"])).astype(np.int64),
        sent_at=moments,
        day=local.dayofweek.to_numpy().astype(np.int64),
        daypart=daypart_of_hours(synthetic.shop)[local.hour.to_numpy()],
    )


def daypart_of_hours(shop: Shop) -> Ints:
    """For each hour of a day the place of its daypart; what comes outside of all is read in the next one."""
    spans = list(shop.dayparts.values())
    ahead = np.array(
        [[-1 if span.start <= hour < span.end else (span.start - hour) % 24 for span in spans] for hour in range(24)]
    )
    return np.asarray(ahead.argmin(axis=1), dtype=np.int64)


def _key(identity: str) -> int:
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big")
