"""Click-through in a closed loop with simulated customers: random offers, the published logic, and ours; ten seeds.

Every policy meets the same visits, customers and click model (docs/offers.md), whose draws depend on visit and offer alone, and
knows the same: what customers looked at until the day before. Before the first day the shop showed random offers for 60 days.
``ours`` serves the priority list among the offers that a customer may see, with the exploration share of shop.yaml, until
Thompson sampling beats it off-policy on the decisions so far, as ``ml.effects.offer_policies`` judges it for a shop. It is
judged anew each week.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.measuring import progress, write_result
from customer360.offers.customer import Customer
from customer360.offers.decisions import Policy, PriorityList, candidates_of, decide, draw_key, published_choice
from customer360.offers.offers import Book, offer_of, open_book
from customer360.offers.thompson import Group, Shown, ThompsonSampling, group_of, sample
from customer360.settings import REPOSITORY, OfferRules, load_shop
from customer360.simulation import Simulation
from customer360.simulation.arrays import DAY, Floats, Ints, categorical, microseconds, uniform
from customer360.simulation.catalogue import CATEGORIES, OFFER_IDS, PRODUCT_CATEGORY, PRODUCT_IDS, pick_products
from customer360.simulation.offer_clicks import REMEMBERED, click_chance
from customer360.simulation.synthetic_shop import SyntheticShop
from ml.effects.off_policy import Verdict
from ml.effects.offer_policies import judge, serves

SEEDS, CUSTOMERS = range(1, 11), 6_000
HISTORY_DAYS, LIVE_DAYS, JUDGED_EVERY = 60, 28, 7
RULES = OfferRules()  # those of the published logic, whatever the shop has
VISITS_A_DAY, VIEWS, FOLLOWS_INTEREST = 0.3, 3, 0.8
POSITION_SHARES = np.array([0.7, 0.2, 0.1])
POLICIES = ("random", "reference", "ours")
Counts = defaultdict[tuple[Group, str], list[float]]  # group and offer -> shown, clicked
KEY = draw_key("benchmark")


@dataclass(frozen=True)
class Visits:
    """The visits of a day, the same for every policy; ``draw`` and ``position`` are of the offer that is shown."""

    customer: Ints
    at: Ints
    affinity: Floats
    products: Ints  # visits x views
    position: Ints
    draw: Floats


@dataclass
class Logged:
    """A decision, what was known when it was taken, and its outcome."""

    book: Book
    customer: Customer
    offer_id: str
    propensities: Mapping[str, float]  # of what could have been shown
    clicked: float

    @cached_property
    def row(self) -> dict[str, Any] | None:
        """The decision as policies are judged by it; None where an offer of now could not be shown then."""
        candidates, choice = candidates_of(self.book, self.customer)
        names = tuple(offer.offer_id for offer in candidates)
        if not self.propensities.keys() >= set(names):
            return None
        segment, category = group_of(self.customer)
        return {
            "customer": self.customer.customer_id,
            "segment": segment,
            "category_id": category,
            "candidates": names,
            "list_offer_id": found(choice).offer.offer_id,
            "propensities": tuple(self.propensities[name] for name in names),
            "offer_id": self.offer_id,
            "propensity": self.propensities[self.offer_id],
            "reward": self.clicked,
        }


@dataclass
class SimulatedShop:
    """One simulated shop and what is known of its customers."""

    seed: int
    views: Ints = field(init=False)  # customers x products

    def __post_init__(self) -> None:
        """Build the shop."""
        self.shop = load_shop(REPOSITORY / "shops" / "synthetic" / "shop.yaml")
        self.synthetic = SyntheticShop.build(Simulation(customers=CUSTOMERS, seed=self.seed), self.shop)
        self.views = np.zeros((CUSTOMERS, len(PRODUCT_IDS)), dtype=np.int64)
        self.yesterday = np.zeros(CUSTOMERS, dtype=np.int64)
        table = self.synthetic.catalogue.offers().astype(object)
        rows = table.where(table.notna(), None).to_dict("records")
        names = ("product_ids", "is_default", "most_shown_24h", "most_shown_30d", "stock", "campaign_id")
        categories = [CATEGORIES[category] for category in PRODUCT_CATEGORY]
        self.vectors = {product: {category: 1.0} for product, category in zip(PRODUCT_IDS, categories, strict=True)}
        by_category = {name: [product for product, vector in self.vectors.items() if name in vector] for name in CATEGORIES}
        self.offers = [offer_of(dict.fromkeys(names) | row, by_category) for row in rows]
        self.distances = self.synthetic.population.attributes["distance_to_store"].to_numpy(np.float64)

    def book(self, day: int) -> Book:
        """The offers of a day."""
        return open_book(self.synthetic.day(day), RULES, self.offers, self.vectors)

    def visits(self, day: int) -> Visits:
        """Who comes on a day, after what, and what they look at."""
        random = np.random.default_rng([self.seed, 77, day + 1_000])
        counts = random.poisson(VISITS_A_DAY * self.synthetic.population.activity)
        customer = random.permutation(np.repeat(np.arange(CUSTOMERS), counts))
        start = microseconds(self.shop.slices_start) + day * DAY
        at = np.sort(start + (random.random(len(customer)) * DAY).astype(np.int64))
        affinity, _ = self.synthetic.interest.affinity(customer, at)
        follows = random.random((len(customer), VIEWS)) < FOLLOWS_INTEREST
        preferred = np.stack([categorical(affinity, random.random(len(customer))) for _ in range(VIEWS)], axis=1)
        category = np.where(follows, preferred, random.integers(0, len(CATEGORIES), preferred.shape))
        products = pick_products(category.ravel(), random.random(category.size)).reshape(category.shape)
        position = categorical(np.tile(POSITION_SHARES, (len(customer), 1)), random.random(len(customer)))
        return Visits(customer, at, affinity, products, position, random.random(len(customer)))

    def know(self, visits: Visits) -> None:
        """Take note of a day's views."""
        day = np.zeros_like(self.views)
        np.add.at(day, (np.repeat(visits.customer, VIEWS), visits.products.ravel()), 1)
        self.views += day
        self.yesterday = day.sum(axis=1)

    def customers(self, visits: Visits) -> dict[int, Customer]:
        """What is known this morning of each customer who comes today."""
        one_hot = np.eye(len(CATEGORIES))[PRODUCT_CATEGORY]
        in_category = self.views @ one_hot
        tastes = (in_category + 1) / (in_category.sum(axis=1, keepdims=True) + len(CATEGORIES))
        share = self.views / np.maximum(in_category[:, PRODUCT_CATEGORY], 1)
        chance = tastes[:, PRODUCT_CATEGORY] * share
        best = np.argsort(-chance, axis=1, kind="stable")[:, : RULES.top_products]
        order = np.lexsort((np.arange(CUSTOMERS), -self.yesterday))
        rank = np.empty(CUSTOMERS, dtype=np.int64)
        rank[order] = np.arange(1, CUSTOMERS + 1)
        ids = self.synthetic.population.customer_ids
        return {
            place: Customer(
                customer_id=ids[place],
                activity_rank=int(rank[place]) if self.yesterday[place] else None,
                products=tuple((PRODUCT_IDS[p], float(chance[place, p])) for p in best[place] if chance[place, p] > 0),
                tastes=dict(zip(CATEGORIES, tastes[place].tolist(), strict=True)),
                attributes={"distance_to_store": float(self.distances[place])},
            )
            for place in np.unique(visits.customer).tolist()
        }


class Shop:
    """A policy in the loop: what it showed, and what became of it."""

    def __init__(self, name: str, simulated: SimulatedShop, history: Sequence[Logged]) -> None:
        self.name, self.simulated, self.log = name, simulated, list(history)
        self.counts = Counts(list)
        self._count(self.log)
        self.past: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.policy: Policy = PriorityList()
        self.serves = False
        self.shown = self.clicked = 0

    def live(self, day: int, visits: Visits, customers: Mapping[int, Customer], book: Book) -> None:
        """Show an offer on each visit of a day."""
        if self.name == "ours":
            self._learn(day)
        shown: list[tuple[str, Mapping[str, float]]] = []
        before = []
        for number, (place, at) in enumerate(zip(visits.customer, visits.at, strict=True)):
            customer = customers[place]
            shown.append(self._chosen(book, customer, int(at), number))
            times = self.past[customer.customer_id, shown[-1][0]]
            while times and times[0] < at - REMEMBERED / timedelta(microseconds=1):
                times.pop(0)
            before.append(len(times))
            times.append(int(at))
        clicked = clicks(visits, [offer for offer, _ in shown], np.array(before), visits.position)
        self.shown += len(shown)
        self.clicked += int(clicked.sum())
        added = [
            Logged(book, customers[place], *decision, float(click))
            for place, decision, click in zip(visits.customer, shown, clicked, strict=True)
        ]
        self.log += added
        self._count(added)

    def _count(self, entries: Iterable[Logged]) -> None:
        for entry in entries:
            total = self.counts[group_of(entry.customer), entry.offer_id] or [0.0, 0.0]
            total[0] += 1
            total[1] += entry.clicked
            self.counts[group_of(entry.customer), entry.offer_id] = total

    def _chosen(self, book: Book, customer: Customer, at: int, number: int) -> tuple[str, Mapping[str, float]]:
        """The offer, and the probability of each that could have been shown."""
        if self.name == "random":
            place = int(uniform(self.simulated.seed, 91, np.array([at + number]))[0] * len(book.available))
            return book.available[place].offer_id, equal(book)
        if self.name == "reference":
            offer_id = found(published_choice(book, customer)).offer.offer_id
            return offer_id, {offer_id: 1.0}
        decision = found(decide(book, customer, self.policy, KEY, datetime.fromtimestamp(at / 1e6, UTC)))
        return decision.offer_id, dict(zip(decision.candidates, decision.propensities, strict=True))

    def _learn(self, day: int) -> None:
        """Judge Thompson sampling once a week, and refit it each day once it serves."""
        if day % JUDGED_EVERY == 0:
            self.serves = serves(self.serves, judged(self.log, self.simulated.seed))
        self.policy = fitted(self.counts, self.simulated.seed) if self.serves else PriorityList()


def found(value: Any) -> Any:
    """The value, which is there: the shop has a default offer, and nobody is held out here."""
    if value is None:
        raise RuntimeError("no offer was found for a customer, though the shop has a default")
    return value


def equal(book: Book) -> Mapping[str, float]:
    """The same probability for all offers of a day."""
    return {offer.offer_id: 1 / len(book.available) for offer in book.available}


def clicks(visits: Visits, offers: Sequence[str], before: Ints | int, position: Ints | int) -> Floats:
    """1 for each showing that is clicked; a visit's draw is the same whatever is shown."""
    places = np.array([OFFER_IDS.index(offer) for offer in offers], dtype=np.int64)
    return (visits.draw < click_chance(places, visits.affinity, before, position)).astype(np.float64)


def fitted(counts: Counts, seed: int) -> ThompsonSampling:
    """The policy of these counts."""
    return sample((Shown(group, offer, *total) for (group, offer), total in counts.items()), seed)


def judged(log: Sequence[Logged], seed: int) -> Verdict:
    """Thompson sampling beside the priority list, as the shop judges it by what it logged."""
    return judge(pd.DataFrame(filter(None, (entry.row for entry in log))), seed).verdict


def history_of(simulated: SimulatedShop) -> Iterator[Logged]:
    """Random offers in the banner."""
    for day in range(-HISTORY_DAYS, 0):
        book, visits = simulated.book(day), simulated.visits(day)
        customers = simulated.customers(visits)
        random = np.random.default_rng([simulated.seed, 78, day + 1_000])
        chances = equal(book)
        offers = [book.available[place].offer_id for place in random.integers(0, len(book.available), len(visits.customer))]
        for place, offer, clicked in zip(visits.customer, offers, clicks(visits, offers, 0, 0), strict=True):
            yield Logged(book, customers[place], offer, chances, float(clicked))
        simulated.know(visits)


def run(seed: int) -> dict[str, float]:
    """Click-through of each policy in one simulated, and what served ours."""
    simulated = SimulatedShop(seed)
    history = list(history_of(simulated))
    shops = [Shop(name, simulated, history) for name in POLICIES]
    served: Counter[str] = Counter()
    for day in range(LIVE_DAYS):
        book, visits = simulated.book(day), simulated.visits(day)
        customers = simulated.customers(visits)
        for shop in shops:
            shop.live(day, visits, customers, book)
        served[shops[-1].policy.name] += 1
        simulated.know(visits)
    return {f"ctr_{shop.name}": shop.clicked / shop.shown for shop in shops} | {"thompson_days": float(served["thompson"])}


def interval(values: Floats) -> tuple[float, float, float]:
    """Mean over the seeds and its 95% interval by Student's t."""
    mean, error = float(values.mean()), float(stats.sem(values))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return mean, mean - half, mean + half


def main() -> None:
    """All seeds, or those that are named as arguments."""
    seeds = [int(text) for text in sys.argv[1:]] or list(SEEDS)
    runs = []
    for seed in seeds:
        runs.append(run(seed))
        progress(f"seed {seed}: { ({name: round(value, 5) for name, value in runs[-1].items()}) }")
    columns = {name: np.array([found[name] for found in runs]) for name in runs[0]}
    figures: dict[str, float] = {"seeds": len(seeds), "thompson_days": float(columns["thompson_days"].mean())}
    for name in POLICIES:
        mean, low, high = interval(columns[f"ctr_{name}"])
        figures |= {f"ctr_{name}": mean, f"ctr_{name}_low": low, f"ctr_{name}_high": high}
    for name in ("random", "reference"):
        mean, low, high = interval(columns["ctr_ours"] / columns[f"ctr_{name}"] - 1)
        figures |= {f"gain_over_{name}": mean, f"gain_over_{name}_low": low, f"gain_over_{name}_high": high}
    write_result("offers", figures)


if __name__ == "__main__":
    main()
