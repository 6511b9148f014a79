"""Bytes that a ``daily_job`` of 60,000 customers writes, at this commit and before unchanged tables were linked.

``python -m benchmarks.publish``. The place is made once, by the code of ``BEFORE``. Both commits run the same job on a copy of
it: reference tables, outcomes, plans and results of all campaigns, drift report. So this commit opens a place of the release
before. ``BENCH_PLACE`` names a folder that keeps the place for the next time.

What counts is ``wchar`` of ``/proc/<pid>/io``: the bytes that a process gave to ``write`` and its kin, logs and pipes included,
whichever file system is below and whenever the kernel flushes. ``write_bytes``, what was marked to go to a disk, is given too
(0 on a tmpfs). The kernel adds a child's counts to its parent's when the parent waits for it: the run is a child of the
template process, and this process is the subreaper of children whose parent ended first. So the sum over these two processes
holds the whole tree.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.daemon_run import daemon_runs
from benchmarks.enlarged import enlarge, enlarge_landed
from benchmarks.measuring import write_result
from benchmarks.prepared import prepared
from customer360.lake.slices import slice_key
from customer360.settings import Settings
from customer360.simulation import Simulation, simulate_slice

BEFORE = "8fc0e46"
CUSTOMERS, SIMULATED = 60_000, 6_000
REPOSITORY = Path(__file__).parents[1]
COUNTERS = ("wchar", "write_bytes")
SET_CHILD_SUBREAPER = 36  # of prctl(2)


def main() -> None:
    """Make the place, run the job with either code, write the figures."""
    with tempfile.TemporaryDirectory(prefix="customer360-bench-", dir=os.environ.get("BENCH_DIR")) as scratch:
        folder = Path(scratch)
        extract(BEFORE, folder / "before")
        kept = Path(os.environ.get("BENCH_PLACE", folder / "kept"))
        if not kept.exists():
            step(folder / "before", "make_place", kept)
        before = measured(folder, folder / "before", kept)
        after = measured(folder, REPOSITORY, kept)
    write_result(
        "publish",
        {
            "customers": CUSTOMERS,
            "daily_job_bytes_before": before["wchar"],
            "daily_job_bytes": after["wchar"],
            "daily_job_ratio": after["wchar"] / before["wchar"],
            "daily_job_disk_bytes_before": before["write_bytes"],
            "daily_job_disk_bytes": after["write_bytes"],
            "daily_job_wall_seconds_before": before["wall_seconds"],
            "daily_job_wall_seconds": after["wall_seconds"],
            "daily_job_cpu_seconds_before": before["cpu_seconds"],
            "daily_job_cpu_seconds": after["cpu_seconds"],
        },
    )


def extract(commit: str, target: Path) -> None:
    """The files of a commit. Raises ``RuntimeError`` where this clone does not have it."""
    archive = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, capture_output=True, check=False)  # noqa: S603, S607  git of the path
    if archive.returncode:
        raise RuntimeError(f"commit {commit} is not in this clone: run git fetch --unshallow, or clone it whole")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(target, filter="data")


def measured(folder: Path, code: Path, kept: Path) -> dict[str, float]:
    """The job on a copy of the place, always at the same path."""
    root = folder / "place"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(kept, root, symlinks=True)
    figures: dict[str, float] = json.loads(step(code, "run_daily_job", root).splitlines()[-1])
    return figures


def step(code: Path, function: str, root: Path) -> str:
    """Call a function of this file with the packages of ``code``; what it prints. Raises ``RuntimeError`` when it fails."""
    environment = os.environ | {"PYTHONPATH": str(code), "SHOP": "synthetic", "DATA_DIR": str(root)}
    environment["DAGSTER_HOME"] = str(root / "dagster")
    command = [sys.executable, "-P", __file__, function, str(root)]
    done = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  own module
    if done.returncode:
        raise RuntimeError(f"{function} with {code} failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def make_place(root: Path, customers: int = CUSTOMERS) -> None:
    """A shop with 60 days of history, models, a slice, and a day's plans and drift report, so that the day is one of many."""
    simulation = Simulation(customers=min(SIMULATED, customers))
    times = customers // simulation.customers
    with prepared(simulation) as place:
        settings = place.settings
        shop = settings.shop
        enlarge(settings, times)
        place.runs.run("history_job", slice_key(shop.slices_start - shop.slice_width))
        simulate_slice(simulation, shop, settings.place, shop.slices_start)
        enlarge_landed(settings, times)
        place.slice()
        place.runs.run("daily_job", published_day(place.root))
        shutil.rmtree(root, ignore_errors=True)  # the import of the definitions left dbt's manifest there
        shutil.copytree(place.root, root, symlinks=True)


def run_daily_job(root: Path) -> None:
    """Run the job for the published day, as the daemon does, and print what it took."""
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with daemon_runs() as runs:
        processes = (os.getpid(), runs.template.process.pid)
        start = [counters(process) for process in processes]
        run = runs.run("daily_job", published_day(root))
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        end = [counters(process) for process in processes]
    figures = {name: sum(last[name] - first[name] for first, last in zip(start, end, strict=True)) for name in COUNTERS}
    print(json.dumps({**figures, "wall_seconds": run.wall_seconds, "cpu_seconds": run.cpu_seconds}))


def published_day(root: Path) -> str:
    """Partition of the published day, shop-local; read from the files, which are the same in both releases."""
    document = json.loads((root / "published" / "current" / "version.json").read_text(encoding="utf-8"))
    shop = Settings.from_environment().shop
    return f"{datetime.fromisoformat(document['as_of']).replace(tzinfo=UTC).astimezone(shop.zone):%Y-%m-%d}"


def counters(process: int) -> dict[str, int]:
    """What a process and its children that it waited for have written."""
    lines = Path(f"/proc/{process}/io").read_text(encoding="utf-8").splitlines()
    values = dict(line.split(": ") for line in lines)
    return {name: int(values[name]) for name in COUNTERS}


if __name__ == "__main__":
    if len(sys.argv) > 2:
        {"make_place": make_place, "run_daily_job": run_daily_job}[sys.argv[1]](Path(sys.argv[2]))
    else:
        main()
