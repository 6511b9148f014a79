"""An offer for a visit, by the functions that make ``current_offers``; every answer is logged as a decision."""

from __future__ import annotations

import os
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple

import msgspec

from customer360.offers.customer import Customer
from customer360.offers.decisions import Policy, decide, with_listed
from customer360.offers.log import encode, logged
from customer360.offers.offers import Book, Offer
from customer360.offers.policy import policy_of
from customer360.offers.session import during
from customer360.services.api.collector.collecting import ShopClock
from customer360.services.api.identity import UNLINKABLE
from customer360.services.api.problems import Problem
from customer360.services.api.recommending import Recommender
from customer360.services.api.visits import Visit
from customer360.services.spool import Spool, SpoolFullError
from customer360.services.store.layout import Meta
from customer360.services.store.reading import StoreView
from customer360.settings import Settings, SettingsError

SOURCE = "offer_decisions"
_json = msgspec.json.Encoder().encode


class _Rules(NamedTuple):
    """What decisions rest on until the shop-local day ends or the store has another version.

    ``answers``: by offer, the part of its answers that is the same for everybody, whose products may be hundreds.
    """

    meta: Meta
    until: datetime
    book: Book
    policy: Policy
    draw_key: bytes
    answers: dict[str, bytes]


class Offering:
    """Decides and logs for one process."""

    def __init__(self, settings: Settings, recommender: Recommender, clock: ShopClock) -> None:
        self._settings, self._recommender, self._clock = settings, recommender, clock
        self._spool: Spool | None = None
        self._rules: _Rules | None = None

    def offer(self, view: StoreView, visit: Visit, page: str | None) -> bytes:
        """The offer of a visit on a page as JSON of ``schemas.OfferAnswer``, and its logged decision.

        Raises ``Problem``: 404 where no offer may be shown, 503 before offers are published and where nothing can be logged.
        """
        at = self._clock.now()
        rules = self._rules_of(view.meta, at)
        book = rules.book
        decision_id = os.urandom(16).hex()
        visitor_id = visit.visitor_id or (None if visit.customer_id else UNLINKABLE + decision_id)
        customer = self._customer(view, visit, book, visit.customer_id or visitor_id or "")
        decision = decide(book, customer, rules.policy, rules.draw_key, at)
        if decision is None:
            raise Problem(404, "no-offer", "No offer may be shown", "There is none that is not withheld.")
        record = logged(
            decision,
            customer,
            at=at,
            customer_id=visit.customer_id,
            visitor_id=visitor_id,
            session_id=visit.session_id,
            page=page,
            session_products=tuple(dict.fromkeys(reversed(visit.products))) if visit.products else (),
            store_version=view.meta.version,
            decision_id=decision_id,
        )
        self._log(encode(record))
        own = {
            "reason": decision.reason,
            "policy_version": decision.policy_version,
            "propensity": decision.propensity,
            "decision_id": decision_id,
        }
        return b"".join((view.head, rules.answers[decision.offer_id], _json(own)[1:]))

    def _rules_of(self, meta: Meta, at: datetime) -> _Rules:
        found, shop = self._rules, self._settings.shop
        if found is None or found.meta is not meta or at >= found.until:
            if meta.offers is None:
                raise Problem(503, "no-offers", "No offers are published", "A slice publishes them.", {"Retry-After": "60"})
            day = at.astimezone(shop.zone).date()
            until = datetime.combine(day + timedelta(days=1), time(), shop.zone).astimezone(UTC)
            book, policy = meta.offers.book.book(day, shop.offers), policy_of(meta.offers.policy, shop.offers)
            answers = {offer.offer_id: _answer(offer) for offer in book.listed}
            found = self._rules = _Rules(meta, until, book, policy, bytes.fromhex(meta.offers.draw_key), answers)
        return found

    def _customer(self, view: StoreView, visit: Visit, book: Book, drawn_by: str) -> Customer:
        """What is known of the visit, and what the list chooses for it, which one state of a session has found for all asks."""
        if visit.session is None:
            return self._known(view, visit, book, drawn_by)
        return self._recommender.once(
            view,
            visit,
            ("offer", book.basis),
            lambda: self._in_session(view, visit, book, self._known(view, visit, book, drawn_by)),
        )

    def _known(self, view: StoreView, visit: Visit, book: Book, drawn_by: str) -> Customer:
        """What is known of the visit's customer as of the last slice."""
        customer = (view.offer_inputs(visit.customer_id) if visit.customer_id else None) or Customer(drawn_by)
        if customer.listed is not None and view.meta.offers is not None and view.meta.offers.basis != book.basis:
            customer = msgspec.structs.replace(customer, listed=None)  # another day than that of the slice
        if visit.held_out_as and (held := view.holdouts(visit.held_out_as)):
            customer = msgspec.structs.replace(customer, is_held_out=held.is_held_out, withheld=held.withheld)
        return customer

    def _in_session(self, view: StoreView, visit: Visit, book: Book, customer: Customer) -> Customer:
        """The customer with what the session has added."""
        products, shown = visit.products, visit.shown_since(view.meta.as_of.timestamp())
        if not (products or shown):
            return customer
        likely: list[tuple[str, float]] = []
        if products and book.by_product:
            likely = self._recommender.likely(view, visit, book.rules.top_products)
        return with_listed(book, during(customer, seen=visit.categories(view), likely=likely, shown=shown))

    def _log(self, line: bytes) -> None:
        try:
            if self._spool is None:
                self._spool = Spool(self._settings, SOURCE)
            self._spool.write([line])
        except SettingsError as error:
            raise Problem(503, "no-log", "Decisions cannot be logged", "The operator finds the reason in the log.") from error
        except SpoolFullError as error:
            raise Problem(503, "no-room", "The log of decisions is full", "", {"Retry-After": "10"}) from error


def _answer(offer: Offer) -> bytes:
    """What each answer with the offer says of it, between the version and the reason."""
    return _json({"offer_id": offer.offer_id, "name": offer.name, "product_ids": offer.product_ids})[1:-1] + b","
