"""Past campaign contacts: the action drawn at random within consent, then its outcome from the true response.

A share of them is a control group: chosen like the others, then not contacted. ``expected_conversion`` is what the tool that
made the contacts expected: the true probability with an error of its log odds, and drawn towards the middle.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit

from customer360.campaigns.attribution import TOUCH_COLUMNS, first_orders
from customer360.settings import Shop
from customer360.simulation.arrays import Floats, Ints, generator, utc_of
from customer360.simulation.campaigns import CAMPAIGN_IDS
from customer360.simulation.parameters import Simulation, SimulationError
from customer360.simulation.response import Response
from customer360.simulation.synthetic_shop import SyntheticShop

MEAN_DELAY_HOURS = 20
# Of the expectations of the tool that made the contacts: how far they follow the true log odds, and the error of these.
EXPECTATION_SLOPE, EXPECTATION_ERROR = 0.7, 0.5


def in_history(moments: pd.Series[pd.Timestamp], simulation: Simulation, shop: Shop) -> pd.Series[bool]:
    """Whether each moment (with its zone) lies within the days of the click history."""
    return moments >= pd.Timestamp(shop.slices_start) - timedelta(days=simulation.days)


def contact_delay(hours: Floats, shop: Shop) -> Ints:
    """Whole seconds from a contact to the order that it adds, within the shop's attribution window; ``hours`` are drawn."""
    return (np.minimum(hours, shop.campaigns.attribution_days * 24 - 1) * 3600).astype(np.int64)


def moments_in(shop: Shop, midnights: npt.NDArray[np.datetime64], daypart: Ints, draws: Floats) -> pd.DatetimeIndex:
    """Local moments of these days, each within its daypart (by its place in shop.yaml), in whole seconds."""
    spans = np.array([(span.start, span.end) for span in shop.dayparts.values()]) * 3600
    second = spans[daypart, 0] + (draws * (spans[daypart, 1] - spans[daypart, 0])).astype(np.int64)
    return pd.DatetimeIndex(midnights + second.astype("timedelta64[s]"))


def draw_touches(synthetic: SyntheticShop, response: Response, orders: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per contact and control, with the columns of ``campaign_touches`` and of its truth.

    ``orders`` (customer_id, ordered_at in plain UTC) are those of the click history, with the orders that contacts added: a
    touch within its days has converted where it has such an order, and before its days as often as its probability gives.

    ``touched_at`` and ``converted_at`` are UTC; of a control, when the contact would have been, and ``channel`` is empty.
    Truth: ``day`` (0 = Monday), ``daypart``, ``propensity`` (the probability with which this action was chosen, or none) and
    ``probability`` (of an order within the shop's ``attribution_days``). All outcomes are known when the live slices start;
    raises ``SimulationError`` where ``touch_days`` leave no room for that.
    """
    shop, people, simulation = synthetic.shop, synthetic.population, synthetic.simulation
    window = shop.campaigns.attribution_days
    if simulation.touch_days <= window + 1:
        raise SimulationError(
            f"touch_days is {simulation.touch_days}, but contacts lie {window + 1} days back and more "
            f"(campaigns.attribution_days of {shop.name!r} is {window}); raise touch_days"
        )
    rng = generator(simulation.seed, 3)
    counts = rng.poisson(simulation.touches_per_customer, simulation.customers)
    customer = np.repeat(np.arange(simulation.customers), np.where(people.consents.any(axis=1), counts, 0))
    n = len(customer)
    allowed = people.consents[customer]
    channel = np.argmax(np.where(allowed, rng.random(allowed.shape), -1.0), axis=1)
    days_before = rng.integers(window + 1, simulation.touch_days, n)
    daypart = rng.integers(0, len(shop.dayparts), n)
    midnight = np.datetime64(synthetic.first_live_day, "s") - days_before.astype("timedelta64[D]")
    local = moments_in(shop, midnight, daypart, rng.random(n))
    touched_at = utc_of(local, shop.zone)
    day = local.dayofweek.to_numpy().astype(np.int64)
    is_brought = rng.random(n) < response.added_probability(customer, channel, day, daypart)
    delay = contact_delay(rng.exponential(MEAN_DELAY_HOURS, n), shop)
    # A generator of its own: without control groups and organic orders the contacts would be the same.
    organic = generator(simulation.seed, 6)
    is_control = organic.random(n) < simulation.control_share
    is_brought &= ~is_control
    orders_organically = organic.random(n) < response.without[customer]
    organic_delay = organic.integers(0, window * 86_400, n)
    if orders is not None:
        moments = pd.Series(touched_at.tz_localize(None))
        found = first_orders(pd.Series(np.array(people.customer_ids)[customer]), moments, orders, timedelta(days=window))
        is_recorded = in_history(pd.Series(touched_at), simulation, shop).to_numpy()
        is_brought &= ~is_recorded
        orders_organically = np.where(is_recorded, found.notna(), orders_organically)
        seconds = (found - moments).dt.total_seconds().fillna(0).to_numpy()
        organic_delay = np.where(is_recorded, seconds.astype(np.int64), organic_delay)
    delay = np.where(
        orders_organically & is_brought, np.minimum(delay, organic_delay), np.where(orders_organically, organic_delay, delay)
    )
    is_converted = orders_organically | is_brought
    choices = allowed.sum(axis=1) * len(shop.dayparts) * 7
    to_come = response.contacted(customer, channel, day, daypart)
    errors = generator(simulation.seed, 7).normal(0, EXPECTATION_ERROR, n)
    frame = pd.DataFrame(
        {
            "campaign_id": np.array(CAMPAIGN_IDS)[synthetic.calendar.running(-days_before)],
            "customer_id": np.array(people.customer_ids)[customer],
            "touched_at": touched_at,
            "is_time_known": "true",
            "channel": pd.Series(np.array(shop.channels)[channel]).mask(is_control),
            "is_converted": is_converted,
            "converted_at": pd.Series(touched_at + pd.to_timedelta(delay, unit="s")).where(is_converted),
            "is_control": is_control,
            "is_randomised": ~is_control,
            "day": day,
            "daypart": np.array(list(shop.dayparts))[daypart],
            "propensity": np.where(is_control, simulation.control_share, (1 - simulation.control_share) / choices),
            "probability": np.where(is_control, response.without[customer], to_come),
            "expected_conversion": expit(
                EXPECTATION_SLOPE * logit(to_come) + (1 - EXPECTATION_SLOPE) * logit(to_come.mean()) + errors
            ),
        }
    )
    frame = frame.sort_values(["touched_at", "customer_id"], kind="stable", ignore_index=True)
    frame.insert(0, "touch_id", [f"t{number:07}" for number in range(1, n + 1)])
    return frame


def touch_history(touches: pd.DataFrame, shop: Shop) -> pd.DataFrame:
    """Touches (times UTC) as the mart ``campaign_touch_history`` publishes them: times plain UTC, and the shop's own clock."""
    local = touches["touched_at"].dt.tz_convert(shop.zone)
    plain = {
        name: touches[name].dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[us]")
        for name in ("touched_at", "converted_at")
    }
    clock = {
        "is_time_known": True,
        "local_date": local.dt.tz_localize(None).dt.normalize().astype("datetime64[us]"),
        "day_of_week": local.dt.dayofweek.astype("int64") + 1,
        "local_hour": local.dt.hour.astype("int64"),
    }
    return touches.assign(**plain, **clock)[list(TOUCH_COLUMNS)]
