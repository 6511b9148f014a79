"""One natural slice of 6,000 to 1,000,000 customers with 60 days of history, run as the daemon runs it.

``python -m benchmarks.customers 6k 60k`` for some sizes. The history is made at slice grain (``enlarged``), then
``history_job`` brings the place up to it (``history_*``). What is measured is the slice after it: its time, memory, and the
size of what it leaves. The champion is the one trained on the simulated customers.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.enlarged import enlarge, enlarge_landed
from benchmarks.measuring import write_result
from benchmarks.prepared import Prepared, prepared
from customer360.lake.publishing.version import current_publication
from customer360.lake.slices import slice_key
from customer360.simulation import Simulation, simulate_slice

SIMULATED = 6_000
SIZES = {"6k": 1, "60k": 10, "250k": 42, "1m": 167}


def main() -> None:
    """Measure each size, or only those that are named as arguments."""
    selected = sys.argv[1:] or list(SIZES)
    figures: dict[str, float] = {}
    with prepared(Simulation(customers=SIMULATED)) as place:
        for name in selected:
            figures |= {f"{key}_{name}": value for key, value in measured(place, SIZES[name]).items()}
            write_result("customers", figures)


def measured(place: Prepared, times: int) -> dict[str, float]:
    """A slice of ``times`` the simulated customers."""
    settings = place.settings
    place.restore()
    enlarge(settings, times)
    loaded = place.runs.run("history_job", slice_key(settings.shop.slices_start - settings.shop.slice_width))
    simulate_slice(Simulation(customers=SIMULATED), settings.shop, settings.place, settings.shop.slices_start)
    events = enlarge_landed(settings, times)
    slice_run = place.slice()
    published = current_publication(settings.place)
    if published is None:
        raise RuntimeError("the slice published nothing")
    return {
        "customers": published.rows["customer_features"],
        "events": events,
        **slice_run.figures(),
        "history_wall_seconds": loaded.wall_seconds,
        "history_peak_mib": loaded.peak_mib,
        "warehouse_mib": settings.place.warehouse.stat().st_size / 2**20,
        "published_mib": _mib(settings.place.published / "current"),
    }


def _mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.resolve().rglob("*") if path.is_file()) / 2**20


if __name__ == "__main__":
    main()
