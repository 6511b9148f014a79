"""A published Customer 360 ETL on Spark (``spark``; ``spark_lean``: tuned), on pandas and on DuckDB, timed in one run.

Each engine is a process that works on two slices: ``cold_seconds`` is from its start to the first slice's file,
``warm_seconds`` the second slice, ``cpu_seconds`` all of it. Pandas and DuckDB run before, between and after the Spark runs,
and their medians count, because the load of the machine varies. Figures are written only if all wrote the same profiles.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

import pandas as pd

from benchmarks.measuring import Measured, run_module, write_result
from benchmarks.reference.columns import DONE, SLICES
from benchmarks.reference.inputs import published, write_inputs

ENGINES = ("duckdb", "pandas", "spark", "spark_lean")
SHORT = ("duckdb", "pandas")
ORDER = (*SHORT, "spark", *SHORT, "spark_lean", *SHORT)


def main() -> None:
    """Run all, compare what they wrote, write the figures."""
    source = published()
    _require_spark()
    with tempfile.TemporaryDirectory(prefix="customer360-bench-", dir=os.environ.get("BENCH_DIR")) as folder:
        figures: dict[str, float] = {"messages": write_inputs(source, Path(folder))}
        runs: dict[str, list[Measured]] = {engine: [] for engine in ENGINES}
        figures["load_before"] = os.getloadavg()[0]
        for engine in ORDER:
            runs[engine].append(_run(engine, folder))
        figures["load_after"] = os.getloadavg()[0]
        figures["customers"] = _same_profiles(Path(folder))
    for engine, measured in runs.items():
        figures |= _figures(engine, measured)
    for engine in ENGINES[1:]:
        for what in ("cold", "warm", "cpu"):
            figures[f"{engine}_to_duckdb_{what}"] = figures[f"{engine}_{what}_seconds"] / figures[f"duckdb_{what}_seconds"]
    write_result("reference", figures)


def _require_spark() -> None:
    if importlib.util.find_spec("pyspark") is None:
        sys.exit("PySpark is missing: `make bench NAME=reference` installs it, or `pip install --editable '.[spark]'`")
    if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
        sys.exit("Java, which Spark needs, is missing: apt-get install default-jre-headless (17 or newer)")


def _run(engine: str, folder: str) -> Measured:
    module, *more = ("spark", "lean") if engine == "spark_lean" else (engine,)
    return run_module(f"benchmarks.reference.etl_{module}", folder, *more, mark=DONE)


def _figures(engine: str, runs: list[Measured]) -> dict[str, float]:
    return {
        f"{engine}_cold_seconds": median(run.marks[0] for run in runs),
        f"{engine}_warm_seconds": median(run.marks[1] - run.marks[0] for run in runs),
        f"{engine}_cpu_seconds": median(run.cpu_seconds for run in runs),
    }


def _same_profiles(folder: Path) -> int:
    """The customers that every engine wrote the same of, column by column; raises ``AssertionError`` where one differs."""
    for number in SLICES:
        ours, *others = (pd.read_csv(folder / f"{engine}_{number}.csv") for engine in ENGINES)
        for other in others:
            sorted_other = other.sort_values("customerID", ignore_index=True)
            pd.testing.assert_frame_equal(sorted_other, ours, check_exact=True, check_dtype=False)
    return len(ours)


if __name__ == "__main__":
    main()
