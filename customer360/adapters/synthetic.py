"""The synthetic shop as landing files: a history, then live slices, one of them with late, copied and bad lines."""

from __future__ import annotations

from customer360.settings import Place, Shop
from customer360.simulation import Faults, Simulation, simulate_history, simulate_slice

LIVE_SLICES = 4
FAULTY_SLICE = 2


def write_landing(shop: Shop, place: Place) -> dict[str, int]:
    """Write 60 days of 6,000 customers and five slices; the fifth closes the fourth. The third has late, copied and bad lines.

    Returns counts of what was written.
    """
    simulation = Simulation()
    history = simulate_history(simulation, shop, place)
    lines = 0
    for number in range(LIVE_SLICES + 1):
        faults = Faults.everyday() if number == FAULTY_SLICE else None
        made = simulate_slice(simulation, shop, place, shop.slices_start + number * shop.slice_width, faults)
        lines += made["total"]["lines"]
    return {"history_events": history["events"], "live_lines": lines, "touches": history["touches"]}
