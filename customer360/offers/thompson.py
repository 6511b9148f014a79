"""Thompson sampling of offers per segment and most liked category, by clicks of offers shown.

Thompson, On the Likelihood that One Unknown Probability Exceeds Another, 1933; Chapelle and Li, An Empirical Evaluation of
Thompson Sampling, NIPS 2011. The click rate of an offer in a group of customers has a Beta posterior; its prior is the offer's
rate in the category, whose own is the offer's, whose own is that of all offers, each with the weight of ``STRENGTH`` showings.
So a group that is hardly known acts like those around it.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from customer360.offers.customer import Customer
from customer360.offers.decisions import Choice
from customer360.offers.offers import Offer

NAME = "thompson"
STRENGTH = 100.0  # showings that a prior counts for
SAMPLES = 512  # of the posterior: probabilities are multiples of one in so many
REMEMBERED = 20_000  # distributions that are kept: one for each group and set of candidates
Group = tuple[str, str]  # segment, most liked category


@dataclass(frozen=True)
class Shown:
    """How often an offer was shown to customers of a group, and clicked."""

    group: Group
    offer_id: str
    shown: float
    clicked: float


def group_of(customer: Customer) -> Group:
    """The customer's group, of equal tastes by the first in the alphabet; "" where segment or tastes are not known."""
    liked, most = "", -math.inf
    for category, weight in customer.tastes.items():  # a fifth of the time that max() of the sorted ones takes
        if weight > most or (weight == most and category < liked):
            liked, most = category, weight
    return customer.segment or "", liked


@dataclass(frozen=True)
class ThompsonSampling:
    """Each candidate with the probability that its click rate is the highest of them, by ``SAMPLES`` draws of the posterior.

    ``sample`` makes it. ``rates``: group -> offer_id -> drawn rates; ``others``: of an offer in a group that has not seen it.
    """

    version: str
    rates: Mapping[Group, Mapping[str, npt.NDArray[np.float64]]]
    others: Mapping[str, npt.NDArray[np.float64]]
    unknown: npt.NDArray[np.float64]
    name: str = NAME
    kept: dict[tuple[Group, tuple[str, ...]], list[float]] = field(default_factory=dict, compare=False, repr=False)
    means: dict[tuple[Group, str], float] = field(default_factory=dict, compare=False, repr=False)

    def probabilities(self, candidates: Sequence[Offer], choice: Choice, customer: Customer) -> Sequence[float]:
        """By group, whatever the list would choose."""
        return self.shares(group_of(customer), tuple(offer.offer_id for offer in candidates))

    def shares(self, group: Group, offers: tuple[str, ...]) -> list[float]:
        """The probability of each of these offers in a group."""
        found = self.kept.get((group, offers))
        if found is None:
            if len(self.kept) >= REMEMBERED:
                self.kept.clear()
            best = np.stack([self._rates(group, offer) for offer in offers]).argmax(axis=0)
            found = self.kept[group, offers] = (np.bincount(best, minlength=len(offers)) / SAMPLES).tolist()
        return found

    def reason(self, offer: Offer, choice: Choice, customer: Customer) -> str:
        """With the group and the mean of the posterior."""
        segment, category = group_of(customer)
        rate = self.mean_rate((segment, category), offer.offer_id)
        parts = [f"the segment {segment}" if segment else "", f"those after {category}" if category else ""]
        people = " and ".join(filter(None, parts))
        return f"clicked by {rate:.1%} of {people or 'all customers'}, as likely as any to be the best"

    def mean_rate(self, group: Group, offer: str) -> float:
        """The mean of the posterior of an offer's click rate in a group."""
        found = self.means.get((group, offer))
        if found is None:
            found = self.means[group, offer] = float(self._rates(group, offer).mean())
        return found

    def _rates(self, group: Group, offer: str) -> npt.NDArray[np.float64]:
        known = self.rates.get(group, {}).get(offer, self.others.get(offer))
        # Offers that were never shown have one posterior, each with its draws in another order.
        return np.roll(self.unknown, crc32(offer.encode())) if known is None else known


def sample(counts: Iterable[Shown], seed: int) -> ThompsonSampling:
    """The policy of these counts; equal counts and seed give the same draws, whatever their order."""
    ordered = sorted(((count.group, count.offer_id, count.shown, count.clicked) for count in counts), key=repr)
    version = hashlib.sha256(f"{ordered} {seed} {STRENGTH} {SAMPLES}".encode()).hexdigest()[:12]
    random = np.random.default_rng([seed, int(version, 16)])
    by_offer, by_category = (
        _totals((offer, s, c) for _, offer, s, c in ordered),
        _totals(((group[1], offer), s, c) for group, offer, s, c in ordered),
    )
    everywhere = (sum(c for _, _, _, c in ordered) + 1) / (sum(s for _, _, s, _ in ordered) + STRENGTH)

    def mean(prior: float, total: tuple[float, float]) -> float:
        return (STRENGTH * prior + total[1]) / (STRENGTH + total[0])

    def drawn(prior: float, total: tuple[float, float]) -> npt.NDArray[np.float64]:
        return random.beta(STRENGTH * prior + total[1], STRENGTH * (1 - prior) + total[0] - total[1], SAMPLES)

    rates: dict[Group, dict[str, npt.NDArray[np.float64]]] = defaultdict(dict)
    for (group, offer), total in _totals(((group, offer), s, c) for group, offer, s, c in ordered).items():
        prior = mean(mean(everywhere, by_offer[offer]), by_category[group[1], offer])
        rates[group][offer] = drawn(prior, total)
    others = {offer: drawn(everywhere, total) for offer, total in by_offer.items()}
    return ThompsonSampling(version, rates, others, drawn(everywhere, (0.0, 0.0)))


def _totals(rows: Iterable[tuple[Any, float, float]]) -> dict[Any, tuple[float, float]]:
    totals: dict[Any, tuple[float, float]] = {}
    for key, shown, clicked in rows:
        before = totals.get(key, (0.0, 0.0))
        totals[key] = before[0] + shown, before[1] + clicked
    return totals
