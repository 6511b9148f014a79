"""Measuring for benchmarks: processor seconds and peak memory of a child process, and the file of the results."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
BEGAN = time.monotonic()


@dataclass(frozen=True)
class Measured:
    """One command: wall and processor seconds of it and its children, and the largest process in MiB.

    ``marks`` are the seconds from its start to each mark that it printed.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float
    marks: tuple[float, ...] = ()

    def figures(self) -> dict[str, float]:
        """Wall and processor seconds and peak memory, as the results name them."""
        return {"wall_seconds": self.wall_seconds, "cpu_seconds": self.cpu_seconds, "peak_mib": self.peak_mib}


@contextmanager
def bench_place(name: str, shop: str) -> Iterator[Path]:
    """An empty folder for the place of a shop, which the environment names; removed at the end. ``BENCH_DIR`` says where."""
    with tempfile.TemporaryDirectory(prefix=f"customer360-{name}-", dir=os.environ.get("BENCH_DIR")) as folder:
        root = Path(folder) / "place"
        root.mkdir()
        os.environ |= {"DATA_DIR": str(root), "SHOP": shop, "DAGSTER_HOME": str(root / "dagster")}
        yield root


def run_module(module: str, *arguments: str, mark: str | None = None) -> Measured:
    """Run ``python -m module`` to its end and measure it; a line that is ``mark`` counts as one.

    Raises ``RuntimeError`` with the end of its errors when it fails.
    """
    command = [sys.executable, "-m", module, *arguments]
    with tempfile.TemporaryFile("w+") as errors:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)  # noqa: S603  own module
        marks = [time.monotonic() - started for line in process.stdout or () if line.rstrip() == mark]
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        if status:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{errors.read()[-2000:]}")
    return Measured(wall, usage.ru_utime + usage.ru_stime, _mib(usage), tuple(marks))


def output_of(module: str, *arguments: str) -> str:
    """The output of ``python -m module``. Raises ``RuntimeError`` with the end of its errors when it fails."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  own module
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def progress(step: str) -> None:
    """Print what is done or begins, after the seconds since the benchmark began."""
    print(f"{time.monotonic() - BEGAN:5.0f} s  {step}", flush=True)


def _rounded(value: float | Mapping[str, float]) -> float | dict[str, float]:
    if isinstance(value, Mapping):
        return {key: round(figure, 4) for key, figure in value.items()}
    return (
        round(value, 3) if abs(value) >= 0.1 else float(f"{value:.4g}")
    )  # of a click-through of .0137 three digits are too few


def _mib(usage: resource.struct_rusage) -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit / 2**20


def write_result(name: str, figures: Mapping[str, float | Mapping[str, float]]) -> Path:
    """Write figures, or figures by shop, to ``benchmarks/results/<name>.json`` and print them."""
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{name}.json"
    text = json.dumps({key: _rounded(value) for key, value in figures.items()}, indent=2)
    target.write_text(text + "\n", encoding="utf-8")
    print(text)
    return target
