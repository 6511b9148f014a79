"""Whom an answer is about: a customer who is recognised, a visitor with a session, or nobody in particular (a cold start)."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from customer360.services.api.identity import OWN, Caller
from customer360.services.api.problems import Problem
from customer360.services.api.schemas import LONGEST_ID
from customer360.services.session_memory import Session, SessionMemory
from customer360.services.store.reading import StoreView

PRODUCT_EVENTS = ("view_item", "add_to_cart")


@dataclass
class Visit:
    """``customer_id``: recognised, known to the store and consenting, else None. ``session``: None where nothing may be linked.

    ``held_out_as``: the customer who does not consent, or objects, of whom the holdouts count and nothing else.

    ``now``: seconds since 1970 (UTC). ``products``: those that were viewed or put into the cart in the session, the oldest
    first.
    """

    visitor_id: str | None
    customer_id: str | None
    session: Session | None
    now: float
    held_out_as: str | None = None
    products: list[str] = field(init=False)

    def __post_init__(self) -> None:
        """Find the products of the session."""
        events = self.session.events if self.session else ()
        self.products = [event.product_id for event in events if event.product_id and event.event_name in PRODUCT_EVENTS]

    @property
    def session_id(self) -> str | None:
        """The session's id in its first event; None without one, or with one that is too long for a decision's log."""
        found = self.session.first.session_id if self.session else None
        return found if found and len(found) <= LONGEST_ID else None

    @property
    def bought(self) -> frozenset[str]:
        """The products that were bought in the session."""
        events = self.session.events if self.session else ()
        return frozenset(event.product_id for event in events if event.product_id and event.event_name == "purchase")

    def shown_since(self, moment: float) -> Counter[str]:
        """How often each offer was shown after a moment (seconds since 1970), as far as the session knows."""
        events = self.session.events if self.session else ()
        return Counter(
            event.offer_id
            for event in events
            if event.offer_id and event.event_name == "view_promotion" and event.event_at >= moment
        )

    def categories(self, view: StoreView) -> Counter[str]:
        """How many of the session's products are of each category: that of the event, else of the product."""
        found: Counter[str] = Counter()
        for event in self.session.events if self.session else ():
            if event.product_id and event.event_name in PRODUCT_EVENTS:
                product = None if event.category_id else view.product(event.product_id)
                if category := event.category_id or (product and product.category_id):
                    found[category] += 1
        return found


def customer_visit(view: StoreView, sessions: SessionMemory, caller: Caller, asked: str) -> Visit:
    """The visit of a customer whom a server names. Raises ``Problem``: 404 for one whom the store does not know."""
    customer_id, now = _bounded(caller.customer(asked)), time.time()
    consents = view.consent_of(customer_id)
    if consents is None:
        raise unknown_customer()
    if not (consents and caller.may_personalise):
        return Visit(None, None, None, now, customer_id)
    return Visit(None, customer_id, sessions.recall(None, customer_id, now), now)


def visitor_visit(view: StoreView, sessions: SessionMemory, caller: Caller, asked: str) -> Visit:
    """The visit of a visitor, known or not. A customer counts where the shop, the store or the session links one.

    Raises ``Problem``: 422 for a server that asks for ``me``, which would be one visitor of all who are answered so.
    """
    if caller.kind == "server" and asked == OWN:
        raise Problem(422, "wrong-parameter", f"A server has no visitor {OWN}", "Name the visitor, or ask with a browser key.")
    visitor_id, now = _bounded(caller.visitor(asked)), time.time()
    if not caller.may_personalise:  # a browser's own visitor is one that links nothing, a server's is a linkable id
        return Visit(visitor_id if caller.kind == "browser" else None, None, None, now)
    session = sessions.recall(visitor_id, None, now)
    customer_id = caller.customer_id or (session and session.customer_id) or view.customer_of(visitor_id)
    if customer_id is None:
        return Visit(visitor_id, None, session, now)
    consents = view.consent_of(customer_id)
    if consents is False:
        return Visit(None, None, None, now, customer_id)
    return Visit(visitor_id, customer_id if consents else None, session, now)


def unknown_customer() -> Problem:
    """404 for a customer whom the store does not know."""
    return Problem(404, "unknown-customer", "No such customer", "The published version has no customer with this id.")


def _bounded(text: str) -> str:
    if not text:
        raise Problem(422, "wrong-parameter", "The id is empty", "Name a customer or a visitor.")
    if len(text) > LONGEST_ID:
        raise Problem(422, "wrong-parameter", "The id is too long", f"At most {LONGEST_ID} characters are read.")
    return text
