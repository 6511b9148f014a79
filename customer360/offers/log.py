"""The record of a decision that was answered: what was offered, to whom, why, and with which probability.

A service writes one JSON line a decision (``encode``) into ``landing/offer_decisions/<arrival slice>/``; the slices read them
back by the same declaration (``decode``). What was shown or clicked is not here: events bring it, with the ``decision_id``.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from customer360.offers.customer import Customer
from customer360.offers.decisions import Decision
from customer360.offers.thompson import group_of

Id = Annotated[str, Meta(min_length=1, max_length=256)]
Text = Annotated[str, Meta(max_length=1024)]
Probability = Annotated[float, Meta(gt=0, le=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
TOLERANCE = 1e-6  # of sums of probabilities


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision as it was answered. ``decided_at``: UTC, with its time zone.

    Whom: ``customer_id`` where the customer was recognised, else ``visitor_id``; ``session_id`` as the session's first event
    names it, ``page`` as the request does. Context: the customer's ``segment``, most liked category (``category_id``), most
    probable products (``top_products``) and the products of the session that counted (``session_products``), the newest first.

    ``candidates`` with ``propensities``: each offer that could have been shown, and its probability, exploration included; so
    that any policy can be judged by this log. ``propensity`` is that of ``offer_id``; where nothing was drawn (``basis``
    holdout or plan) it is 1, and the only candidate's. ``list_offer_id``: what the priority list would have shown; None where
    nothing was drawn. ``store_version``: the published version that was read.
    """

    decision_id: Id
    decided_at: Annotated[datetime, Meta(tz=True)]
    offer_id: Id
    basis: Id
    reason: Text
    policy_version: Id
    propensity: Probability
    candidates: Annotated[tuple[Id, ...], Meta(min_length=1)]
    propensities: tuple[Share, ...]
    list_offer_id: Id | None = None
    customer_id: Id | None = None
    visitor_id: Id | None = None
    session_id: Id | None = None
    page: Text | None = None
    segment: Id | None = None
    category_id: Id | None = None
    top_products: tuple[Id, ...] = ()
    session_products: tuple[Id, ...] = ()
    store_version: Annotated[int, Meta(ge=1)] | None = None


class LoggedDecision(DecisionRecord, frozen=True, kw_only=True, omit_defaults=True):
    """A record that was read from the log, where anything may be written."""

    def __post_init__(self) -> None:
        """Rules of more than one field. Raises ``ValueError``, whose message begins with the field and ends with the remedy."""
        if self.customer_id is None and self.visitor_id is None:
            raise ValueError("customer_id is missing, and visitor_id too; log whom the decision was about")
        if len(self.propensities) != len(self.candidates):
            counts = f"{len(self.propensities)} probabilities of {len(self.candidates)} candidates"
            raise ValueError(f"propensities has {counts}; log one for each candidate")
        if len(set(self.candidates)) < len(self.candidates):
            raise ValueError("candidates names an offer twice; log each once")
        if abs(sum(self.propensities) - 1) > TOLERANCE:
            raise ValueError("propensities do not sum to 1; log the probability of every offer that could have been shown")
        if self.offer_id not in self.candidates:
            raise ValueError("offer_id is none of the candidates; log every offer that could have been shown")
        if abs(self.propensities[self.candidates.index(self.offer_id)] - self.propensity) > TOLERANCE:
            raise ValueError("propensity is not that of offer_id in propensities; log the probability of the offer shown")
        if self.list_offer_id is not None and self.list_offer_id not in self.candidates:
            raise ValueError("list_offer_id is none of the candidates; log what the priority list chose among them")


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(LoggedDecision)


def logged(
    decision: Decision,
    customer: Customer,
    *,
    at: datetime,
    customer_id: str | None,
    visitor_id: str | None = None,
    session_id: str | None = None,
    page: str | None = None,
    session_products: tuple[str, ...] = (),
    store_version: int | None = None,
    decision_id: str | None = None,
) -> DecisionRecord:
    """The record of a decision about ``customer`` (as ``decide`` saw it) at a moment (aware); a new id unless one is given.

    ``customer_id`` is None for a visitor who was not recognised, whatever id the decision was drawn by.
    """
    segment, category = group_of(customer)
    return DecisionRecord(
        decision_id=decision_id or uuid.uuid4().hex,
        decided_at=at,
        offer_id=decision.offer_id,
        basis=decision.basis,
        reason=decision.reason,
        policy_version=decision.policy_version,
        propensity=decision.propensity,
        candidates=decision.candidates,
        propensities=decision.propensities,
        list_offer_id=decision.list_offer_id,
        customer_id=customer_id,
        visitor_id=visitor_id,
        session_id=session_id,
        page=page,
        segment=segment or None,
        category_id=category or None,
        top_products=tuple([product for product, _ in customer.products]),
        session_products=session_products,
        store_version=store_version,
    )


def encode(record: DecisionRecord) -> bytes:
    """The record as one line of JSON, without its end."""
    return _encoder.encode(record)


def decode(line: str | bytes) -> LoggedDecision:
    """The record of a line. Raises ``msgspec.ValidationError`` or ``msgspec.DecodeError`` where it is none."""
    return _decoder.decode(line)
