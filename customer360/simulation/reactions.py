"""How customers react to contacts that were sent: delivery, opening, visit, product view and order.

Whether a contact adds an order follows from the true response at the channel, weekday and daypart at which it was sent. Its
events are a function of the seed and the contact: they depend neither on the slices nor on other contacts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from customer360.campaigns.ledger import SENT, read_ledger
from customer360.settings import Place
from customer360.simulation.arrays import DAY, MINUTE, SECOND, Bools, Floats, Ints, categorical, mix
from customer360.simulation.behaviour import bought, events_between, price_level
from customer360.simulation.campaigns import CAMPAIGN_IDS
from customer360.simulation.catalogue import PRICES, PRODUCT_CATEGORY, pick_products
from customer360.simulation.contacts import CONTACT_COLUMNS, Contacts, contacts_of
from customer360.simulation.events import (
    CHECKOUT,
    CONTACT_SOURCE_CODES,
    FIRST_PRODUCT_PAGE,
    HOME,
    NAME_CODES,
    THANKS,
    Events,
    concatenate,
    in_order,
    make_events,
)
from customer360.simulation.response import Response, true_response
from customer360.simulation.synthetic_shop import SyntheticShop
from customer360.simulation.visits import APP

# Of messages: the share that cannot be delivered; those opened by customers who will come and by the others; visits without an
# order. A call has no delivery to report.
BOUNCED = 0.01
OPENED_BY_VISITORS = {"email": 0.90, "sms": 0.97}
OPENED_BY_OTHERS = {"email": 0.22, "sms": 0.65}
VISITS_OF_OTHERS = {"email": 0.03, "sms": 0.02, "call": 0.01}
MEAN_HOURS_TO_OPEN = 4.0
# Nobody orders sooner: the message is delivered within a minute, and the visit takes four to eight minutes up to the payment.
SOONEST_ORDER = 10 * MINUTE
MESSAGES = 3  # the shard, and the producer in slices.py, of what became of messages
_BOUNCES, _DELIVERED, _OPENS, _OPENED, _VISITS, _VISITED, _ARRIVES = 71, 72, 73, 74, 75, 76, 77
_LOOKS, _DWELL, _CATEGORY, _PRODUCT, _QUANTITY, _SESSION, _ORDER, _ID_HIGH, _ID_LOW = range(78, 87)
_DELIVERY, _OPENING, _PAGE, _LOOK, _CART, _CHECKOUT, _PURCHASE = range(7)


def sent_contacts(place: Place) -> pd.DataFrame:
    """Contacts that the ledger says were sent: CONTACT_COLUMNS, ``sent_at`` in plain UTC. Empty where there is no ledger."""
    entries = read_ledger(place, [SENT])
    return entries.rename(columns={"event_at": "sent_at"})[list(CONTACT_COLUMNS)]


@dataclass(frozen=True)
class Reactions:
    """What customers of a synthetic shop do after contacts."""

    synthetic: SyntheticShop
    contacts: Contacts

    @classmethod
    def to(cls, contacts: pd.DataFrame, synthetic: SyntheticShop) -> Reactions:
        """Reactions to these contacts (CONTACT_COLUMNS). Raises ``SimulationError`` on what the shop cannot have sent."""
        return cls(synthetic, contacts_of(contacts, synthetic))

    @cached_property
    def response(self) -> Response:
        """The truth that decides."""
        return true_response(self.synthetic.simulation, self.synthetic.shop, self.synthetic.population)

    @property
    def campaign_ids(self) -> Sequence[str]:
        """What the codes of ``Events.campaign`` stand for: the past campaigns, then those of the contacts."""
        return [*CAMPAIGN_IDS, *sorted(set(self.contacts.campaign_id) - set(CAMPAIGN_IDS))]

    def between(self, start: int, end: int, asked: Bools | None = None) -> Events:
        """The events of the reactions to all contacts, or to those asked for, in [start, end), microseconds since 1970."""
        window = self.synthetic.shop.campaigns.attribution_days * DAY
        sent_at = self.contacts.sent_at
        is_near = (sent_at < end) & (sent_at >= start - window)
        near = self.contacts.take(is_near if asked is None else is_near & asked)
        if not len(near):
            return make_events(0)
        return in_order(self._events(near).between(start, end))

    def _events(self, contacts: Contacts) -> Events:
        seed, shop = self.synthetic.simulation.seed, self.synthetic.shop
        buys = contacts.reacts(seed, self.response)
        is_message = _by_channel(OPENED_BY_OTHERS, contacts, shop.channels) > 0
        reached = buys | ~is_message | (contacts.draws(seed, _BOUNCES) >= BOUNCED)
        ordered_at = np.maximum(contacts.ordered_at(seed, shop), contacts.sent_at + SOONEST_ORDER)
        visits = buys | (reached & (contacts.draws(seed, _VISITS) < _by_channel(VISITS_OF_OTHERS, contacts, shop.channels)))
        hours = -MEAN_HOURS_TO_OPEN * np.log1p(-contacts.draws(seed, _VISITED))
        window = shop.campaigns.attribution_days * DAY
        others_at = contacts.sent_at + np.minimum(2 * MINUTE + _whole_seconds(hours * 3600), window - MINUTE)
        visit_at = np.where(buys, ordered_at - _whole_seconds(240 + 240 * contacts.draws(seed, _ARRIVES)), others_at)
        parts = [
            *self._messages(contacts, is_message & reached, np.where(visits, visit_at, -1)),
            *self._visits(contacts.take(visits), visit_at[visits], buys[visits], ordered_at[visits]),
        ]
        return concatenate(parts)

    def _messages(self, contacts: Contacts, delivered: Bools, visit_at: Ints) -> list[Events]:
        """Delivered and, by some, opened: before the visit that follows (-1: none), else within the attribution window."""
        seed, channels = self.synthetic.simulation.seed, self.synthetic.shop.channels
        delivered_at = contacts.sent_at + _whole_seconds(5 + 55 * contacts.draws(seed, _DELIVERED))
        chance = np.where(
            visit_at >= 0,
            _by_channel(OPENED_BY_VISITORS, contacts, channels),
            _by_channel(OPENED_BY_OTHERS, contacts, channels),
        )
        opens = delivered & (contacts.draws(seed, _OPENS) < chance)
        draws = contacts.draws(seed, _OPENED)
        window = self.synthetic.shop.campaigns.attribution_days * DAY
        alone = np.minimum(_whole_seconds(-MEAN_HOURS_TO_OPEN * 3600 * np.log1p(-draws)), window - 2 * MINUTE)
        later = np.where(visit_at >= 0, _milliseconds((visit_at - delivered_at) * draws), alone)
        return [
            self._part(contacts, delivered, delivered_at, _DELIVERY, "campaign_delivered", shard=MESSAGES),
            self._part(contacts, opens, delivered_at + later, _OPENING, "campaign_opened", shard=MESSAGES),
        ]

    def _visits(self, contacts: Contacts, visit_at: Ints, buys: Bools, ordered_at: Ints) -> list[Events]:
        """A visit that carries the campaign: the home page, a product to the customer's liking, and for buyers its order."""
        seed, people = self.synthetic.simulation.seed, self.synthetic.population
        platform = people.platforms[contacts.customer, 0]
        device = {
            "visitor": people.visitors[contacts.customer, 0],
            "session": np.where(platform == APP, np.uint64(0), mix(seed, _SESSION, contacts.key) | np.uint64(1)),
            "platform": platform,
            "shard": (contacts.key % np.uint64(2)).astype(np.int64),
        }
        affinity, _ = self.synthetic.interest.affinity(contacts.customer, visit_at)
        product = pick_products(categorical(affinity, contacts.draws(seed, _CATEGORY)), contacts.draws(seed, _PRODUCT))
        category = np.where(platform == APP, PRODUCT_CATEGORY[product], -1)  # the app names it itself, the site does not
        seen = {**device, "product": product, "category": category, "page": FIRST_PRODUCT_PAGE + product}
        looks_at = visit_at + _whole_seconds(20 + 40 * contacts.draws(seed, _LOOKS))
        dwell = np.round(30 + 90 * contacts.draws(seed, _DWELL), 1)
        everyone = np.ones(len(contacts), dtype=bool)
        source = np.array([CONTACT_SOURCE_CODES[name] for name in self.synthetic.shop.channels])[contacts.channel]
        paid = bought(self.synthetic, product, visit_at)
        quantity = 1 + np.searchsorted([0.85, 0.97], contacts.draws(seed, _QUANTITY), side="right")
        order = {
            "product": paid,
            "order": mix(seed, _ORDER, contacts.key) | np.uint64(1),
            "line_no": 1,
            "quantity": quantity,
            "cents": np.round(PRICES[paid] * 100 * quantity * price_level(self.synthetic, visit_at)),
        }
        return [
            self._part(contacts, everyone, visit_at, _PAGE, "page_view", **device, page=HOME, source=source),
            self._part(contacts, everyone, looks_at, _LOOK, "view_item", **seen, dwell=dwell),
            self._part(contacts, buys, looks_at + _milliseconds(dwell * 0.8 * SECOND), _CART, "add_to_cart", **seen),
            self._part(contacts, buys, ordered_at - 45 * SECOND, _CHECKOUT, "begin_checkout", **device, page=CHECKOUT),
            self._part(contacts, buys, ordered_at, _PURCHASE, "purchase", **device, page=THANKS, **order),
        ]

    def _part(self, contacts: Contacts, rows: Bools, at: Ints, step: int, name: str, **columns: object) -> Events:
        """Events of one step of some contacts. Only the first page and what became of the message name the campaign."""
        seed = self.synthetic.simulation.seed
        codes = {campaign: code for code, campaign in enumerate(self.campaign_ids)}
        names_campaign = name in {"page_view", "campaign_delivered", "campaign_opened"}
        campaign = np.array([codes[campaign] for campaign in contacts.campaign_id], dtype=np.int64) if names_campaign else -1
        return make_events(
            len(contacts),
            at=at,
            arrives_at=at,
            id_high=mix(seed, _ID_HIGH, contacts.key, step),
            id_low=mix(seed, _ID_LOW, contacts.key, step),
            name=NAME_CODES[name],
            customer=contacts.customer,
            campaign=campaign,
            **columns,
        ).take(rows)


def shop_events(synthetic: SyntheticShop, reactions: Reactions | None, start: int, end: int) -> Events:
    """All that happens in the shop in [start, end): visits of their own accord, and the reactions to contacts."""
    events = events_between(synthetic, start, end)
    if reactions is None:
        return events
    return in_order(concatenate([events, reactions.between(start, end)]))


def _by_channel(rates: dict[str, float], contacts: Contacts, channels: Sequence[str]) -> Floats:
    return np.array([rates.get(name, 0.0) for name in channels])[contacts.channel]


def _whole_seconds(seconds: Floats) -> Ints:
    """Seconds as microseconds, in whole seconds."""
    return seconds.astype(np.int64) * SECOND


def _milliseconds(microseconds: Floats) -> Ints:
    """Microseconds, in whole milliseconds."""
    return microseconds.astype(np.int64) // 1000 * 1000
