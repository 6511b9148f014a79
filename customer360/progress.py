"""How far the work of this process is, for the thread that shows it (``customer360 start``).

Work reports the units that it has done; connections to DuckDB are registered, so that another thread can ask for the
percentage of a query. As with logging there is one place per process, since the work lies many calls below whoever watches it.
While nobody watches, a report costs a comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import WeakSet

import duckdb


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` units, such as models or slices; ``detail`` names the unit at hand."""

    done: int
    total: int
    unit: str
    detail: str = ""


@dataclass
class Watch:
    """What was last reported, and the connections that are open."""

    reported: Progress | None = None
    connections: WeakSet[duckdb.DuckDBPyConnection] = field(default_factory=WeakSet)

    def query_percentage(self) -> float | None:
        """Percentage of the longest advanced query that runs now; None where none runs, or the engine knows none."""
        found = []
        for connection in list(self.connections):
            try:
                found.append(connection.query_progress())
            except duckdb.Error:  # it was closed meanwhile
                self.connections.discard(connection)
        return max((percentage for percentage in found if percentage >= 0), default=None)


_watches: list[Watch] = []


@contextmanager
def watched() -> Iterator[Watch]:
    """Collect the reports of this process until the block ends."""
    watch = Watch()
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.remove(watch)


def report(done: int, total: int, unit: str, detail: str = "") -> None:
    """Say how far the work at hand is."""
    for watch in _watches:
        watch.reported = Progress(done, total, unit, detail)


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Have the engine count the progress of this connection's queries, where somebody watches."""
    if _watches:
        connection.execute("set enable_progress_bar = true; set enable_progress_bar_print = false")
    for watch in _watches:
        watch.connections.add(connection)
