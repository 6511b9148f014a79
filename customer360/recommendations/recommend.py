"""A list of products for who asks now: from the session's products, from what the customer likes, from how the visit began.

The sources are distributions over products, added up with weights that ``ml.recommendations.sessions`` learns: that of the
session's next product; ``product_affinity`` of the customer, whose share depends on the length of the session; and
``cold_start`` of the visit's beginning in the place of popularity. Without a session a customer has ``product_affinity``, a
visitor ``cold_start``; a list that is short is filled from ``cold_start``, without one by popularity. Until the sum was found
to be better than each source alone, ``SessionModel.lists`` names the best of them, and it serves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Sequence
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from customer360.recommendations.session_model import ALONG, COMPONENTS, FOLLOWS, LONGEST, REPEATS, SessionModel, length_class

SESSION, AFFINITY, COLD_START = "session", "affinity", "cold_start"
BLEND, POPULAR = "blend", "popularity"
# What a list may be made of in a session with products, each with its sources; what is short is filled by popularity.
LISTS = {
    BLEND: frozenset({SESSION, AFFINITY, COLD_START}),
    SESSION: frozenset({SESSION}),
    AFFINITY: frozenset({AFFINITY}),
    COLD_START: frozenset({COLD_START}),
    POPULAR: frozenset[str](),
}
SPARE = 50  # products beyond a list's length that a source is asked for, since some are not to be shown
DIRECT, UNKNOWN, EVERY_VISIT = "(direct)", "(none)", "all"
IS_POPULAR = "popular in the shop"
# As the macro url_host has it for the events that cold_start is learned from.
_HOST = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/?#]*@)?(?:(?:www|m)\.)?([^/:?#]*)")


class Ranked(NamedTuple):
    """A product with its probability and why, in words: a row of ``product_affinity`` or ``cold_start``."""

    product_id: str
    score: float
    reason: str


class Product(NamedTuple):
    """What decides whether a product can be sold, and what a page shows of it; None where the shop does not keep it.

    ``price``: in the shop's currency.
    """

    name: str | None = None
    category_id: str | None = None
    is_for_sale: bool | None = None
    stock: float | None = None
    price: float | None = None


class Recommendation(NamedTuple):
    """A product to show. ``score``: its share of what is expected next, comparable within a list. ``source``: of the reason."""

    product_id: str
    score: float
    reason: str
    source: str


ProductOf = Callable[[str], Product | None]


def sellable(product: Product | None) -> bool:
    """Whether a product is listed, for sale and in stock; what the shop does not keep counts as so."""
    return product is not None and product.is_for_sale is not False and (product.stock is None or product.stock > 0)


def recommend(
    n: int,
    *,
    product_of: ProductOf,
    session: Sequence[str] = (),
    model: SessionModel | None = None,
    affinity: Sequence[Ranked] = (),
    cold_start: Sequence[Ranked] = (),
    bought: Container[str] = (),
    viewing: str | None = None,
) -> list[Recommendation]:
    """At most ``n`` products, the best first; fewer where fewer can be shown.

    ``session``: the products that were viewed or put into the cart in it, the oldest first. ``affinity``, ``cold_start``: rows
    of the customer and of the visit's beginning, by rank. Left out: ``viewing``, what is not ``sellable``, and ``bought``,
    what the customer will not buy again yet. ``product_of`` gives None for a product that is not listed.
    """
    expected = _Expected(session, model, affinity, cold_start, n + SPARE)
    return [
        Recommendation(product_id, score, reason, source)
        for product_id, score in _sellable(expected, n, product_of, bought, viewing)
        for source, reason in [expected.why(product_id, product_of)]
    ]


def likely(
    n: int,
    *,
    product_of: ProductOf,
    session: Sequence[str] = (),
    model: SessionModel | None = None,
    affinity: Sequence[Ranked] = (),
    cold_start: Sequence[Ranked] = (),
    bought: Container[str] = (),
) -> list[tuple[str, float]]:
    """The products of ``recommend`` with their scores, without the reasons, which take as long again."""
    return [*_sellable(_Expected(session, model, affinity, cold_start, n + SPARE), n, product_of, bought, None)]


def _sellable(
    expected: _Expected, n: int, product_of: ProductOf, bought: Container[str], viewing: str | None
) -> Iterator[tuple[str, float]]:
    """The first ``n`` that may be shown, with their scores."""
    left = n
    for product_id, score in expected.ranked():
        if not left:
            return
        if product_id != viewing and product_id not in bought and sellable(product_of(product_id)):
            left -= 1
            yield product_id, score


def cold_start_entries(
    category_id: str | None, referrer: str | None, device: str | None, page_url: str | None = None
) -> tuple[str, ...]:
    """The values of ``cold_start.entry`` that describe a visit by its first event, the narrowest first; the last always exists.

    ``referrer`` and ``page_url`` are URLs: a referrer of the page's own host is none.
    """
    parts = (category_id or UNKNOWN, referrer_host(referrer, page_url), device or UNKNOWN)
    return tuple(cold_start_entry(parts[:count]) for count in (3, 2, 1, 0))


def cold_start_entry(parts: Sequence[str]) -> str:
    """The value of ``cold_start.entry`` for the first of category, referrer host and device; ``EVERY_VISIT`` for none."""
    return " / ".join(part.replace("/", "|") for part in parts) or EVERY_VISIT


def referrer_host(referrer: str | None, page_url: str | None = None) -> str:
    """The host of a referrer in lower case, without ``www.`` and ``m.``; ``(direct)`` without one or of the page's own."""
    host = _host(referrer)
    return DIRECT if host in {"", _host(page_url)} else host[:100]


def _host(url: str | None) -> str:
    found = _HOST.match((url or "").lower())
    return found.group(1) if found else ""


class _Expected:
    """Each product's probability to be what is wanted next, by source."""

    def __init__(
        self,
        session: Sequence[str],
        model: SessionModel | None,
        affinity: Sequence[Ranked],
        cold_start: Sequence[Ranked],
        count: int,
    ) -> None:
        self.model = model
        self.by_session: dict[str, float] = {}
        self.context = model.context(session)[-LONGEST:] if model else []
        if model and self.context:
            sources = LISTS[str(model.lists[0 if affinity else 1])]
            self.context = self.context if SESSION in sources else []
            affinity = affinity if AFFINITY in sources else ()
            cold_start = cold_start if COLD_START in sources else ()
        self.affinity, self.cold_start, self.count = affinity, cold_start, count
        share = 1.0 if affinity else 0.0
        prior = 0.0 if affinity else 1.0
        if model and self.context:
            length = len(self.context)
            share *= float(model.affinity_weights[length_class(length)])
            self.weights, self.found = model.weights_of(length), model.found(self.context)
            prior = (1 - share) * float(self.weights[0])
            scores = (1 - share) * (self.weights[1:] @ self.found.parts[1:])
            best = np.argsort(-scores, kind="stable")[:count]
            names = model.products[self.found.codes[best]].tolist()
            self.by_session = dict(zip(names, scores[best].tolist(), strict=True))
            self.best = best
        total = sum(row.score for row in affinity)
        self.by_affinity = {row.product_id: share * row.score / total for row in affinity} if total > 0 else {}
        self.prior = prior
        self.is_affinity_alone = not (prior or self.by_session)

    @cached_property
    def by_entry(self) -> dict[str, float]:
        """By the visit's beginning, or else by popularity: what fills a list, which few need that rest on affinity alone."""
        if self.cold_start:
            return {row.product_id: self.prior * row.score for row in self.cold_start}
        if self.model is None:
            return {}
        popular = self.model.popular[: self.count]
        names = self.model.products[popular].tolist()
        return dict(zip(names, (self.prior * self.model.popularity[popular]).tolist(), strict=True))

    @cached_property
    def places(self) -> dict[str, int]:
        """Where the products of the session are in what was found."""
        return dict(zip(self.by_session, self.best.tolist(), strict=True))

    @cached_property
    def affinity_reasons(self) -> dict[str, str]:
        """Why the customer likes a product."""
        return {row.product_id: row.reason for row in self.affinity}

    @cached_property
    def entry_reasons(self) -> dict[str, str]:
        """Why a visit that began so goes on to a product."""
        return {row.product_id: row.reason for row in self.cold_start}

    def ranked(self) -> Iterator[tuple[str, float]]:
        """All products that a source knows with the sum over the sources, the largest first; equal ones in their order."""
        if self.is_affinity_alone:
            yield from sorted(self.by_affinity.items(), key=itemgetter(1), reverse=True)
            yield from (item for item in self.by_entry.items() if item[0] not in self.by_affinity)
            return
        total = dict(self.by_session)
        for part in (self.by_affinity, self.by_entry):
            for product_id, score in part.items():
                total[product_id] = total.get(product_id, 0.0) + score
        yield from sorted(total.items(), key=itemgetter(1), reverse=True)

    def why(self, product_id: str, product_of: ProductOf) -> tuple[str, str]:
        """The source that expects the product most, and its reason in words."""
        by_affinity = self.by_affinity.get(product_id, -1.0)
        if self.is_affinity_alone and by_affinity >= 0:
            return AFFINITY, self.affinity_reasons[product_id]
        by_session, by_entry = self.by_session.get(product_id, -1.0), self.by_entry.get(product_id, -1.0)
        if by_affinity >= max(by_session, by_entry):
            return AFFINITY, self.affinity_reasons[product_id]
        if by_entry >= by_session or self.model is None:
            return COLD_START, self.entry_reasons.get(product_id, IS_POPULAR)
        return SESSION, self._of_session(self.model, product_id, product_of)

    def _of_session(self, model: SessionModel, product_id: str, product_of: ProductOf) -> str:
        """By the component of the mixture that expects the product most."""
        place = self.places[product_id]
        component = COMPONENTS[1 + int(np.argmax(self.weights[1:] * self.found.parts[1:, place]))]
        if component == REPEATS:
            return "you viewed this lately"
        if component == FOLLOWS:
            return f"often viewed next after {_name(model, self.context[-1], product_of)}"
        if component == ALONG:
            code = int(self.found.codes[place])
            near = enumerate(reversed(self.context), start=1)
            with_product = max(near, key=lambda item: model.along.value(item[1], code) / item[0])[1]
            return f"viewed together with {_name(model, with_product, product_of)}"
        return "viewed in visits like yours"


def _name(model: SessionModel, code: int, product_of: ProductOf) -> str:
    product_id = str(model.products[code])
    product = product_of(product_id)
    return product.name if product and product.name else product_id
