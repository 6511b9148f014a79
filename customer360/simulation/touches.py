"""Past campaign contacts: the action drawn at random within consent, then its outcome from the true response."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd

from customer360.simulation.arrays import generator
from customer360.simulation.campaigns import CAMPAIGN_IDS
from customer360.simulation.response import Response
from customer360.simulation.world import World

OUTCOME_DAYS = 3  # all conversions are known this many days after the contact


def draw_touches(world: World, response: Response) -> pd.DataFrame:
    """One row per contact, with the columns of ``campaign_touches`` and of its truth.

    ``touched_at`` and ``converted_at`` are UTC. Truth: ``day`` (0 = Monday), ``daypart``, ``propensity`` (the probability with
    which this action was chosen) and ``probability`` (of converting).
    """
    shop, people, simulation = world.shop, world.population, world.simulation
    rng = generator(simulation.seed, 3)
    counts = rng.poisson(simulation.touches_per_customer, simulation.customers)
    customer = np.repeat(np.arange(simulation.customers), np.where(people.consents.any(axis=1), counts, 0))
    n = len(customer)
    allowed = people.consents[customer]
    channel = np.argmax(np.where(allowed, rng.random(allowed.shape), -1.0), axis=1)
    days_before = rng.integers(OUTCOME_DAYS + 1, simulation.touch_days, n)
    daypart = rng.integers(0, len(shop.dayparts), n)
    spans = np.array([(span.start, span.end) for span in shop.dayparts.values()]) * 3600
    second = spans[daypart, 0] + (rng.random(n) * (spans[daypart, 1] - spans[daypart, 0])).astype(np.int64)
    midnight = np.datetime64(world.first_live_day, "s") - days_before.astype("timedelta64[D]")
    local = pd.DatetimeIndex(midnight + second.astype("timedelta64[s]"))
    touched_at = local.tz_localize(shop.zone, ambiguous=np.ones(n, dtype=bool), nonexistent=timedelta(hours=1)).tz_convert(
        "UTC"
    )
    day = local.dayofweek.to_numpy().astype(np.int64)
    probability = response.of(customer, channel, day, daypart)
    is_converted = rng.random(n) < probability
    delay = pd.to_timedelta(np.minimum(rng.exponential(20, n), OUTCOME_DAYS * 24 - 1) * 3600 // 1, unit="s")
    frame = pd.DataFrame(
        {
            "campaign_id": np.array(CAMPAIGN_IDS)[world.calendar.running(-days_before)],
            "customer_id": np.array(people.customer_ids)[customer],
            "touched_at": touched_at,
            "is_time_known": "true",
            "channel": np.array(shop.channels)[channel],
            "is_converted": is_converted,
            "converted_at": pd.Series(touched_at + delay).where(is_converted),
            "day": day,
            "daypart": np.array(list(shop.dayparts))[daypart],
            "propensity": 1 / (allowed.sum(axis=1) * len(shop.dayparts) * 7),
            "probability": probability,
        }
    )
    frame = frame.sort_values(["touched_at", "customer_id"], kind="stable", ignore_index=True)
    frame.insert(0, "touch_id", [f"t{number:07}" for number in range(1, n + 1)])
    return frame
