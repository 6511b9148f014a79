"""What goes wrong at real producers: sent twice, sent late, wrong clocks, broken lines, files cut short, new columns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

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
class Marked:
    """Events to be written, and per event what was done to it."""

    events: Events
    is_inside: Bools
    is_across: Bools
    is_restamped: Bools
    is_late: Bools
    is_skewed: Bools


def afflict(events: Events, earlier: Events, faults: Faults, rng: np.random.Generator) -> Marked:
    """The slice's events with late and skewed times, followed by copies: of the slice's own and of ``earlier`` events."""
    n = len(events)
    is_skewed = _chosen(n, faults.skewed, rng)
    is_late = _chosen(n, faults.late, rng)
    ahead = np.where(is_skewed, int(faults.skew_seconds * 1000) * 1000, 0)
    delay = rng.integers(15 * 60, LATEST // SECOND, n) * SECOND
    written = events.moved_to(events.at + ahead - np.where(is_late, delay, 0))
    inside = np.flatnonzero(_chosen(n, faults.duplicates_inside, rng))
    across = np.flatnonzero(_chosen(len(earlier), faults.duplicates_across, rng, of=n))
    pool = concatenate([written, earlier])
    restamped = np.flatnonzero(_chosen(len(pool), faults.restamped, rng, of=n))
    moved = pool.take(restamped)
    moved = moved.moved_to(moved.at - rng.integers(1, RESTAMP_UP_TO // SECOND, len(moved)) * SECOND)
    copies = [written.take(inside), earlier.take(across), moved]
    everything = concatenate([written, *copies])
    kind = np.repeat(np.arange(4), [n, *(len(copy) for copy in copies)])
    unmarked = np.zeros(len(everything) - n, dtype=bool)
    return Marked(
        events=everything,
        is_inside=kind == 1,
        is_across=kind == 2,
        is_restamped=kind == 3,
        is_late=np.concatenate([is_late, unmarked]),
        is_skewed=np.concatenate([is_skewed, unmarked]),
    )


def how_many(n: int, share: float) -> int:
    """So many of n; at least one where there is a share at all."""
    return min(max(1, round(n * share)), n) if share > 0 and n > 0 else 0


def _chosen(n: int, share: float, rng: np.random.Generator, of: int | None = None) -> Bools:
    """``share`` of ``of`` events (by default of all n), without replacement."""
    count = min(how_many(n if of is None else of, share), n)
    chosen = np.zeros(n, dtype=bool)
    rows: Ints = rng.choice(n, size=count, replace=False) if count else np.zeros(0, dtype=np.int64)
    chosen[rows] = True
    return chosen
