"""Who the customers are: attributes, the group behind them, what they like, how active they are, the devices they use.

After the generator of Microsoft's Customer 360 design: people of 25 to 60 with a good income browse and buy technology,
people of 25 to 55 with a good income cosmetics and apparel, everyone else is background. Here these are tendencies, not rules.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from customer360.settings import PERSONALISATION, Shop
from customer360.simulation.arrays import Bools, Floats, Ints, Keys, generator, mix
from customer360.simulation.parameters import Simulation, require_known

GROUPS = ("background", "technology", "style")
INCOME_EDGES = np.array([25, 50, 60, 120])  # thousands a year
INCOME_BANDS = np.array(["under_25k", "25k_50k", "50k_60k", "60k_120k", "over_120k"])
GOOD_INCOME = 50.0

# Dirichlet concentrations by group: photography, computers, fitness, apparel, beauty.
TASTES = np.array([[1.2, 1.2, 1.5, 1.4, 1.4], [5.0, 6.0, 1.4, 0.7, 0.5], [0.5, 0.6, 1.4, 5.0, 6.0]])
YOUNG_TASTE = np.array([0.0, 0.0, 2.0, 0.0, 0.0])
GROUP_ACTIVITY = np.array([0.75, 1.35, 1.35])
GROUP_BUYING = np.array([0.6, 1.2, 1.4])
CONSENT_SHARES = {"email": 0.85, "call": 0.45, "sms": 0.60}
MISSING_SHARES = {"income_band": 0.02, "months_at_residence": 0.03}
PLATFORMS = ("desktop", "mobile", "tablet", "app")
PLATFORM_SHARES = np.array([0.42, 0.32, 0.06, 0.20])
SECOND_DEVICE_SHARE = 0.4
SHARED_DEVICE_SHARE = 0.01


@dataclass(frozen=True)
class Population:
    """All customers as arrays, one element a customer."""

    customer_ids: list[str]
    age: Ints
    gender: Ints  # 0 = M, 1 = F
    income: Floats  # thousands a year
    group: Ints
    affinity: Floats  # customers x categories, rows sum to 1
    activity: Floats  # mean 1
    buying: Floats  # mean about 1
    consents: Bools  # customers x channels
    visitors: Keys  # customers x 2 devices
    platforms: Ints  # customers x 2 devices
    attributes: pd.DataFrame


def draw_population(simulation: Simulation, shop: Shop) -> Population:
    """Draw the customers of a simulation. Raises ``SimulationError`` where shop.yaml asks for something they do not have."""
    rng = generator(simulation.seed, 1)
    n = simulation.customers
    age = rng.integers(18, 80, n)
    gender = rng.integers(0, 2, n)
    income = rng.lognormal(np.log(58), 0.75, n)
    group = _groups(rng, age, gender, income)
    taste = TASTES[group] + np.where((age < 30)[:, None], YOUNG_TASTE, 0.0)
    shares = rng.gamma(taste) + 1e-6
    activity = rng.gamma(1.6, 1 / 1.6, n) * GROUP_ACTIVITY[group]
    buying = rng.lognormal(-0.125, 0.5, n) * GROUP_BUYING[group]
    visitors, platforms = _devices(rng, simulation)
    return Population(
        customer_ids=[f"c{number:06}" for number in range(1, n + 1)],
        age=age,
        gender=gender,
        income=income,
        group=group,
        affinity=shares / shares.sum(axis=1, keepdims=True),
        activity=activity / activity.mean(),
        buying=buying / buying.mean(),
        consents=_consents(rng, n, shop),
        visitors=visitors,
        platforms=platforms,
        attributes=_attributes(rng, shop, age, gender, income, distance=_distances(simulation)),
    )


def customers_table(population: Population, shop: Shop) -> pd.DataFrame:
    """The reference table ``customers``: ids, time zone, a consent per channel, the attributes that shop.yaml names."""
    frame = pd.DataFrame({"customer_id": population.customer_ids, "time_zone": shop.time_zone})
    for number, channel in enumerate(shop.channels):
        frame[f"consent_{channel}"] = np.where(population.consents[:, number], "true", "false")
    if shop.serving:  # four of five
        frame[f"consent_{PERSONALISATION}"] = np.where(np.arange(len(frame)) % 5, "true", "false")
    for name in shop.attributes:
        frame[name] = population.attributes[name]
    return frame


def _groups(rng: np.random.Generator, age: Ints, gender: Ints, income: Floats) -> Ints:
    technology = (age >= 25) & (age <= 60) & (income > GOOD_INCOME)
    style = (age >= 25) & (age <= 55) & (income > GOOD_INCOME)
    prefers_style = rng.random(len(age)) < np.where(gender == 1, 0.7, 0.3)
    stays_out = rng.random(len(age)) < 0.15
    group = np.where(style & prefers_style, 2, np.where(technology & ~(style & prefers_style), 1, 0))
    return np.where(stays_out, 0, group).astype(np.int64)


def _devices(rng: np.random.Generator, simulation: Simulation) -> tuple[Keys, Ints]:
    n = simulation.customers
    owners = np.arange(n)
    visitors = np.stack([mix(simulation.seed, 11, owners), mix(simulation.seed, 12, owners)], axis=1)
    platforms = rng.choice(len(PLATFORMS), size=(n, 2), p=PLATFORM_SHARES)
    one_device = rng.random(n) >= SECOND_DEVICE_SHARE
    visitors[one_device, 1] = visitors[one_device, 0]
    platforms[one_device, 1] = platforms[one_device, 0]
    sharers = rng.permutation(n)[: 2 * round(n * SHARED_DEVICE_SHARE / 2)].reshape(2, -1)
    visitors[sharers[1], 0] = visitors[sharers[0], 0]
    platforms[sharers.ravel(), 0] = 0  # the family's desktop
    return visitors, platforms.astype(np.int64)


def _consents(rng: np.random.Generator, n: int, shop: Shop) -> Bools:
    require_known(shop, "channels", shop.channels, CONSENT_SHARES)
    given = {channel: rng.random(n) < share for channel, share in CONSENT_SHARES.items()}
    return np.stack([given[channel] for channel in shop.channels], axis=1)


def _distances(simulation: Simulation) -> Floats:
    """Miles to the nearest store, by a generator of its own: most live near one, 18% over 100 miles away."""
    return np.round(generator(simulation.seed, 9).lognormal(np.log(25), 1.5, simulation.customers), 1).astype(np.float64)


def _attributes(
    rng: np.random.Generator, shop: Shop, age: Ints, gender: Ints, income: Floats, *, distance: Floats
) -> pd.DataFrame:
    n = len(age)
    household = rng.choice([1, 2, 3, 4], size=n, p=[0.33, 0.33, 0.17, 0.17])
    months = np.minimum(rng.gamma(1.5, 40, n), (age - 17) * 12).astype(np.int64)
    frame = pd.DataFrame(
        {
            "age": age,
            "gender": np.array(["M", "F"])[gender],
            "income_band": INCOME_BANDS[np.searchsorted(INCOME_EDGES, income, side="right")],
            "is_head_of_household": np.where(rng.random(n) < np.where(household == 1, 1.0, 0.5), "true", "false"),
            "household_size": household,
            "months_at_residence": pd.array(months, dtype="Int64"),
            "distance_to_store": distance,
        }
    )
    for name, share in MISSING_SHARES.items():
        frame.loc[rng.random(n) < share, name] = None
    require_known(shop, "attributes", shop.attributes, list(frame.columns))
    return frame
