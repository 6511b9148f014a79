"""The true response: the probability that a contact adds an order, by customer, channel, day of the week and daypart.

The class-conditional tables are those of Microsoft's published Campaign Optimization generator: given the outcome, the day
depends on income, the daypart and the channel on age. Bayes' rule turns them into a probability given the action. In that
generator the action was drawn after the outcome, so that it has no causal effect; here the action is drawn at random first.

Customers also order without a contact (``organic``). A contacted customer converts when either happens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from customer360.settings import Shop
from customer360.simulation.arrays import Floats, Ints
from customer360.simulation.organic import order_chance
from customer360.simulation.parameters import Simulation, require_known
from customer360.simulation.population import Population

# Shares of the days, Monday first, among those who did not convert and those who did.
# A row each for income under 60k, 60k to 120k, above.
DAY_SHARES_UNCONVERTED = np.array(
    [
        [0.03, 0.02, 0.03, 0.05, 0.30, 0.29, 0.29],
        [0.10, 0.16, 0.10, 0.10, 0.10, 0.17, 0.27],
        [0.50, 0.15, 0.20, 0.10, 0.03, 0.01, 0.01],
    ]
)
# As published the first row sums to 1.01; it is drawn as shares of its sum.
DAY_SHARES_UNCONVERTED /= DAY_SHARES_UNCONVERTED.sum(axis=1, keepdims=True)
DAY_SHARES_CONVERTED = np.array(
    [
        [0.20, 0.30, 0.20, 0.14, 0.10, 0.03, 0.03],
        [0.05, 0.15, 0.30, 0.30, 0.10, 0.05, 0.05],
        [0.10, 0.10, 0.10, 0.12, 0.15, 0.21, 0.22],
    ]
)
# The same by daypart: a row each for young, middle and senior.
DAYPARTS = ("morning", "afternoon", "evening")
DAYPART_SHARES_UNCONVERTED = np.array([[0.50, 0.25, 0.25], [0.33, 0.33, 0.34], [0.20, 0.40, 0.40]])
DAYPART_SHARES_CONVERTED = np.array([[0.20, 0.25, 0.55], [0.33, 0.33, 0.34], [0.62, 0.20, 0.18]])
# The same by channel.
CHANNELS = ("email", "call", "sms")
CHANNEL_SHARES_UNCONVERTED = np.array([[0.15, 0.60, 0.25], [0.40, 0.20, 0.40], [0.25, 0.15, 0.60]])
CHANNEL_SHARES_CONVERTED = np.array([[0.30, 0.10, 0.60], [0.30, 0.55, 0.15], [0.33, 0.45, 0.22]])
MIDDLE_AGE, SENIOR_AGE = 35, 55
INCOME_LEVELS = np.array([60.0, 120.0])


@dataclass(frozen=True)
class Response:
    """What contacts add, and what customers order without them.

    ``probability``: that a contact adds an order, customers x the shop's channels x days (Monday first) x the shop's dayparts.
    ``without``: that a customer orders within the shop's ``attribution_days`` without any contact.
    """

    probability: Floats
    without: Floats

    def added_probability(self, customer: Ints, channel: Ints, day: Ints, daypart: Ints) -> Floats:
        """The probability that each contact adds an order."""
        return self.probability[customer, channel, day, daypart]

    def contacted(self, customer: Ints, channel: Ints, day: Ints, daypart: Ints) -> Floats:
        """The probability that each contacted customer orders, of their own accord or by the contact."""
        converting: Floats = 1 - (1 - self.without[customer]) * (1 - self.added_probability(customer, channel, day, daypart))
        return converting


def true_response(simulation: Simulation, shop: Shop, population: Population) -> Response:
    """The response of a population; the mean of ``probability`` over customers and random actions is ``base_conversion``.

    Raises ``SimulationError`` where shop.yaml has a channel or daypart without a table.
    """
    age = np.digitize(population.age, [MIDDLE_AGE, SENIOR_AGE])
    income = np.digitize(population.income, INCOME_LEVELS)
    kind, kinds = age * len(DAY_SHARES_CONVERTED) + income, np.arange(len(CHANNEL_SHARES_CONVERTED) * len(DAY_SHARES_CONVERTED))
    evidence = evidence_of_actions(shop, kinds // len(DAY_SHARES_CONVERTED), kinds % len(DAY_SHARES_CONVERTED))
    counts = np.bincount(kind, minlength=len(kinds))
    without = order_chance(simulation, shop, population, shop.campaigns.attribution_days)
    return Response(_calibrated(evidence, counts, simulation.base_conversion)[kind], without)


def evidence_of_actions(shop: Shop, age: Ints, income: Ints) -> Floats:
    """Log odds that channel, day and daypart add: people x the shop's channels x days (Monday first) x the shop's dayparts.

    ``age``: 0 young, 1 middle, 2 senior; ``income``: 0 under 60k, 1 to 120k, 2 above.
    Raises ``SimulationError`` where shop.yaml has a channel or daypart without a table.
    """
    require_known(shop, "channels", shop.channels, CHANNELS)
    require_known(shop, "dayparts", shop.dayparts, DAYPARTS)
    channels, dayparts = [CHANNELS.index(name) for name in shop.channels], [DAYPARTS.index(name) for name in shop.dayparts]
    evidence: Floats = (
        np.log(CHANNEL_SHARES_CONVERTED / CHANNEL_SHARES_UNCONVERTED)[age][:, channels][:, :, None, None]
        + np.log(DAY_SHARES_CONVERTED / DAY_SHARES_UNCONVERTED)[income][:, None, :, None]
        + np.log(DAYPART_SHARES_CONVERTED / DAYPART_SHARES_UNCONVERTED)[age][:, dayparts][:, None, None, :]
    )
    return evidence


def _calibrated(evidence: Floats, counts: Ints, mean: float) -> Floats:
    """Posterior probabilities of each kind of people, the prior log-odds set by bisection so that the mean is as asked."""
    low, high = -20.0, 20.0
    for _ in range(60):
        prior = (low + high) / 2
        found = 1 / (1 + np.exp(-(evidence + prior)))
        if np.average(found.reshape(len(counts), -1).mean(axis=1), weights=counts) < mean:
            low = prior
        else:
            high = prior
    probability: Floats = 1 / (1 + np.exp(-(evidence + prior)))
    return probability
