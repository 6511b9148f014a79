"""What goes wrong at real producers: sent twice, sent late, wrong clocks, broken lines, files cut short, new columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from customer360.settings import Shop
from customer360.simulation.arrays import MINUTE, SECOND, Bools, Ints
from customer360.simulation.events import Events, concatenate
from customer360.simulation.parameters import SimulationError

RESTAMP_UP_TO = 10 * MINUTE
LATEST = 48 * 60 * MINUTE


@dataclass(frozen=True)
class Faults:
    """Shares of a slice's events (0 to 1), and files. A share above 0 touches at least one event.

    ``duplicates_inside`` sends events of the slice twice; ``duplicates_across`` sends events of one of the eight slices before
    again; ``restamped`` does either with another ``event_at``. ``late`` events happened up to 48 hours before they arrive.
    ``poison`` adds lines that break the contract. ``truncated_files`` cuts so many of the slice's compressed files short.
    ``new_columns`` are columns outside the contract with their value, in half of the lines. ``skewed`` of the events carry a
    clock that is ``skew_seconds`` ahead (or behind, below 0).
    """

    duplicates_inside: float = 0.0
    duplicates_across: float = 0.0
    restamped: float = 0.0
    late: float = 0.0
    poison: float = 0.0
    truncated_files: int = 0
    new_columns: dict[str, str | float | bool] = field(default_factory=dict)
    skewed: float = 0.0
    skew_seconds: float = 0.0

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        for name in ("duplicates_inside", "duplicates_across", "restamped", "late", "poison", "skewed"):
            if not 0 <= getattr(self, name) <= 1:
                raise SimulationError(f"Faults.{name} is a share between 0 and 1; got {getattr(self, name)}")
        if self.truncated_files < 0:
            raise SimulationError(f"Faults.truncated_files is a number of files; got {self.truncated_files}")

    @classmethod
    def everyday(cls) -> Faults:
        """A bad but ordinary slice: 5% late, 5% sent twice in one way or another, 1% broken."""
        return cls(duplicates_inside=0.02, duplicates_across=0.02, restamped=0.01, late=0.05, poison=0.01)


@dataclass(frozen=True)
class FaultyEvents:
    """Events to be written, and per event what was done to it."""

    events: Events
    is_inside: Bools
    is_across: Bools
    is_restamped: Bools
    is_late: Bools
    is_skewed: Bools


def apply_faults(events: Events, earlier: Events, faults: Faults, rng: np.random.Generator) -> FaultyEvents:
    """The slice's events with late and skewed times, followed by copies: of the slice's own and of ``earlier`` events."""
    n = len(events)
    is_skewed = _chosen(n, faults.skewed, rng)
    is_late = _chosen(n, faults.late, rng)
    ahead = np.where(is_skewed, int(faults.skew_seconds * 1000) * 1000, 0)
    delay = rng.integers(15 * 60, LATEST // SECOND, n) * SECOND
    written = replace(events, at=events.at + ahead - np.where(is_late, delay, 0))
    inside = np.flatnonzero(_chosen(n, faults.duplicates_inside, rng))
    across = np.flatnonzero(_chosen(len(earlier), faults.duplicates_across, rng, of=n))
    pool = concatenate([written, earlier])
    restamped = np.flatnonzero(_chosen(len(pool), faults.restamped, rng, of=n))
    moved = pool.take(restamped)
    moved = replace(moved, at=moved.at - rng.integers(1, RESTAMP_UP_TO // SECOND, len(moved)) * SECOND)
    copies = [written.take(inside), earlier.take(across), moved]
    everything = concatenate([written, *copies])
    kind = np.repeat(np.arange(4), [n, *(len(copy) for copy in copies)])
    unmarked = np.zeros(len(everything) - n, dtype=bool)
    return FaultyEvents(
        events=everything,
        is_inside=kind == 1,
        is_across=kind == 2,
        is_restamped=kind == 3,
        is_late=np.concatenate([is_late, unmarked]),
        is_skewed=np.concatenate([is_skewed, unmarked]),
    )


def count_of_share(n: int, share: float) -> int:
    """So many of n; at least one where there is a share at all."""
    return min(max(1, round(n * share)), n) if share > 0 and n > 0 else 0


def _chosen(n: int, share: float, rng: np.random.Generator, of: int | None = None) -> Bools:
    """``share`` of ``of`` events (by default of all n), without replacement."""
    count = min(count_of_share(n if of is None else of, share), n)
    chosen = np.zeros(n, dtype=bool)
    rows: Ints = rng.choice(n, size=count, replace=False) if count else np.zeros(0, dtype=np.int64)
    chosen[rows] = True
    return chosen


# Lines that break the click contract, each in one way that has a name.

Event = dict[str, Any]


def _purchase(event: Event, shop: Shop) -> Event:
    order = {"order_id": "o" + event["event_id"].replace("-", "")[:16], "line_no": 1, "quantity": 1, "amount": 40.0}
    return {
        **event,
        "event_name": "purchase",
        "customer_id": "c000001",
        "product_id": "p04",
        **order,
        "currency": shop.currency,
    }


def _without(*names: str) -> Callable[[Event, Shop], bytes]:
    return lambda event, shop: _line({name: value for name, value in event.items() if name not in names})


def _with(**values: Any) -> Callable[[Event, Shop], bytes]:
    return lambda event, shop: _line({**event, **values})


def _in_purchase(**values: Any) -> Callable[[Event, Shop], bytes]:
    return lambda event, shop: _line({**_purchase(event, shop), **values})


def _line(event: Event) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def _in_foreign_currency(event: Event, shop: Shop) -> bytes:
    return _line({**_purchase(event, shop), "currency": "GBP" if shop.currency != "GBP" else "USD"})


POISON_KINDS: dict[str, Callable[[Event, Shop], bytes]] = {
    "not_json": lambda event, shop: _line(event)[:-9],
    "no_event_id": _without("event_id"),
    "no_event_name": _without("event_name"),
    "no_event_at": _without("event_at"),
    "nobody": _without("customer_id", "visitor_id"),
    "time_not_a_time": _with(event_at="yesterday at noon"),
    "far_future": _with(event_at="2099-12-31T23:59:59.000Z"),
    "dwell_not_a_number": _with(event_name="view_item", dwell_seconds="a while"),
    "dwell_below_zero": _with(event_name="view_item", dwell_seconds=-12.5),
    "amount_not_a_number": _in_purchase(amount="forty"),
    "wrong_currency": _in_foreign_currency,
    "bad_encoding": lambda event, shop: _line({**event, "page_url": "?"}).replace(
        b'"?"', b'"https://shop.example/caf\xe9\xff"'
    ),
    "not_an_object": lambda event, shop: json.dumps([event["event_id"]]).encode(),
}


def poison_line(kind: str, line: bytes, number: int, shop: Shop, rng: np.random.Generator) -> bytes:
    """A copy of a good line with an id of its own, broken in this way."""
    event = json.loads(line)
    event["event_id"] = f"{int(rng.integers(0, 2**32)):08x}-bad0-4bad-8bad-{number:012x}"
    return POISON_KINDS[kind](event, shop)
