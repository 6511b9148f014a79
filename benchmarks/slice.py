"""One slice of the reference load, 201,000 events, and ten and a hundred times that, on 60 days of 6,000 customers.

``cpu_seconds`` is ``slice_job`` as the daemon runs it, from its submission to the published tables: a fork of the warm
template, whose start cost ``template_cpu_seconds`` once. ``bare_cpu_seconds`` is the same engine work in one script without
Dagster and dbt, its imports included.
"""

from __future__ import annotations

import sys

from benchmarks.compiled import write_compiled
from benchmarks.measuring import run_module, write_result
from benchmarks.prepared import Prepared, prepared
from customer360.simulation import Simulation

EVENTS = 201_000
SIZES = {"": 1, "_10x": 10, "_100x": 100}


def main() -> None:
    """Measure each size, or only those that are named as arguments (1, 10, 100)."""
    selected = [int(size) for size in sys.argv[1:]] or list(SIZES.values())
    with prepared(Simulation()) as place:
        figures = {"template_cpu_seconds": place.runs.import_cpu_seconds}
        for suffix, times in SIZES.items():
            if times in selected:
                figures |= {f"{name}{suffix}": value for name, value in measured(place, times).items()}
        write_result("slice", figures)


def measured(place: Prepared, times: int) -> dict[str, float]:
    """The product's run and the bare script on the same place and files."""
    place.restore()
    events = place.land(Simulation(events_per_slice=EVENTS, flat=True), times)
    slice_run = place.slice()
    compiled = place.root.with_name(f"compiled_{times}")
    write_compiled(place.settings, compiled)
    place.restore()
    place.land(Simulation(events_per_slice=EVENTS, flat=True), times)
    bare = run_module("benchmarks.bare_slice", str(compiled))
    return {
        "events": events,
        **slice_run.figures(),
        "bare_wall_seconds": bare.wall_seconds,
        "bare_cpu_seconds": bare.cpu_seconds,
        "bare_peak_mib": bare.peak_mib,
        "ratio_to_bare": slice_run.cpu_seconds / bare.cpu_seconds,
    }


if __name__ == "__main__":
    main()
