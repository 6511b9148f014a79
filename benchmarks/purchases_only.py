"""A shop of purchases alone: two years, a million order lines, through the history load, training, a slice and the nightly job.

``python -m benchmarks.purchases_only 100k`` for another size. The files are those of the generated retailer, as reference
tables. Jobs run as the daemon runs them: ``history_job``, ``training_job``, ``slice_job`` with 200 order lines of that slice as
purchase events, ``warehouse_job`` (the nightly job) after purchases.csv was replaced by one with a day's orders more, and
``daily_job``. ``<job>_cpu_seconds`` stands beside ``<job>_seconds`` (wall): on a shared machine a wall time says little.

Then the query of every model is run at a tenth of the size and at the full size: ``growth_<model>`` is the ratio of their
processor seconds, of the models that take more than ten times as long.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from benchmarks.compiled import write_compiled
from benchmarks.daemon_run import DaemonRuns, daemon_runs
from benchmarks.measuring import Measured, bench_place, output_of, write_result
from customer360.lake.atomic import write_text
from customer360.lake.slices import slice_folder, slice_key
from customer360.settings import REPOSITORY, Settings
from customer360.simulation import Retailer, SimulatedRetailer, simulate_retailer
from customer360.simulation.writing import write_csv

SHOP = REPOSITORY / "tests" / "shops" / "retailer"
SIZES = {"100k": 100_000, "1m": 1_000_000}
CUSTOMERS_PER_LINE = 0.006
STEP = 10
# Processor seconds below this are mostly those of the statement itself, whatever its rows.
SHORTEST_SECONDS = 0.1
SLICE_LINES = 200
NAMES = {
    "history_job": "history",
    "training_job": "training",
    "slice_job": "slice",
    "warehouse_job": "nightly",
    "daily_job": "daily",
}


def main() -> None:
    """Measure the sizes that are named as arguments, or a million lines."""
    for name in sys.argv[1:] or ["1m"]:
        with retailer(SIZES[name] // STEP) as place:
            small = run_jobs(place)[1]
        with retailer(SIZES[name]) as place:
            figures, large = run_jobs(place)
        growth = {model: cpu / max(small[model], SHORTEST_SECONDS) for model, cpu in large.items()}
        figures |= {f"growth_{model}": ratio for model, ratio in sorted(growth.items()) if ratio > STEP}
        write_result("purchases_only" if name == "1m" else f"purchases_only_{name}", figures)


@contextmanager
def retailer(lines: int) -> Iterator[tuple[Settings, SimulatedRetailer]]:
    """A place with the retailer's files but the last day's orders. The environment names it; it is removed at the end."""
    with bench_place("purchases", str(SHOP)) as root:
        settings = Settings.load(SHOP, root)
        customers = round(lines * CUSTOMERS_PER_LINE)
        simulated = simulate_retailer(Retailer(lines=lines, customers=customers, lines_per_order=14))
        for name in ("purchases", "products", "customers"):
            _land(settings, name, simulated, is_complete=False)
        yield settings, simulated


def _land(settings: Settings, name: str, simulated: SimulatedRetailer, *, is_complete: bool) -> None:
    """Write a table's file; of incomplete purchases the last day is missing."""
    frame = getattr(simulated, name)
    if name == "purchases" and not is_complete:
        frame = frame[frame["purchased_at"] < frame["purchased_at"].max() - timedelta(days=1)]
    write_csv(settings.place.landing / "reference" / name / f"{name}.csv", frame)


def run_jobs(place: tuple[Settings, SimulatedRetailer]) -> tuple[dict[str, float], dict[str, float]]:
    """Figures of the jobs and of the place they leave, and the processor seconds of each model."""
    settings, simulated = place
    with daemon_runs() as runs:
        measured = _jobs(settings, simulated, runs)
    figures = {"lines": float(len(simulated.lines)), "customers": float(len(simulated.customers))}
    for job, found in measured.items():
        figures |= {
            f"{NAMES[job]}_seconds": found.wall_seconds,
            f"{NAMES[job]}_cpu_seconds": found.cpu_seconds,
            f"{NAMES[job]}_peak_mib": found.peak_mib,
        }
    published = (settings.place.published / "current").resolve()
    figures["warehouse_mib"] = settings.place.warehouse.stat().st_size / 2**20
    figures["published_mib"] = sum(path.stat().st_size for path in published.rglob("*") if path.is_file()) / 2**20
    compiled = settings.place.root.with_name("compiled")
    write_compiled(settings, compiled)
    times = json.loads(output_of("benchmarks.model_times", str(compiled)).splitlines()[-1])
    models = {model: float(cpu) for model, (_, cpu) in times.items()}
    return {**figures, "models_cpu_seconds": sum(models.values())}, models


def _jobs(settings: Settings, simulated: SimulatedRetailer, runs: DaemonRuns) -> dict[str, Measured]:
    shop = settings.shop
    first = slice_key(shop.slices_start)
    measured = {
        "history_job": runs.run("history_job", slice_key(shop.slices_start - shop.slice_width)),
        "training_job": runs.run("training_job"),
    }
    write_text(
        slice_folder(settings.place.landing / "clicks", shop.slices_start) / "orders.jsonl", _events(settings, simulated)
    )
    measured["slice_job"] = runs.run("slice_job", first)
    _land(settings, "purchases", simulated, is_complete=True)
    measured["warehouse_job"] = runs.run("warehouse_job", first)
    measured["daily_job"] = runs.run("daily_job", f"{shop.slices_start.astimezone(shop.zone):%Y-%m-%d}")
    return measured


def _events(settings: Settings, simulated: SimulatedRetailer) -> str:
    """Order lines of the first slice as purchase events: the last lines of the file, under ids and at times of their own."""
    sold = simulated.lines[~simulated.lines["is_return"] & simulated.lines["customer_id"].notna()].tail(SLICE_LINES)
    start, width = settings.shop.slices_start, settings.shop.slice_width
    events = [
        {
            "event_id": f"e-{number}",
            "event_name": "purchase",
            "event_at": (start + number * width / SLICE_LINES).isoformat(),
            "customer_id": line.customer_id,
            "product_id": line.product_id,
            "order_id": f"web-{line.order_id}",
            "line_no": number,
            "quantity": int(line.quantity),
            "amount": line.cents / 100,
        }
        for number, line in enumerate(sold.itertuples())
    ]
    return "".join(json.dumps(event) + "\n" for event in events)


if __name__ == "__main__":
    main()
