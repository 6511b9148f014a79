"""The published numbers of a shop, worked out straight from its landing files in plain Python: slow, obvious, independent.

Property tests compare the pipeline with this. Times are naive UTC; money is ``Decimal``; keys are tuples in the order of the
published table's grain. Tables hold only rows with a number other than zero; ``nonzero`` does the same to a table under test.
Landing is read as one version of the reference tables. JSON Lines, gzipped or not, and CSV are read; Parquet is not.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import partial
from math import gcd, isfinite
from pathlib import Path
from typing import Any

from customer360.settings import Shop, slug

EVENT_NAMES = {
    *("page_view", "view_item", "add_to_cart", "remove_from_cart"),
    *("begin_checkout", "purchase", "view_promotion", "select_promotion"),
}
COUNTED = {
    "view_item": "views",
    "add_to_cart": "carts",
    "view_promotion": "offers_shown",
    "select_promotion": "offers_clicked",
}
SHORT_WINDOWS = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "30d": timedelta(days=30),
}
TOTALS = ("views", "dwell_seconds", "carts", "orders", "spend", "returned_amount", "offers_shown", "offers_clicked")
BY_CATEGORY = ("views", "dwell_seconds", "orders", "spend")
EPOCH = datetime.fromisoformat("0001-01-01")
END_OF_TIME = datetime.fromisoformat("9999-12-31")


class Row(dict[str, Any]):
    """A record; a column that it does not have is None."""

    def __missing__(self, column: str) -> None:
        return None


Table = dict[tuple[Any, ...], Row]


# ---- landing: lines, the contract's rules, duplicates inside a slice -------------------------------------------------


@dataclass
class Slice:
    """What one slice's files came to. Good + quarantined + duplicates are all their lines."""

    good: list[Row] = field(default_factory=list)
    quarantined: list[tuple[str, int, str]] = field(default_factory=list)  # file, line, reason
    duplicates: list[tuple[str, int]] = field(default_factory=list)  # file, line


class BrokenRuleError(ValueError):
    """A line breaks a rule of the contract; the message is the kind of rule."""


def read_lines(path: Path) -> list[tuple[int, Row | None]]:
    """The lines of a file with their numbers from 1 (a CSV's header is line 1); None where a line is no record."""
    text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode("utf-8")
    if path.suffix == ".csv":
        reader = csv.DictReader(text.splitlines())
        return [(reader.line_num, None if None in row else present(row)) for row in reader]
    return [(number, _json_object(line)) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def _json_object(line: str) -> Row | None:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return None
    return present(value) if isinstance(value, dict) else None


def present(values: dict[str, Any]) -> Row:
    """The values that are there: empty text counts as missing."""
    return Row({name: value for name, value in values.items() if value not in (None, "")})


def timestamp(value: Any) -> datetime:
    """An ISO timestamp as naive UTC; without an offset it is UTC already."""
    parsed = datetime.fromisoformat(value)
    return parsed if parsed.tzinfo is None else parsed.astimezone(UTC).replace(tzinfo=None)


def number(value: Any) -> float:
    """A finite number."""
    if not isfinite(float(value)):
        raise ValueError(value)
    return float(value)


def money(value: Any) -> Decimal:
    """A finite amount with two decimals."""
    amount = Decimal(str(value))
    if not amount.is_finite():
        raise ValueError(value)
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def check(line: Row | None, start: datetime, shop: Shop) -> Row:
    """A line as a typed event; raises ``BrokenRuleError`` with the first rule that it breaks."""
    if line is None:
        raise BrokenRuleError("unreadable")
    event = Row(line)
    for name in ("event_id", "event_name", "event_at"):
        if event[name] is None:
            raise BrokenRuleError(name)
    if event["customer_id"] is None and event["visitor_id"] is None:
        raise BrokenRuleError("customer_id or visitor_id")
    try:
        event["event_at"] = timestamp(event["event_at"])
    except (TypeError, ValueError, OverflowError) as error:
        raise BrokenRuleError("event_at") from error
    if event["event_at"] > start + shop.slice_width + timedelta(hours=1):
        raise BrokenRuleError("event_at in the future")
    if event["event_at"] < start - timedelta(days=400):
        raise BrokenRuleError("event_at too old")
    check_numbers(event, shop)
    return event


def check_numbers(event: Row, shop: Shop) -> None:
    """Types of the numbers, and what a purchase needs. Types the columns in place."""
    types: dict[str, Callable[[Any], Any]] = {"dwell_seconds": number, "quantity": number, "amount": money, "line_no": int}
    for name, kind in types.items():
        if event[name] is not None:
            try:
                event[name] = kind(event[name])
            except (TypeError, ValueError, InvalidOperation) as error:
                raise BrokenRuleError(name) from error
    if (event["dwell_seconds"] or 0) < 0:
        raise BrokenRuleError("dwell_seconds")
    if event["currency"] not in (None, shop.currency):
        raise BrokenRuleError("currency")
    for name in ("order_id", "amount"):
        if event["event_name"] == "purchase" and event[name] is None:
            raise BrokenRuleError(name)


def is_finished(path: Path) -> bool:
    """A file that its producer has finished."""
    return path.is_file() and not path.name.startswith((".", "_")) and not path.name.endswith(".tmp")


def read_clicks(folder: Path, shop: Shop) -> dict[datetime, Slice]:
    """``landing/clicks`` by arrival slice: its folder YYYY/MM/DD/HHMM."""
    slices: dict[datetime, Slice] = defaultdict(Slice)
    for path in sorted(filter(is_finished, folder.glob("*/*/*/*/*")), key=lambda path: path.name):
        year, month, day, time = path.relative_to(folder).parts[:4]
        start = datetime.fromisoformat(f"{year}-{month}-{day}T{time[:2]}:{time[2:]}")
        for number, line in read_lines(path):
            add(slices[start], line, (path.name, number), start, shop)
    return slices


def add(into: Slice, line: Row | None, at: tuple[str, int], start: datetime, shop: Shop) -> None:
    """Put one line where it belongs. Lines come in order of file and line, so the lowest copy of an id is the first."""
    try:
        event = check(line, start, shop)
    except BrokenRuleError as broken:
        into.quarantined.append((*at, str(broken)))
        return
    if any(other["event_id"] == event["event_id"] for other in into.good):
        into.duplicates.append(at)
        return
    into.good.append(Row({**event, "slice": start}))


def read_history(folder: Path, shop: Shop) -> dict[datetime, Slice]:
    """``landing/history`` cut into slices by event time; events from ``slices_start`` on do not belong there.

    Lines without a usable time are in the slice ``EPOCH``.
    """
    slices: dict[datetime, Slice] = defaultdict(Slice)
    for path in sorted(filter(is_finished, folder.rglob("*")), key=lambda path: path.relative_to(folder).as_posix()):
        for number, line in read_lines(path):
            at = (path.relative_to(folder).as_posix(), number)
            try:
                start = floor(timestamp((line or Row())["event_at"]), shop.slice_minutes)
            except (TypeError, ValueError, OverflowError):
                start = EPOCH
            if start >= shop.slices_start.replace(tzinfo=None):
                slices[EPOCH].quarantined.append((*at, "event_at in the future"))
            else:
                add(slices[start], line, at, start, shop)
    return slices


def read_landing(landing: Path, shop: Shop) -> dict[datetime, Slice]:
    """Clicks and history together. No slice may have both: whose copy of an event counts is not defined."""
    clicks, history = read_clicks(landing / "clicks", shop), read_history(landing / "history", shop)
    assert not clicks.keys() & history.keys()
    return {**history, **clicks}


def read_reference(landing: Path, table: str) -> list[Row]:
    """All rows of a reference table; empty cells are None."""
    paths = sorted((landing / "reference" / table).glob("*"))
    return [line for path in paths for _, line in read_lines(path) if line]


def deduplicate(slices: dict[datetime, Slice]) -> list[Row]:
    """Good events without copies: an occurrence in S is dropped if any occurrence of its id lies in [S - 3 days, S)."""
    seen: dict[str, list[datetime]] = defaultdict(list)
    for start, found in slices.items():
        for event in found.good:
            seen[event["event_id"]].append(start)

    def is_copy(event: Row) -> bool:
        return any(event["slice"] - timedelta(days=3) <= other < event["slice"] for other in seen[event["event_id"]])

    return [event for start in sorted(slices) for event in slices[start].good if not is_copy(event)]


def floor(moment: datetime, minutes: int) -> datetime:
    """The start of the slice of so many minutes that a moment lies in."""
    return moment - (moment - EPOCH) % timedelta(minutes=minutes)


# ---- what is known as of a point -------------------------------------------------------------------------------------


@dataclass
class Known:
    """Events of slices that ended by as_of, with owner and category; purchase lines; customers.

    ``listed``: customer in the reference table -> known_since, None where empty. ``seen``: customers with an event or order.
    """

    shop: Shop
    as_of: datetime
    events: list[Row]
    purchases: list[Row]
    listed: dict[str, datetime | None]
    seen: set[str]

    @property
    def customers(self) -> set[str]:
        """Everyone who is known now."""
        return self.listed.keys() | self.seen

    def known_then(self, first_listing: datetime) -> set[str]:
        """Who was known at as_of, a point of the past: by known_since, else by event or order, else from the first load on."""
        since = {who: self.listed.get(who) or (EPOCH if who in self.seen else first_listing) for who in self.customers}
        return {who for who, moment in since.items() if moment <= self.as_of}


def known(landing: Path, shop: Shop, as_of: datetime, kept: list[Row] | None = None) -> Known:
    """Everything as known at the end of the slice that ends at ``as_of``. Event names outside the contract are ignored.

    ``kept``: landing's events without copies, where a caller that asks for many points has read them before.
    """
    kept = deduplicate(read_landing(landing, shop)) if kept is None else kept
    events = [Row(e) for e in kept if e["slice"] + shop.slice_width <= as_of and e["event_name"] in EVENT_NAMES]
    links: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if event["visitor_id"] and event["customer_id"]:
            links[event["visitor_id"]].add(event["customer_id"])
    products = {row["product_id"]: row["category_id"] for row in read_reference(landing, "products")}
    for event in events:
        linked = links.get(event["visitor_id"], set())
        event["owner"] = event["customer_id"] or (min(linked) if len(linked) == 1 else None)
        event["category"] = category(event, products, shop)
    named: dict[str, set[str | None]] = defaultdict(set)
    for line in event_lines(events):
        named[line["order_id"]].add(line["owner"])
    reference = [
        Row(
            {
                **row,
                "line_no": int(row["line_no"] or 0),
                "at": timestamp(row["purchased_at"]),
                "amount": money(row["amount"]),
                "owner": row["customer_id"] or guest(named[row["order_id"]]),
                "category": category(row, products, shop),
            }
        )
        for row in read_reference(landing, "purchases")
    ]
    bought = [row for row in reference if row["at"] < as_of]  # a customer of the future would be a leak
    seen = {row["customer_id"] for row in [*events, *bought]} - {None}
    listed = {
        row["customer_id"]: timestamp(row["known_since"]) if row["known_since"] else None
        for row in read_reference(landing, "customers")
    }
    return Known(shop, as_of, events, purchase_lines(events, reference), listed, seen)


def guest(named: set[str | None]) -> str | None:
    """The one customer whom the lines of an order name that came as events; None where they name none, or several."""
    customers = {customer for customer in named if customer}
    return min(customers) if len(customers) == 1 else None


def category(row: Row, products: dict[str, str], shop: Shop) -> str | None:
    """Its own category, else its product's, else other; one that the shop does not name is other too."""
    own = row["category_id"] or products.get(row["product_id"])
    if own is None:
        return "other" if row["product_id"] else None
    return own if own in shop.category_ids else "other"


def event_key(event_id: str) -> int:
    """63 bits of an id: the second half of its MD5, read from the low byte up, without the lowest bit."""
    return int.from_bytes(hashlib.md5(event_id.encode()).digest()[8:], "little") >> 1


def event_lines(events: list[Row]) -> list[Row]:
    """Purchase events without repeats: of each line the event of the lowest (slice, event_key).

    A line is an order's product by its line number; an event without a number is a line of its own, however often it comes.
    """
    lines: dict[tuple[Any, ...], Row] = {}
    for event in sorted(events, key=lambda event: (event["slice"], event_key(event["event_id"]))):
        if event["event_name"] == "purchase":
            number = event["line_no"] if event["line_no"] is not None else ("without a number", event["event_id"])
            lines.setdefault((event["order_id"], event["product_id"], number), Row({**event, "at": event["event_at"]}))
    return list(lines.values())


def purchase_lines(events: list[Row], reference: list[Row]) -> list[Row]:
    """The event lines, but for those of which the reference table has a row, and the reference rows.

    A row and an event without a line number have the number 0.
    """
    replaced = {(row["order_id"], row["product_id"], row["line_no"]) for row in reference}
    kept = [
        line for line in event_lines(events) if (line["order_id"], line["product_id"], line["line_no"] or 0) not in replaced
    ]
    return [*kept, *reference]


def is_purchase(line: Row) -> bool:
    """A line that was bought, and no return: it costs something, or it is free and its quantity is not 0 or below."""
    if line["amount"] == 0:
        return line["quantity"] is None or float(line["quantity"]) > 0
    return bool(line["amount"] > 0)


def orders(lines: list[Row]) -> set[str]:
    """Order ids with a purchase line: a return is no order, whatever its order_id."""
    return {line["order_id"] for line in lines if is_purchase(line)}


# ---- activity in windows ---------------------------------------------------------------------------------------------


def activity(facts: Known, width: timedelta, *grain: str) -> Table:
    """Measures in [as_of - width, as_of) per value of the grain columns; rows without one of them count nowhere."""
    cells: Table = defaultdict(lambda: Row({**dict.fromkeys(TOTALS, 0), "order_ids": set()}))
    start = facts.as_of - width
    for event in facts.events:
        key = tuple(event[name] for name in grain)
        if start <= event["event_at"] < facts.as_of and None not in key:
            if is_counted(event):
                cells[key][COUNTED[event["event_name"]]] += 1
            if event["event_name"] == "view_item":
                cells[key]["dwell_seconds"] += event["dwell_seconds"] or 0
    for line in facts.purchases:
        key = tuple(line[name] for name in grain)
        if start <= line["at"] < facts.as_of and None not in key:
            cells[key]["order_ids"] |= orders([line])
            cells[key]["orders"] = len(cells[key]["order_ids"])
            cells[key]["spend"] += line["amount"]
            cells[key]["returned_amount"] -= 0 if is_purchase(line) else line["amount"]
    return cells


def is_counted(event: Row) -> bool:
    """An event that has a measure of its own. Promotions count where they say which offer was shown or clicked."""
    return event["event_name"] in COUNTED and (event["offer_id"] is not None or "promotion" not in event["event_name"])


def nonzero(table: Table) -> Table:
    """The rows that have a number other than zero."""
    return {key: row for key, row in table.items() if any(row.values())}


def customer_category_activity(facts: Known) -> Table:
    """Customer x category x window in days."""
    table = {
        (*key, days): Row({name: row[name] for name in BY_CATEGORY})
        for days in facts.shop.windows_days
        for key, row in activity(facts, timedelta(days=days), "owner", "category").items()
    }
    return nonzero(table)


def short_windows(facts: Known, item: str, columns: dict[str, str]) -> Table:
    """Customer x item: the measures of ``columns``, renamed, in the last 15 minutes, 1 hour, 24 hours and 30 days."""
    table: Table = defaultdict(lambda: Row({f"{column}_{name}": 0 for name in SHORT_WINDOWS for column in columns.values()}))
    for name, width in SHORT_WINDOWS.items():
        for key, row in activity(facts, width, "owner", item).items():
            table[key].update({f"{column}_{name}": row[measure] for measure, column in columns.items()})
    return nonzero(table)


def shop_lines(facts: Known) -> list[Row]:
    """Lines of the whole shop, guests' too, with the slice they count in, the offer, and the order's first event (or None).

    An event counts in the slice of its own time, though it may lie after as_of; a reference row when as_of has passed it. A row
    carries the offer of its line's events.
    """
    first: dict[str, Row] = {}
    offers: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for line in event_lines(facts.events):
        first.setdefault(line["order_id"], line)
        if line["offer_id"]:
            offers[line["order_id"], line["product_id"], line["line_no"] or 0].append(line["offer_id"])
    key = ("order_id", "product_id", "line_no")
    return [
        Row(
            {
                **line,
                "at_slice": floor(line["at"], gcd(facts.shop.slice_minutes, 15)),
                "product_id": line["product_id"] or "(none)",
                "offer_id": line["offer_id"] or min(offers[tuple(line[name] for name in key)], default=None),
                "visit": first.get(line["order_id"]),
            }
        )
        for line in facts.purchases
        if line["event_id"] or line["at"] < facts.as_of
    ]


def by_event_slice(facts: Known, item: str | None, **counted: set[str]) -> Table:
    """Slice of the event x item (or all): kept events and the shop's lines, whoever made them.

    ``counted``: column -> the event names that it counts. A repeat of a line counts in no slice but that of its first event.
    """
    events: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    lines: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for event in facts.events:
        at = floor(event["event_at"], gcd(facts.shop.slice_minutes, 15))
        events[(at, event[item]) if item else (at,)].append(event)
    for line in shop_lines(facts):
        lines[(line["at_slice"], line[item]) if item else (line["at_slice"],)].append(line)
    return {
        at: Row(
            {column: sum(e["event_name"] in names for e in events[at]) for column, names in counted.items()},
            purchases=len(orders(lines[at])),
            visitors=len({e["visitor_id"] or e["customer_id"] for e in events[at]}),
            revenue=sum((line["amount"] for line in lines[at]), Decimal(0)),
        )
        for at in {*events, *lines}
        if None not in at
    }


def traffic_sources(facts: Known) -> Table:
    """Slice of the event x source x medium x device; a visitor is of the last source named in it or in 30 minutes before it.

    A visit begins with an event of a visitor who had none in the 30 minutes before it. An order is of its first event's visit.
    """
    gap = timedelta(minutes=30)
    slices: dict[datetime, list[Row]] = defaultdict(list)
    visitors: dict[str, list[Row]] = defaultdict(list)
    for event in facts.events:
        event["at_slice"] = floor(event["event_at"], gcd(facts.shop.slice_minutes, 15))
        slices[event["at_slice"]].append(event)
        visitors[visitor(event)].append(event)
    table: Table = defaultdict(lambda: Row(visitors=0, visits=0, page_and_product_views=0, lines=[]))
    visits: dict[tuple[datetime, str], tuple[str, str, str]] = {}
    begun = Counter((event["at_slice"], who) for who, events in visitors.items() for event in visit_starts(events, gap))
    for start, events in slices.items():
        for who in {visitor(event) for event in events}:
            own = [event for event in events if visitor(event) == who]
            recent = [event for event in visitors[who] if start - gap <= event["at_slice"] <= start]
            named = [event for event in recent if event["utm_source"] or event["utm_medium"]]
            last = max(named, key=lambda event: event["event_at"], default=Row(utm_source="(direct)", utm_medium="(none)"))
            source, medium = (last[name] or "(not set)" for name in ("utm_source", "utm_medium"))
            devices = [event["device"] for event in own if event["device"]]
            visits[start, who] = (source, medium, min(devices, default="(not set)"))
            row = table[start, *visits[start, who]]
            row["visitors"] += 1
            row["visits"] += begun[start, who]
            row["page_and_product_views"] += sum(event["event_name"] in {"page_view", "view_item"} for event in own)
    for line in shop_lines(facts):
        visit = line["visit"]
        source_medium_device = visits[visit["at_slice"], visitor(visit)] if visit else ("(no visit)",) * 3
        table[line["at_slice"], *source_medium_device]["lines"].append(line)
    for row in table.values():
        row["purchases"] = len(orders(row["lines"]))
        row["revenue"] = sum((line["amount"] for line in row.pop("lines")), Decimal(0))
    return table


def visit_starts(events: list[Row], gap: timedelta) -> list[Row]:
    """The events of a visitor, in order of time, that come ``gap`` or more after the one before; the first one too."""
    ordered = sorted(events, key=lambda event: event["event_at"])
    return [
        event
        for before, event in zip([None, *ordered], ordered, strict=False)
        if before is None or event["event_at"] - before["event_at"] >= gap
    ]


def visitor(event: Row) -> str:
    """A browser or device; a customer where none is known."""
    return str(event["visitor_id"] or event["customer_id"])


# ---- RFM, features, label --------------------------------------------------------------------------------------------


def local_date(moment: datetime, shop: Shop) -> Any:
    """The shop's date at a moment."""
    return moment.replace(tzinfo=UTC).astimezone(shop.zone).date()


def rfm_segments(facts: Known) -> Table:
    """Recency since the last purchase line ever, frequency and monetary of the window's local days (today is the last of them).

    Scores are 1 + floor(5 x percent_rank), at most 5, among customers with orders in the window, None where they are fewer than
    five; 1 for those who bought only before it, None for those who never bought.
    """
    table: Table = {}
    for customer in facts.customers:
        inside = rfm_lines(facts, customer)
        table[customer,] = Row(
            recency_days=min((line["days_ago"] for line in lines_of(facts, customer) if is_purchase(line)), default=None),
            frequency=len(orders(inside)),
            monetary=sum((line["amount"] for line in inside), Decimal(0)),
        )
    buyers = [row for row in table.values() if row["frequency"]]
    for row in table.values():
        for name, column, sign in (("recency", "recency_days", -1), ("frequency", "frequency", 1), ("monetary", "monetary", 1)):
            row[f"{name}_score"] = None if row["recency_days"] is None else 1
            if row["frequency"]:
                row[f"{name}_score"] = score(row, buyers, column, sign) if len(buyers) >= 5 else None
    return table


def lines_of(facts: Known, customer: str) -> list[Row]:
    """The customer's lines before as_of, with how many of the shop's days ago each was bought."""
    today = local_date(facts.as_of, facts.shop)
    own = [line for line in facts.purchases if line["owner"] == customer and line["at"] < facts.as_of]
    return [Row({**line, "days_ago": (today - local_date(line["at"], facts.shop)).days}) for line in own]


def rfm_lines(facts: Known, customer: str) -> list[Row]:
    """The customer's lines in the RFM window."""
    return [line for line in lines_of(facts, customer) if line["days_ago"] < facts.shop.rfm.window_days]


def return_share(lines: list[Row]) -> float | None:
    """The amount of the returns as a share of the amount of the purchase lines, at most 1; None where nothing was paid."""
    bought = sum((line["amount"] for line in lines if is_purchase(line)), Decimal(0))
    returned = sum((-line["amount"] for line in lines if not is_purchase(line)), Decimal(0))
    return min(1.0, float(returned) / float(bought)) if bought > 0 else None


def score(row: Row, rows: list[Row], column: str, sign: int) -> int:
    """1 + floor(5 x percent_rank), at most 5; equal values have equal scores."""
    lower: int = sum(sign * other[column] < sign * row[column] for other in rows)
    return min(5, 1 + 5 * lower // max(1, len(rows) - 1))


def customer_features(facts: Known) -> Table:
    """The numeric features and the last category of every known customer; attributes are the reference table's own."""
    rfm = ("recency_days", "frequency", "monetary")
    table: Table = {key: Row({name: row[name] for name in rfm}) for key, row in rfm_segments(facts).items()}
    for (customer,), row in table.items():
        moments = [e["event_at"] for e in facts.events if e["owner"] == customer and e["event_at"] < facts.as_of]
        moments += [line["at"] for line in lines_of(facts, customer) if is_purchase(line)]
        row["days_since_last_activity"] = (facts.as_of - max(moments)).days if moments else None
        row["last_category_id"] = last_category(facts, customer)
        row.update(lifetime(facts, customer))
        row["return_share"] = return_share(rfm_lines(facts, customer))
    for days in facts.shop.windows_days:
        totals = activity(facts, timedelta(days=days), "owner")
        by_category = activity(facts, timedelta(days=days), "owner", "category")
        for key, row in table.items():
            row.update({f"{name}_{days}d": totals[key][name] for name in TOTALS})
            for category_id in facts.shop.category_ids:
                cell = by_category[(*key, category_id)]
                row.update({f"{name}_{slug(category_id)}_{days}d": cell[name] for name in BY_CATEGORY})
    return table


def lifetime(facts: Known, customer: str) -> Row:
    """Purchase lines, net spend and shares of lines over everything known, in all and by category."""
    lines = [line for line in facts.purchases if line["owner"] == customer and line["at"] < facts.as_of]
    bought = [line for line in lines if is_purchase(line)]
    row = Row(lifetime_lines=len(bought), lifetime_spend=sum((line["amount"] for line in lines), Decimal(0)))
    in_categories = sum(line["category"] is not None for line in bought)
    for category_id in facts.shop.category_ids:
        name = slug(category_id)
        count = sum(line["category"] == category_id for line in bought)
        row[f"lifetime_lines_{name}"] = count
        row[f"lifetime_spend_{name}"] = sum((line["amount"] for line in lines if line["category"] == category_id), Decimal(0))
        row[f"lifetime_share_{name}"] = count / in_categories if in_categories else None
    return row


def last_category(facts: Known, customer: str) -> str:
    """Category of the customer's last purchase line, the first by name among lines of the same moment; else none."""
    bought = [line for line in facts.purchases if line["owner"] == customer and is_purchase(line)]
    lines = [line for line in bought if line["at"] < facts.as_of and line["category"]]
    last = max((line["at"] for line in lines), default=None)
    return min((line["category"] for line in lines if line["at"] == last), default="none")


def labels(landing: Path, shop: Shop, as_of: datetime, customers: set[str] | None = None) -> dict[str, str]:
    """Customer known at as_of -> category of the highest net spend > 0 in the label's horizon, whenever known; else none.

    Landing says who is known, unless ``customers`` does: those of a version of the reference tables that it holds no more.
    """
    everything = known(landing, shop, END_OF_TIME)
    until = as_of + timedelta(days=shop.label_horizon_days)
    spend: dict[str, dict[str, Decimal]] = defaultdict(partial(defaultdict, Decimal))
    for line in everything.purchases:
        if as_of <= line["at"] < until and line["category"]:
            spend[line["owner"]][line["category"]] += line["amount"]
    result = {}
    for customer in known(landing, shop, as_of).customers if customers is None else customers:
        best = max(spend[customer].values(), default=Decimal(0))
        result[customer] = min((name for name, amount in spend[customer].items() if amount == best > 0), default="none")
    return result


def outcomes(landing: Path, shop: Shop, as_of: datetime, known_until: datetime, customers: set[str]) -> dict[str, Row]:
    """Of each customer: label, spend of all lines in the label's horizon, and whether no order came in the churn horizon.

    ``known_until`` is the end of the newest slice: churn is None unless its horizon ended two days before.
    """
    lines = [line for line in known(landing, shop, END_OF_TIME).purchases if as_of <= line["at"]]
    until, churned_by = (as_of + timedelta(days=days) for days in (shop.label_horizon_days, shop.churn_horizon_days))
    label = labels(landing, shop, as_of, customers)
    found = {}
    for customer in customers:
        own = [line for line in lines if line["owner"] == customer]
        spend = sum((line["amount"] for line in own if line["at"] < until), Decimal(0))
        ordered = any(is_purchase(line) for line in own if line["at"] < churned_by)
        churned = None if churned_by > known_until - timedelta(days=2) else not ordered
        found[customer] = Row(label=label[customer], spend=max(spend, Decimal(0)), is_churned=churned)
    return found


def state(landing: Path, shop: Shop, as_of: datetime) -> dict[str, Table]:
    """The published tables as of ``as_of`` (naive UTC, a slice's end): name -> key -> columns."""
    facts = known(landing, shop, as_of)
    return {
        "customer_category_activity": customer_category_activity(facts),
        "customer_product_activity": short_windows(
            facts, "product_id", {"views": "views", "carts": "carts", "orders": "orders"}
        ),
        "customer_offer_activity": short_windows(facts, "offer_id", {"offers_shown": "shown", "offers_clicked": "clicked"}),
        "rfm_segments": rfm_segments(facts),
        "customer_features": customer_features(facts),
        "product_activity": by_event_slice(facts, "product_id", views={"view_item"}, carts={"add_to_cart"}),
        "offer_activity": by_event_slice(facts, "offer_id", shown={"view_promotion"}, clicked={"select_promotion"}),
        "traffic": by_event_slice(
            facts, None, page_and_product_views={"page_view", "view_item"}, offers_clicked={"select_promotion"}
        ),
        "traffic_sources": traffic_sources(facts),
    }
