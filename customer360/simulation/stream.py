"""Writes the files of slice after slice, in real time or sped up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from customer360.lake.landing.listing import slice_folders
from customer360.lake.slices import slice_folder
from customer360.settings import Place, Shop
from customer360.simulation.arrays import Keys, microseconds
from customer360.simulation.events import Events
from customer360.simulation.faults import Faults
from customer360.simulation.parameters import Simulation, SimulationError
from customer360.simulation.reactions import Reactions, sent_contacts
from customer360.simulation.slices import slice_files, slice_report
from customer360.simulation.synthetic_shop import SyntheticShop
from customer360.simulation.truth import write_faults
from customer360.simulation.writing import write_bytes


@dataclass(frozen=True)
class ArrivedFile:
    """A file that has just been written, and what is in it."""

    path: Path
    slice_start: datetime
    report: dict[str, Any]


def next_slice(shop: Shop, place: Place) -> datetime:
    """The slice after the last one that has a folder in landing; the shop's first one where there is none."""
    present = [start for start, _ in slice_folders(place.landing)]
    return max(max(present) + shop.slice_width, shop.slices_start) if present else shop.slices_start


def stream(
    simulation: Simulation,
    shop: Shop,
    place: Place,
    start: datetime | None = None,
    *,
    speed: float = 1.0,
    faults: Faults | None = None,
    parts: int = 3,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[ArrivedFile]:
    """Write the files of slice after slice from ``start`` on (by default after the last one in landing), for ever.

    A slice takes its own length divided by ``speed``; each producer writes ``parts`` files through it. ``clock`` counts
    seconds. Customers react to what the place's ledger says was sent, as it stands when a slice begins; what comes of contacts
    that were made in the middle of a slice is in the files of the next one.

    Yields every file once it is written. Stop it by closing the generator or by KeyboardInterrupt: no half file stays.
    Raises ``SimulationError`` where ``speed`` or ``parts`` make no sense.
    """
    if speed <= 0 or parts < 1:
        raise SimulationError(f"speed must be above 0 and parts at least 1; got {speed} and {parts}")
    synthetic = SyntheticShop.build(simulation, shop)
    first = start or next_slice(shop, place)
    began = clock()
    slice_start = first
    known: Keys | None = None
    while True:
        reactions = Reactions.to(sent_contacts(place), synthetic)
        overdue = _overdue(reactions, known, slice_start)
        known = reactions.contacts.key
        produced = slice_files(synthetic, slice_start, faults or Faults(), parts, reactions=reactions, overdue=overdue)
        for file in produced:
            due = began + (file.due - first) / timedelta(seconds=1) / speed
            wait = due - clock()
            if wait > 0:
                sleep(wait)
            path = slice_folder(place.landing / "clicks", slice_start) / file.name
            write_bytes(path, file.content)
            yield ArrivedFile(path, slice_start, file.report)
        write_faults(place, slice_start, slice_report(slice_start, produced))
        slice_start += shop.slice_width


def _overdue(reactions: Reactions, known: Keys | None, slice_start: datetime) -> Events | None:
    """What contacts that have become known since the last slice began had led to before this one; None for the first slice."""
    if known is None:
        return None
    new, start = ~np.isin(reactions.contacts.key, known), microseconds(slice_start)
    if not new.any():
        return None
    return reactions.between(int(reactions.contacts.sent_at[new].min()), start, new)
