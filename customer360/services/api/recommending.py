"""Products for a visit: from its session, from what its customer likes, from how it began, each with a reason."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from customer360.recommendations.recommend import (
    ProductOf,
    Ranked,
    Recommendation,
    cold_start_entries,
    likely,
    recommend,
    sellable,
)
from customer360.recommendations.session_model import SessionModel, SessionModelError, load
from customer360.services.api.problems import Problem
from customer360.services.api.schemas import Recommendations, RecommendedProduct, Related, RelatedProduct
from customer360.services.api.visits import Visit
from customer360.services.api.watched import WatchedFile
from customer360.services.store.layout import Meta
from customer360.services.store.reading import StoreView
from customer360.settings import Place

MOST_KEPT = 10_000  # lists of a process: some 2 KB each
Made = TypeVar("Made")
_log = logging.getLogger(__name__)


class Sources(TypedDict):
    """What ``recommend`` and ``likely`` are given."""

    product_of: ProductOf
    session: list[str]
    model: SessionModel | None
    affinity: list[Ranked]
    cold_start: list[Ranked]
    bought: frozenset[str]


class Recommender:
    """Recommends for one process: the session model is loaded when it is first asked for, and again when it was replaced."""

    def __init__(self, place: Place) -> None:
        self._model = WatchedFile(place.recommendations / "session_model.npz", _load)
        self._made_of: tuple[Meta, SessionModel | None] | None = None
        self._made: dict[Hashable, Any] = {}

    def recommend(self, view: StoreView, visit: Visit, n: int, viewing: str | None = None) -> list[Recommendation]:
        """At most ``n`` products, the best first. ``viewing``: the product of the page, which is left out."""
        return self.once(view, visit, (n, viewing), lambda: recommend(n, viewing=viewing, **self._sources(view, visit)))

    def likely(self, view: StoreView, visit: Visit, n: int) -> list[tuple[str, float]]:
        """The same products with their scores alone."""
        return likely(n, **self._sources(view, visit))

    def once(self, view: StoreView, visit: Visit, asked: Hashable, make: Callable[[], Made]) -> Made:
        """What is made for a state of a session, once for each version of store and model: the model takes 200 microseconds."""
        made_of = view.meta, self._model.content(time.monotonic())
        if self._made_of is None or any(now is not then for now, then in zip(made_of, self._made_of, strict=True)):
            self._made_of, self._made = made_of, {}
        if visit.session is None:
            return make()
        state = visit.session.last_at, len(visit.session.events)  # both: the clock may be set back
        key = (visit.visitor_id, visit.customer_id, state, asked)
        found: Made | None = self._made.get(key)
        if found is None:
            if len(self._made) >= MOST_KEPT:
                del self._made[next(iter(self._made))]  # the oldest
            found = self._made[key] = make()
        return found

    def _sources(self, view: StoreView, visit: Visit) -> Sources:
        products = visit.products
        known = visit.customer_id
        affinity = [] if known is None else view.affinities(known)
        return {
            "product_of": view.product,
            "session": products,
            "model": self._model.content(time.monotonic()),
            "affinity": affinity,
            "cold_start": [] if affinity and not products else _cold_start(view, visit),
            "bought": visit.bought if known is None else view.bought(known, visit.now) | visit.bought,
        }


def recommendations(view: StoreView, found: Iterable[Recommendation]) -> Recommendations:
    """The answer to these."""
    items = []
    for product_id, score, reason, source in found:
        if product := view.product(product_id):
            shown = product.name, product.category_id, product.price
            items.append(RecommendedProduct(product_id, *shown, score, reason, source))
    return Recommendations(view.meta.as_of, view.meta.version, items)


def related(view: StoreView, product_id: str) -> Related:
    """What is viewed and bought with a product and can be sold. Raises ``Problem``: 404 for a product that is not listed."""
    if view.product(product_id) is None:
        raise Problem(404, "unknown-product", "No such product", "The published version lists no product with this id.")
    found: dict[str, list[RelatedProduct]] = {"also_viewed": [], "also_bought": []}
    for relation, other, score, reason in view.related(product_id):
        product = view.product(other)
        if product and sellable(product):
            found[relation].append(RelatedProduct(other, product.name, product.category_id, product.price, score, reason))
    return Related(view.meta.as_of, view.meta.version, product_id, found["also_viewed"], found["also_bought"])


def _cold_start(view: StoreView, visit: Visit) -> list[Ranked]:
    """The rows of the narrowest description of the visit's first event that visits of the past have."""
    entries = cold_start_entries(None, None, None)[-1:]
    if visit.session:
        first = visit.session.first
        product = view.product(first.product_id) if first.product_id and not first.category_id else None
        category = first.category_id or (product and product.category_id)
        entries = cold_start_entries(category, first.referrer, first.device, first.page_url)
    return next((rows for entry in entries if (rows := view.cold_start(entry)) is not None), [])


def _load(file: Path) -> SessionModel | None:
    """The model; None, with the reason in the log, where none can be read: lists then rest on the other sources."""
    try:
        return load(file)
    except FileNotFoundError:
        return None
    except (SessionModelError, OSError) as error:
        _log.error("recommendations do without the session model: %s", error)
        return None
