"""Shoppers who use the API over HTTP: they ask for an offer and for products, click and buy, and send their events to it.

They are the visitors of the site in ``behaviour``, who see what the API chooses in place of a random offer. An offer and the
first three recommended products are clicked as ``offer_clicks`` says, by what the customer is truly after at that moment. The
app's events come as files: the first file of a slice opens it in a replayed shop.
"""

from __future__ import annotations

import http.client
import itertools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

from customer360.lake.slices import slice_folder
from customer360.settings import Place, Shop
from customer360.simulation.arrays import DAY, EPOCH, SECOND, Floats, Ints, generator, microseconds
from customer360.simulation.behaviour import (
    CART_BY_AFFINITY,
    CART_RATE,
    CHECKOUT_SHARE,
    PURCHASE_SHARE,
)
from customer360.simulation.catalogue import CATEGORIES, OFFER_IDS, PRICES, PRODUCT_CATEGORY, PRODUCT_IDS
from customer360.simulation.events import HOME, NAME_CODES, SITE, Events, click_table, hexadecimal
from customer360.simulation.offer_clicks import POSITIONS, REMEMBERED, category_click_chance, click_chance
from customer360.simulation.parameters import Simulation, SimulationError
from customer360.simulation.reactions import Reactions, sent_contacts, shop_events
from customer360.simulation.stream import next_slice
from customer360.simulation.synthetic_shop import SyntheticShop
from customer360.simulation.visits import APP
from customer360.simulation.writing import json_lines, packed, write_bytes

MOST_AT_ONCE = 500  # events of a request
TRIES, TIMEOUT = 10, 30.0  # of a request; seconds
PROMOTIONS = (NAME_CODES["view_promotion"], NAME_CODES["select_promotion"])
Event = dict[str, Any]


class Api:
    """A client of the API with a server key of the scopes ``offers`` and ``events``, on one connection."""

    def __init__(self, url: str, key: str, sleep: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(url)
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._address, self._key, self._sleep, self.url = parts.netloc, key, sleep, url
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str) -> Any | None:
        """The answer to a GET; None where the API has none for this customer or visitor (404)."""
        status, content = self._ask("GET", path)
        if status == http.client.NOT_FOUND:
            return None
        return self._good(path, status, content)

    def send(self, events: list[Event]) -> int:
        """Send events; returns how many were refused."""
        refused = 0
        for first in range(0, len(events), MOST_AT_ONCE):
            body = json.dumps({"events": events[first : first + MOST_AT_ONCE]}).encode()
            refused += len(self._good("/v1/events", *self._ask("POST", "/v1/events", body))["refused"])
        return refused

    def _good(self, path: str, status: int, content: bytes) -> Any:
        if status != http.client.OK:
            raise SimulationError(f"{self.url}{path} answered with {status}: {content[:300].decode(errors='replace')}")
        return json.loads(content)

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and content. What the API asks to be sent again later is, as is what a lost connection left open."""
        for attempt in range(1, TRIES + 1):
            self._connection = self._connection or self._kind(self._address, timeout=TIMEOUT)
            try:
                self._connection.request(method, path, body, {"Authorization": f"Bearer {self._key}"})
                answer = self._connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection = None
                if attempt == TRIES:
                    raise SimulationError(f"{self.url} does not answer: {error}; start it with make api") from error
                self._sleep(0.5)
                continue
            wait = answer.headers.get("Retry-After")
            if wait is None or attempt == TRIES:
                return answer.status, content
            self._sleep(float(wait))
        raise AssertionError("unreachable")


@dataclass(frozen=True)
class ServedSlice:
    """What shoppers did in a slice: events sent and refused, offers and products shown and clicked, orders of those."""

    slice_start: datetime
    counts: Counter[str]


def shop_over_api(
    simulation: Simulation,
    shop: Shop,
    place: Place,
    api: Api,
    *,
    speed: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[ServedSlice]:
    """Shop in slice after slice, from the one after the last in landing on, for ever; a slice takes its length over ``speed``.

    Raises ``SimulationError`` in a live shop, whose time is not the simulation's, and where the API does not answer.
    """
    if shop.live or speed <= 0:
        raise SimulationError(f"shoppers need a replayed shop (live: false) and a speed above 0; {shop.name} at {speed:g}")
    synthetic = SyntheticShop.build(simulation, shop)
    shoppers = Shoppers(synthetic, api)
    slice_start = next_slice(shop, place)
    began, first = clock(), slice_start
    while True:
        start = microseconds(slice_start)
        end = start + shop.slice_width // timedelta(microseconds=1)
        events = shop_events(synthetic, Reactions.to(sent_contacts(place), synthetic), start, end)
        is_app = events.platform == APP
        name = f"app-{slice_start:%Y%m%dT%H%M}.jsonl.gz"
        app = json_lines(click_table(events.take(is_app), synthetic.population, shop))
        write_bytes(slice_folder(place.landing / "clicks", slice_start) / name, packed(app, name))
        counts: Counter[str] = Counter()
        site = events.take(~is_app & ~np.isin(events.name, PROMOTIONS))
        rows = [_plain(row) for row in click_table(site, synthetic.population, shop).to_pylist()]
        edges = np.flatnonzero(np.diff(site.at // SECOND, prepend=-1, append=-1))  # where each second with events begins
        for begin, finish in itertools.pairwise(edges.tolist()):
            due = began + (int(site.at[begin]) - microseconds(first)) / SECOND / speed
            if (wait := due - clock()) > 0:
                sleep(wait)
            counts += shoppers.act(site.take(slice(begin, finish)), rows[begin:finish])
        yield ServedSlice(slice_start, counts)
        slice_start += shop.slice_width


@dataclass(frozen=True)
class _Visit:
    """One who arrives: where the API answers for them, what their events have in common, what they are after now."""

    path: str
    common: Event
    at: int
    affinity: Floats
    rng: np.random.Generator

    def event(self, name: str, at: int, own: Event) -> Event:
        moment = EPOCH + timedelta(microseconds=at)
        return {**self.common, "event_id": self.key(b"e"), "event_name": name, "event_at": moment.isoformat(), **own}

    def after(self, least: float, most: float) -> int:
        return self.at + int(self.rng.uniform(least, most) * 1000) * 1000

    def key(self, prefix: bytes) -> str:
        return str(hexadecimal(prefix, self.rng.integers(1, 2**63, size=1).astype(np.uint64))[0])


@dataclass
class Shoppers:
    """The people on the site: what they were shown lately, and the customer behind each device."""

    synthetic: SyntheticShop
    api: Api
    shown: defaultdict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    owners: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Index the devices."""
        for customer, devices in enumerate(self.synthetic.population.visitors.tolist()):
            self.owners.update(dict.fromkeys(devices, customer))

    def act(self, events: Events, rows: list[Event]) -> Counter[str]:
        """What happens on the site in a moment, also as ``rows``, and what comes of what the API shows to those who arrive."""
        counts: Counter[str] = Counter()
        sent = list(rows)
        for number in np.flatnonzero((events.page == HOME) & (events.visitor != 0)).tolist():
            sent += self._arrive(events, number, rows[number], counts)
        counts["refused"] += self.api.send(sent)
        counts["sent"] += len(sent)
        return counts

    def _arrive(self, events: Events, number: int, view: Event, counts: Counter[str]) -> list[Event]:
        """The events of one who sees the front page: an offer and products are shown, some are clicked, few are bought."""
        at, visitor = int(events.at[number]), int(events.visitor[number])
        customer = int(events.customer[number]) if events.customer[number] >= 0 else self.owners.get(visitor, -1)
        person = view.get("customer_id")
        visit = _Visit(
            path=f"/v1/customers/{quote(person)}" if person else f"/v1/visitors/{quote(view['visitor_id'])}",
            common={name: view[name] for name in ("visitor_id", "customer_id", "session_id", "device") if name in view},
            at=at,
            affinity=self._affinity(customer, at),
            rng=generator(self.synthetic.simulation.seed, 9, at, visitor % 2**32),
        )
        return self._offer(visit, counts) + self._products(visit, counts)

    def _affinity(self, customer: int, at: int) -> Floats:
        """What a customer is after at a moment, one row; a stranger is after anything."""
        if customer < 0:
            return np.full((1, len(CATEGORIES)), 1 / len(CATEGORIES))
        return self.synthetic.interest.affinity(np.array([customer]), np.array([at]))[0]

    def _offer(self, visit: _Visit, counts: Counter[str]) -> list[Event]:
        answer = self.api.get(f"{visit.path}/offer?page=home")
        if answer is None:
            return []
        offer_id = answer["offer_id"]
        seen = self.shown[visit.path, offer_id]
        seen[:] = [moment for moment in seen if moment > visit.at - REMEMBERED.days * DAY]
        chance = click_chance(np.array([OFFER_IDS.index(offer_id)]), visit.affinity, len(seen))[0]
        seen.append(visit.at)
        own = {"offer_id": offer_id, "decision_id": answer["decision_id"], "page_url": f"{SITE}/"}
        counts["offers shown"] += 1
        found = [visit.event("view_promotion", visit.at + SECOND // 2, own)]
        if visit.rng.random() < chance:
            counts["offers clicked"] += 1
            found.append(visit.event("select_promotion", visit.after(1, 9), own))
        return found

    def _products(self, visit: _Visit, counts: Counter[str]) -> list[Event]:
        answer = self.api.get(f"{visit.path}/recommendations?n={len(POSITIONS)}") or {"items": []}
        products: Ints = np.array([PRODUCT_IDS.index(item["product_id"]) for item in answer["items"]], dtype=np.int64)
        if not len(products):
            return []
        counts["products shown"] += len(products)
        affinity = np.repeat(visit.affinity, len(products), axis=0)
        chance = category_click_chance(PRODUCT_CATEGORY[products], affinity, np.arange(len(products)))
        found: list[Event] = []
        for product in products[visit.rng.random(len(products)) < chance].tolist():
            counts["products clicked"] += 1
            found += self._look(visit, product, counts)
        return found

    def _look(self, visit: _Visit, product: int, counts: Counter[str]) -> list[Event]:
        """A product that was recommended is looked at, and perhaps bought by one who is logged in."""
        at = visit.after(5, 30)
        own = {"product_id": PRODUCT_IDS[product], "page_url": f"{SITE}/p/{PRODUCT_IDS[product]}"}
        found = [visit.event("view_item", at, own)]
        if visit.rng.random() >= CART_RATE + CART_BY_AFFINITY * visit.affinity[0, PRODUCT_CATEGORY[product]]:
            return found
        found.append(visit.event("add_to_cart", at + 10 * SECOND, own))
        if "customer_id" in visit.common and visit.rng.random() < CHECKOUT_SHARE * PURCHASE_SHARE:
            counts["orders"] += 1
            order = {"order_id": visit.key(b"o"), "line_no": 1, "quantity": 1, "amount": float(PRICES[product])}
            found.append(visit.event("purchase", at + 60 * SECOND, {**own, **order}))
        return found


def _plain(row: Event) -> Event:
    """A row of a click table as JSON: empty fields are left out, times are UTC."""
    filled = {name: value for name, value in row.items() if value is not None}
    return filled | {
        "event_at": row["event_at"].isoformat() + "Z",
        **({"amount": str(row["amount"])} if "amount" in filled else {}),
    }
