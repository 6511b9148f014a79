"""One offer for a customer: the published logic, and around it plans, holdouts, limits, exploration and a policy.

``published_choice`` is the logic of Microsoft's Personalized Offers as it was published (with the day of the shop's time zone).
``decide`` takes it, or another policy, among the offers that the customer may see. Both read memory alone.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple, Protocol

import msgspec

from customer360.offers.customer import Customer, Listed
from customer360.offers.offers import Book, Offer, Pool

HOUR = 3600  # seconds: how long a customer's draw stays the same
PRIORITY_LIST = "priority_list"
HELD_OUT = "held out of every campaign, to compare with: the default"


class Choice(NamedTuple):
    """An offer and why, in words. ``affinity``: of the customer to its products, where that decided."""

    offer: Offer
    reason: str
    affinity: float | None = None


class Decision(msgspec.Struct, frozen=True):
    """What a customer sees, and all that is needed to judge it later.

    ``candidates``: ids of the offers that could have been drawn, and ``propensities``, the probability of each given the
    customer and the policy, exploration included. ``propensity``: that of this offer; 1 where nothing was drawn. ``basis``:
    `holdout`, `plan`, `exploration` (drawn among all candidates) or the policy's name. ``affinity``: to the offer's products,
    where that decided. ``list_offer_id``: the priority list's choice among the candidates, None where nothing was drawn.
    """

    customer_id: str
    offer_id: str
    reason: str
    basis: str
    policy_version: str
    propensity: float
    candidates: tuple[str, ...]
    propensities: tuple[float, ...]
    affinity: float | None = None
    list_offer_id: str | None = None


class Policy(Protocol):
    """A distribution over the candidates. ``version`` changes with anything that changes it."""

    @property
    def name(self) -> str:
        """Of its kind, such as `priority_list`."""

    @property
    def version(self) -> str:
        """Of its content."""

    def probabilities(self, candidates: Sequence[Offer], choice: Choice, customer: Customer) -> Sequence[float]:
        """One for each candidate, sum 1. ``choice``: that of the priority list among the candidates."""

    def reason(self, offer: Offer, choice: Choice, customer: Customer) -> str:
        """Why it showed the offer."""


@dataclass(frozen=True, slots=True)
class PriorityList:
    """The published logic among the candidates: one offer, for sure."""

    name: str = PRIORITY_LIST
    version: str = "1"

    def probabilities(self, candidates: Sequence[Offer], choice: Choice, customer: Customer) -> Sequence[float]:
        """1 for the list's choice."""
        return [1.0 if offer is choice.offer else 0.0 for offer in candidates]

    def reason(self, offer: Offer, choice: Choice, customer: Customer) -> str:
        """The list's own."""
        return choice.reason


def affinities(book: Book, customer: Customer) -> dict[str, tuple[float, list[str]]]:
    """offer_id -> affinity, and the products that it rests on, of each offer with a product among the customer's top N.

    The affinity is the mean, over the offer's products among the top N, of the cosine of the customer's and the product's
    category vectors times the product's probability. An offer without such a product is left out. A vector of zeros has the
    cosine 0 to any other.
    """
    tastes, by_product, vectors = customer.tastes, book.by_product, book.products
    length = math.hypot(*tastes.values()) or math.inf
    totals: dict[str, float] = {}
    products: dict[str, list[str]] = {}
    for product, probability in customer.products[: book.rules.top_products]:
        offers = by_product.get(product)
        if offers is None:
            continue
        dot = 0.0
        for name, weight in vectors.get(product, {}).items():
            dot += weight * tastes.get(name, 0.0)
        part = probability * (dot / length)
        for offer in offers:
            name = offer.offer_id
            if name in totals:
                totals[name] += part
                products[name].append(product)
            else:
                totals[name], products[name] = part, [product]
    return {name: (total / len(products[name]), products[name]) for name, total in totals.items()}


def published_choice(book: Book, customer: Customer, among: Pool | None = None) -> Choice | None:
    """The published logic among all offers, or only among those of a pool; None where there is no offer.

    The offer with the highest affinity (of equal ones the first of the list), if that exceeds the threshold and the day lies
    inside the offer's dates. Else the first general offer of the list whose dates include the day and whose condition holds.
    Else the default, whatever its dates.
    """
    if book.default is None:
        return None
    rules, day = book.rules, book.day
    found = affinities(book, customer)
    if found and (ranked := _ranked(found, book.by_id if among is None else among.by_id)):
        best, (affinity, products) = ranked
        if affinity > rules.threshold and best.runs_on(day):
            named = ", ".join([book.names.get(product, product) for product in products])
            likely = f"of the {rules.top_products} most likely products: {named}"
            return Choice(best, f"affinity {affinity:.2f}, over {rules.threshold:g}, to those {likely}", affinity)
    if among is None:
        running = (offer for offer in book.listed if offer is not book.default and offer.condition.is_general)
        first = next((offer for offer in running if offer.runs_on(day) and offer.condition.holds(customer, day)), None)
    else:
        first = among.first
    if first is not None:
        return Choice(first, f"first of the priority list that applies: {first.condition.words(customer)}")
    return Choice(book.default, "the default: nothing else applies")


def decide(book: Book, customer: Customer, policy: Policy, key: bytes, at: datetime) -> Decision | None:
    """The offer for a customer at a moment (aware); None where there is none that the customer may see.

    A globally held out customer gets the default. A customer with a planned contact gets the campaign's offer. Everybody else
    gets what ``policy`` draws among the candidates, or, for the exploration share, any of them. Candidates run and are in
    stock, leave room in the customer's limits, are not withheld by a campaign's holdout, and their condition holds. Where none
    of them applies, the default is shown whatever its dates, stock and limits, unless it is withheld.

    The draw is a hash by ``key`` (``draw_key``) of the customer, the hour and the policy's version, so that a replay, and the
    batch and a service within an hour, draw the same.
    """
    version = version_of(policy, book)
    certain = _certain(book, customer, version)
    if certain is not None:
        return certain
    candidates, choice = candidates_of(book, customer)
    if choice is None:
        return None
    odds = _odds(book, candidates, policy.probabilities(candidates, choice, customer))
    place, explores = _place(odds.sums, book.rules.exploration_share, uniform(key, customer.customer_id, at, version))
    offer = candidates[place]
    return Decision(
        customer.customer_id,
        offer.offer_id,
        f"drawn among {len(candidates)} offers, to learn" if explores else policy.reason(offer, choice, customer),
        "exploration" if explores else policy.name,
        version,
        odds.propensities[place],
        odds.candidates,
        odds.propensities,
        choice.affinity if offer is choice.offer and not explores else None,
        choice.offer.offer_id,
    )


def version_of(policy: Policy, book: Book) -> str:
    """The version of a policy over the offers, products and rules of a book."""
    return f"{policy.name}-{policy.version}.{book.version}"


def candidates_of(book: Book, customer: Customer) -> tuple[tuple[Offer, ...], Choice | None]:
    """What the customer may see, in the order of the list, and the list's choice among it; None where there is nothing."""
    listed, default = customer.listed, book.default
    pool = book.pool(book.eligible(customer) if listed is None else listed.eligible)
    candidates = pool.offers
    if listed is None:
        choice = published_choice(book, customer, pool)
    else:
        choice = Choice(book.by_id[listed.offer_id][1], listed.reason, listed.affinity)
    if choice is None or default is None or choice.offer is not default or default.offer_id in pool.by_id:
        return candidates, choice
    # The choice is the default, which does not run, is used up, or is withheld.
    if default.offer_id not in customer.withheld:
        return (*candidates, default), choice
    if not candidates:
        return (), None
    return candidates, Choice(candidates[0], "first of the list that may be shown: a campaign's holdout keeps off the default")


def with_listed(book: Book, customer: Customer) -> Customer:
    """The customer with what the list chooses, so that a decision by a book of this ``basis`` need not look for it."""
    _, choice = candidates_of(book, customer) if not customer.is_held_out else ((), None)
    if choice is None:
        return customer
    listed = Listed(book.eligible(customer), choice.offer.offer_id, choice.reason, choice.affinity)
    return msgspec.structs.replace(customer, listed=listed)


def draw_key(salt: str) -> bytes:
    """The key of the draws: the hash of a secret of the shop."""
    return hashlib.sha256(salt.encode()).digest()


def uniform(key: bytes, customer_id: str, at: datetime, version: str) -> float:
    """A number in [0, 1) that depends on the key, the customer, the hour and the policy alone."""
    drawn = _begun(key, version, int(at.timestamp()) // HOUR).copy()
    drawn.update(customer_id.encode())
    return (int.from_bytes(drawn.digest(), "big") >> 11) / 2**53


@lru_cache(maxsize=8)
def _begun(key: bytes, version: str, hour: int) -> hashlib.blake2b:
    """The hash that has read all but the customer: copying it takes less than half the time of making it."""
    return hashlib.blake2b(f"{version}:{hour}:".encode(), key=key, digest_size=8)


def _certain(book: Book, customer: Customer, version: str) -> Decision | None:
    """The decision about a customer who is held out or is to be contacted by a campaign: nothing is drawn."""
    if customer.is_held_out:
        offer, reason, basis = book.default, HELD_OUT, "holdout"
    elif customer.planned is not None:
        planned = customer.planned
        offer = next((o for o in book.available if o.offer_id == planned.offer_id and o.may_be_shown_to(customer)), None)
        reason, basis = f"the campaign {planned.campaign_id} contacts this customer on {planned.contact_date}", "plan"
    else:
        return None
    if offer is None:
        return None
    return Decision(customer.customer_id, offer.offer_id, reason, basis, version, 1.0, (offer.offer_id,), (1.0,))


class _Odds(NamedTuple):
    """``candidates`` and ``propensities`` of a decision, and the sums of the policy's probabilities up to each candidate."""

    candidates: tuple[str, ...]
    propensities: tuple[float, ...]
    sums: tuple[float, ...]


def _odds(book: Book, candidates: tuple[Offer, ...], probabilities: Sequence[float]) -> _Odds:
    """The odds of a draw: most customers share theirs with others."""
    key = (candidates, *probabilities)
    found: _Odds | None = book.kept.get(key)
    if found is None:
        share = book.rules.exploration_share
        found = _Odds(
            tuple(candidate.offer_id for candidate in candidates),
            tuple(share / len(candidates) + (1 - share) * probability for probability in probabilities),
            tuple(accumulate(probabilities)),
        )
        book.keep(key, found)
    return found


def _place(sums: Sequence[float], share: float, number: float) -> tuple[int, bool]:
    """Which candidate ``number`` in [0, 1) draws, and whether it explores: below ``share`` all are equally likely."""
    if number < share:
        return int(number / share * len(sums)), True
    return bisect_right(sums, min((number - share) / (1 - share), math.nextafter(sums[-1], 0))), False


def _ranked(
    found: dict[str, tuple[float, list[str]]], offers: Mapping[str, tuple[int, Offer]]
) -> tuple[Offer, tuple[float, list[str]]] | None:
    """The offer of the highest affinity among ``offers`` (by id, with its place in the list), and what was found of it."""
    best: tuple[float, int, str] | None = None
    for name, (affinity, _) in found.items():
        if name in offers and (best is None or (affinity, -offers[name][0]) > best[:2]):
            best = affinity, -offers[name][0], name
    return None if best is None else (offers[best[2]][1], found[best[2]])
