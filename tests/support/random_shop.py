"""A small random shop for property tests: landing files as producers write them, and the same events clean and in order.

Everything follows from the seed. Faults: copies of events (in the same slice, in later ones, restamped), events up to 48 hours
late, lines that break the contract, visitors who link to one or two customers, reference purchases that correct an event, that
name no customer, or no line number and the order and product of another one.
Orders have free lines, lines without a number, returns under the order's id or one of their own, and lines that are sent again
in a later slice under another event id.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from customer360.settings import Shop

Line = dict[str, Any]

CATEGORIES = {"P1": "books", "P2": "books", "P3": "music", "P4": "music", "P5": "garden & home", "P6": "toys"}
PRODUCTS = [*CATEGORIES, "P7"]  # P7 is missing from the reference, toys from shop.yaml: both are "other"
PRICES = dict(zip(PRODUCTS, (12.5, 20, 8.99, 15, 40, 9.5, 3), strict=True))
CUSTOMERS = [f"C{number:02d}" for number in range(1, 9)]
SILENT = ["C98", "C99"]  # in the customers table alone
OFFERS = ["O1", "O2", "O3"]
NAMES = ["page_view", "view_item", "add_to_cart", "remove_from_cart", "begin_checkout", "view_promotion", "select_promotion"]
WEIGHTS = [12, 25, 8, 2, 3, 10, 5]
SOURCES: list[Line] = [{}, {"utm_source": "news", "utm_medium": "email"}, {"utm_source": "ads"}, {"utm_medium": "social"}]
DEVICES = [{"device": "desktop"}, {"device": "phone"}, {}]
POISON: tuple[Line, ...] = (
    {"event_id": ""},
    {"event_id": None},
    {"event_name": None},
    {"event_at": "yesterday"},
    {"event_at": "2019-01-01T00:00:00Z"},
    {"event_at": "2099-01-01T00:00:00Z"},
    {"customer_id": None, "visitor_id": None},
    {"dwell_seconds": -1},
    {"dwell_seconds": "long"},
    {"quantity": "many"},
    {"line_no": "first"},
    {"event_name": "view_item", "amount": "free"},
    {"event_name": "purchase", "order_id": None, "amount": 5},
    {"event_name": "purchase", "order_id": "X1", "amount": None},
    {"event_name": "purchase", "order_id": "X2", "amount": "free"},
    {"event_name": "purchase", "order_id": "X3", "amount": 5, "currency": "XXX"},
)


EMAIL = {
    "sender": {"name": "Random shop", "address": "news@shop.example"},
    "postal_address": "1 Main Street, Springfield",
    "public_url": "https://shop.example",
    "link_domains": ["shop.example"],
    "return_path_domain": "bounces.shop.example",
    "unsubscribe_mailto": "unsubscribe@shop.example",
}


def small_shop(slice_minutes: int = 15, **changes: Any) -> Shop:
    """Three categories and other, no attributes, live from 2026-05-01 in Europe/Amsterdam."""
    values: dict[str, Any] = {
        "name": "random",
        "title": "Random shop",
        "time_zone": "Europe/Amsterdam",
        "currency": "EUR",
        "slice_minutes": slice_minutes,
        "slices_start": datetime(2026, 5, 1, tzinfo=UTC),
        "live": False,
        "categories": ["books", "music", "garden & home"],
        "channels": ["email"],
        "dayparts": {"day": {"from": 6, "to": 24}},
    }
    return Shop.model_validate({**values, **changes})


@dataclass(frozen=True)
class RandomShop:
    """Lines by arrival slice (naive UTC) in the order in which they are written, and every good event once.

    Attributes:
        arrivals: what producers write, faults and all; text instead of a record is written as it is.
        clean: the good events in order of time, those that the pipeline must keep.
        reference: tables as lists of records.
    """

    shop: Shop
    slices: list[datetime]
    arrivals: dict[datetime, list[Line | str]]
    clean: list[Line]
    reference: dict[str, list[Line]]

    @property
    def as_of(self) -> datetime:
        """The end of the last slice, naive UTC."""
        return self.slices[-1] + self.shop.slice_width

    def write(self, landing: Path, only: set[datetime] | None = None) -> None:
        """The faulty files, one to three a slice (``only`` these slices), and the reference tables."""
        for start, lines in self.arrivals.items():
            if only is None or start in only:
                write_slice(landing, start, lines)
        self.write_reference(landing)

    def write_clean(self, landing: Path) -> None:
        """Every good event once, in the slice in which it happened, or in the first slice if it happened before that."""
        by_slice: dict[datetime, list[Line | str]] = defaultdict(list)
        for line in self.clean:
            at = _parse(line["event_at"])
            start = at - (at - self.slices[0]) % self.shop.slice_width
            by_slice[max(start, self.slices[0])].append(line)
        for start, lines in by_slice.items():
            write_slice(landing, start, lines)
        self.write_reference(landing)

    def write_reference(self, landing: Path) -> None:
        """``landing/reference/<table>/<table>.csv``."""
        for table, rows in self.reference.items():
            path = landing / "reference" / table / f"{table}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)


def random_shop(
    seed: int,
    slices: int = 200,
    shop: Shop | None = None,
    *,
    duplicates: float = 0.05,
    late: float = 0.05,
    poison: float = 0.03,
    repeats: float = 0.15,
) -> RandomShop:
    """``slices`` slices of about 5 to 15 events from ``shop.slices_start`` on; one in twenty slices is empty."""
    random, shop = Random(seed), shop or small_shop()
    first = shop.slices_start.replace(tzinfo=None)
    starts = [first + number * shop.slice_width for number in range(slices)]
    lines = [line for start in starts if random.random() >= 0.05 for line in _events(random, shop, start)]
    arrivals: dict[datetime, list[Line | str]] = defaultdict(list)
    kept = []
    for line in lines:
        at = _parse(line["event_at"])
        delay = timedelta(hours=random.uniform(0, 48)) if random.random() < late else timedelta(0)
        arrival = min((at + delay - first) // shop.slice_width, slices - 1)
        arrivals[starts[arrival]].append(line)
        kept.append(line)
        if random.random() < duplicates:
            _send_again(random, arrivals, starts, arrival, line)
        if random.random() < poison:
            arrivals[starts[arrival]].append(_poisoned(random, line))
        if line["event_name"] == "purchase" and random.random() < repeats:
            kept += _repeat(random, arrivals, starts, arrival, line)
    kept.sort(key=lambda line: (_parse(line["event_at"]), line["event_id"]))
    return RandomShop(shop, starts, dict(sorted(arrivals.items())), kept, _reference(random, kept, first))


def write_slice(landing: Path, start: datetime, lines: list[Line | str]) -> None:
    """One to three files in the slice's folder, by rename. A copy of an event stays behind its first occurrence."""
    folder = landing / "clicks" / start.strftime("%Y/%m/%d/%H%M")
    folder.mkdir(parents=True, exist_ok=True)
    files = 1 + (len(lines) - 1) % 3
    for number in range(files):
        part = lines[number * len(lines) // files : (number + 1) * len(lines) // files]
        data = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in part).encode()
        name = f"part-{number}.jsonl" + (".gz" if number == 1 else "")
        unfinished = folder / f".{name}"
        unfinished.write_bytes(gzip.compress(data) if number == 1 else data)
        unfinished.rename(folder / name)


def _events(random: Random, shop: Shop, start: datetime) -> list[Line]:
    """The true events that happen in one slice."""
    lines: list[Line] = []
    for number in range(random.randint(4, 12)):
        at = start + timedelta(milliseconds=random.randrange(int(shop.slice_width.total_seconds() * 1000)))
        who = _who(random)
        name = random.choices([*NAMES, "purchase", "scroll"], [*WEIGHTS, 6, 1])[0]
        line = {"event_id": f"{start:%m%d%H%M}-{number}", "event_name": name, "event_at": _stamp(random, at), **who}
        if name == "purchase":
            lines += _purchase(random, line)
        else:
            lines.append(line | _details(random, name) | _came_from(line))
    return lines


def _who(random: Random) -> Line:
    """A visitor; sometimes known. Visitors V0x belong to one customer each, V1x to two in the end, V2x to nobody."""
    number = random.randint(1, len(CUSTOMERS))
    kind = random.choices(["V0", "V1", "V2", ""], [60, 10, 15, 15])[0]
    customer = random.choice([CUSTOMERS[number - 1], CUSTOMERS[number - 2]]) if kind == "V1" else CUSTOMERS[number - 1]
    if not kind:
        return {"customer_id": customer}
    known = kind != "V2" and random.random() < 0.15
    return {"visitor_id": f"{kind}{number}", "customer_id": customer if known else None}


def _details(random: Random, name: str) -> Line:
    """Columns that an event of this name has: products on most, offers on promotions, odd columns now and then."""
    line: Line = {}
    if "promotion" in name:
        line["offer_id"] = random.choice(OFFERS)
    elif name != "page_view" and random.random() < 0.95:
        line["product_id"] = random.choice(PRODUCTS)
    if name == "view_item":
        line["dwell_seconds"] = random.choice([None, random.randrange(360) / 4])  # quarters: sums are exact in any order
        line |= {"category_id": "music"} if random.random() < 0.1 else {}
    if random.random() < 0.03:
        line["scroll_depth"] = random.random()
    return line


def _came_from(line: Line) -> Line:
    """Source and device, from a random of their own: the others stay as they were."""
    random = Random(line["event_id"])
    source = random.choice(SOURCES) if line["event_name"] == "page_view" else {}
    return source | (DEVICES[0] if random.random() < 0.9 else random.choice(DEVICES))


def _purchase(random: Random, line: Line) -> list[Line]:
    """One order of one to three lines; one in five has a return of its first line. One in six is a return with an order id."""
    if random.random() < 1 / 6:
        product = random.choice(PRODUCTS)
        returned = {"order_id": f"T{line['event_id']}", "line_no": 1, "product_id": product, "currency": "EUR"}
        return [line | returned | {"quantity": random.choice([-1, 1, None]), "amount": -PRICES[product]}]
    order = []
    is_numbered = random.random() < 0.75
    for number, product in enumerate(random.sample(PRODUCTS, random.randint(1, 3)), start=1):
        quantity = random.choice([1, 1, 1, 2])
        price = PRICES[product] if random.random() < 0.9 else 0
        order.append(
            line
            | {"event_id": f"{line['event_id']}-{number}", "order_id": f"N{line['event_id']}"}
            | ({"line_no": number} if is_numbered else {})
            | {"product_id": product, "currency": random.choice(["EUR", "", None])}
            | {"quantity": quantity if price else random.choice([1, 0, -1, None]), "amount": price * quantity}
            | ({"offer_id": random.choice(OFFERS)} if random.random() < 0.2 else {})
        )
    if order[0]["amount"] and random.random() < 0.2:
        number = {"line_no": 9} if is_numbered else {}
        order.append(order[0] | number | {"event_id": f"{line['event_id']}-9", "quantity": -1, "amount": -order[0]["amount"]})
    return order


def _send_again(
    random: Random, arrivals: dict[datetime, list[Line | str]], starts: list[datetime], arrival: int, line: Line
) -> None:
    """A copy in the same slice or in one up to three days later; half of them carry the time of sending."""
    most = min(len(starts) - 1 - arrival, int(timedelta(days=3) / (starts[1] - starts[0])))
    again = starts[arrival + random.choice([0, min(1, most), random.randint(0, most)])]
    copy = line if random.random() < 0.5 else line | {"event_at": again.isoformat() + "Z"}
    arrivals[again].append(copy)


def _repeat(
    random: Random, arrivals: dict[datetime, list[Line | str]], starts: list[datetime], arrival: int, line: Line
) -> list[Line]:
    """The line under another event id, at least a slice later than the line happened and than it arrived; [] after the end."""
    width = starts[1] - starts[0]
    at = _parse(line["event_at"]) + width + timedelta(minutes=random.randrange(1, 60))
    again = max(arrival + 1, (at - starts[0]) // width)
    if again >= len(starts):
        return []
    repeat = line | {"event_id": f"{line['event_id']}-again", "event_at": at.isoformat() + "Z"}
    arrivals[starts[again]].append(repeat)
    return [repeat]


def _poisoned(random: Random, line: Line) -> Line | str:
    """A line that breaks one rule, with an id of its own, or text that is no record."""
    if random.random() < 0.1:
        return json.dumps(line)[: len(json.dumps(line)) // 2]
    return line | {"event_id": f"{line['event_id']}-poison"} | random.choice(POISON)


def _reference(random: Random, kept: list[Line], first: datetime) -> dict[str, list[Line]]:
    """Customers (not all of those in the events, and two who do nothing), products, offers, purchases: old and corrected."""
    old = [
        {
            "order_id": f"R{number // 2}",
            "product_id": random.choice(PRODUCTS),
            "line_no": random.choice(["", 1]) if number % 2 else 2,
            "customer_id": random.choice(["", *CUSTOMERS[: len(CUSTOMERS) - 2]]),
            "category_id": random.choice(["", "", "books"]),
            "purchased_at": (first - timedelta(hours=random.randrange(1, 24 * 420))).isoformat() + "Z",
            "amount": random.choice([5, 5, 12.25, 30, -5]),
        }
        for number in range(30)
    ]
    corrected = [
        {
            **{name: line.get(name, "") for name in ("order_id", "product_id", "line_no")},
            "customer_id": random.choice([line["customer_id"] or CUSTOMERS[0], ""]),
            "category_id": "",
            "purchased_at": line["event_at"],
            "amount": line["amount"] + 1,
        }
        for line in kept
        if line["event_name"] == "purchase" and random.random() < 0.1
    ]
    # Further lines without a number of the same order and product: half of them alike, and all of them lines.
    old += [row | {"amount": row["amount"] + random.choice([0, 1])} for row in old if row["line_no"] == ""]
    corrected = list({(row["order_id"], row["product_id"], row["line_no"]): row for row in corrected}.values())
    last = _parse(kept[-1]["event_at"])
    # C02's orders and events were matched to it later; C98 is known for a year, of C99 the shop does not say.
    moments = {"C02": first + (last - first) * 0.6, "C98": first - timedelta(days=365)}
    since = {customer: f"{moment.isoformat(timespec='seconds')}Z" for customer, moment in moments.items()}
    return {
        "customers": [
            {"customer_id": customer, "consent_email": "true", "known_since": since.get(customer, "")}
            for customer in [*CUSTOMERS[:6], *SILENT]
        ],
        "products": [
            {"product_id": product, "category_id": name, "price": PRICES[product]} for product, name in CATEGORIES.items()
        ],
        "categories": [{"category_id": name, "name": name.title()} for name in sorted(set(CATEGORIES.values()))],
        "offers": [{"offer_id": offer, "name": f"Offer {offer}"} for offer in OFFERS],
        "purchases": old + corrected,
    }


def _stamp(random: Random, at: datetime) -> str:
    """The same moment as producers write it: with Z, without a zone, or with an offset."""
    form = random.choice(["Z", "", "+02:00"])
    return (at + timedelta(hours=2 if form == "+02:00" else 0)).isoformat(timespec="milliseconds") + form


def _parse(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
