"""One slice of the reference load, 201,000 events, on 60 days of 6,000 customers: the whole job beside the bare engine work.

``cpu_seconds`` is a process that imports Dagster and runs ``slice_job`` to the published tables, dbt included;
``import_cpu_seconds`` is the import alone. ``bare_cpu_seconds`` is one script that reads the same files with DuckDB and
aggregates them, without contract, history or publishing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from benchmarks.measuring import run_module, write_result
from customer360.lake.slices import slice_key
from customer360.settings import REPOSITORY, Settings
from customer360.simulation import Simulation, simulate_history, simulate_slice

EVENTS = 201_000


def main() -> None:
    """Prepare a place, run the slice and the bare script, and write the figures."""
    root = Path(tempfile.mkdtemp(prefix="customer360-bench-"))
    try:
        settings = Settings.load(REPOSITORY / "shops" / "synthetic", root)
        start = settings.shop.slices_start
        simulate_history(Simulation(), settings.shop, settings.place)
        load = Simulation(events_per_slice=EVENTS, flat=True)
        events = simulate_slice(load, settings.shop, settings.place, start)["total"]["events"]
        os.environ |= {"DATA_DIR": str(root), "SHOP": "synthetic", "DAGSTER_HOME": str(root / "dagster")}
        key, history_key = slice_key(start), slice_key(start - settings.shop.slice_width)
        run_module("benchmarks.one_run", "history_job", history_key)
        run_module("benchmarks.one_run", "training_job", "")
        imported = run_module("benchmarks.one_run", "", "")
        whole = run_module("benchmarks.one_run", "slice_job", key)
        bare = run_module("benchmarks.bare_slice", str(settings.place.landing / "clicks"))
        write_result(
            "slice",
            {
                "events": events,
                "wall_seconds": whole.wall_seconds,
                "cpu_seconds": whole.cpu_seconds,
                "import_cpu_seconds": imported.cpu_seconds,
                "bare_wall_seconds": bare.wall_seconds,
                "bare_cpu_seconds": bare.cpu_seconds,
                "ratio_to_bare": whole.cpu_seconds / bare.cpu_seconds,
                "peak_mib": whole.peak_mib,
            },
        )
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
