"""False alarms over 90 days without drift, 60 planted drifts, and what a retraining recovers.

``python -m benchmarks.drift [clean | planted | recovered]`` runs one part; each result is printed as it comes. The product's
functions make one report a day at the same hour; no HTML is drawn. A drift counts as caught where two reports in a row alarm by
the third day after it. What a retraining recovers is (stale - retrained) / (stale - new_world) of the log losses on the horizon
after it: ``retrained`` serves after the gate has judged the training that the alarms ask for (the second repetition, two
horizons after the first); ``new_world`` is trained only on data from after the drift.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import duckdb
import pandas as pd

from benchmarks.drifting_shop import DAY, SimulatedShop, kept_scores, losses, simulated_shop
from benchmarks.measuring import write_result
from customer360.settings import REPOSITORY, Settings
from customer360.simulation import Drift, Simulation
from ml.monitoring.alarms import alarming_columns, found_change
from ml.monitoring.daily import early_performance, reported_limits
from ml.monitoring.reference import Reference, make_reference, reference_period
from ml.monitoring.report import METRIC_COLUMNS, metrics_of, model_samples
from ml.monitoring.samples import PERFORMANCE
from ml.monitoring.thresholds import FIXED
from ml.monitoring.windows import WindowReader
from ml.versions.model_store import LoadedModel

CUSTOMERS = 6_000
BEFORE = 78  # days of history when the champion is trained: five cut-offs, each with RFM windows of 60 days nearly full
SWAP = "category swap"
KINDS = {
    "traffic mix": partial(Drift, traffic_mix=1.5),
    "price level": partial(Drift, price_level=1.2),
    SWAP: partial(Drift, bought_swap=("computers", "fitness")),
}
SEEDS, CLEAN_SEED = range(1, 21), 900
CLEAN_DAYS, WARM_UP = 90, 30
CAUGHT_WITHIN = 3
RECOVERED_SEEDS = range(1, 7)


def main() -> None:
    """Run all of it, or the parts that are named; both cores are kept busy to the end."""
    selected = sys.argv[1:] or ["clean", "planted", "recovered"]
    figures: dict[str, float] = {}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as workers:
        calm = [workers.submit(clean, CLEAN_SEED)] if "clean" in selected else []
        trainings = [workers.submit(recovered, seed) for seed in RECOVERED_SEEDS] if "recovered" in selected else []
        drifts = [workers.submit(planted, kind, seed) for seed in SEEDS for kind in KINDS] if "planted" in selected else []
        jobs = [*calm, *trainings, *drifts]
        for number, job in enumerate(as_completed(jobs), 1):
            print(f"{number} of {len(jobs)}: {job.result()}", flush=True)
        if trainings:
            figures |= shares([job.result() for job in trainings])
        if drifts:
            figures |= catches([job.result() for job in drifts])
        if calm:
            figures |= calm[0].result()
    write_result("drift", figures)


def catches(runs: list[dict[str, object]]) -> dict[str, float]:
    """How many drifts were caught, in all and by kind, and on which day."""
    found = pd.DataFrame(runs)
    print(found.to_string())
    figures = {"caught": float(found["is_caught"].sum()), "runs": float(len(found))}
    for kind, rows in found.groupby("kind"):
        name = str(kind).replace(" ", "_")
        figures |= {f"caught_{name}": float(rows["is_caught"].sum()), f"mean_day_{name}": float(rows["day"].mean())}
    return figures


def shares(runs: list[dict[str, float]]) -> dict[str, float]:
    """The share of the gap that retraining closed, over all worlds, and the mean losses."""
    found = pd.DataFrame(runs)
    print(found.to_string())
    closed = (found["stale"] - found["retrained"]).sum() / (found["stale"] - found["new_world"]).sum()
    figures = {"recovered_share": float(closed), "recovered_runs": float(len(found))}
    return figures | {f"log_loss_{name}": float(found[name].mean()) for name in ("stale", "retrained", "new_world")}


@dataclass
class Monitor:
    """Drift reports on a simulated shop as of any day, by one champion and one reference."""

    simulated: SimulatedShop
    loaded: LoadedModel
    training: pd.DataFrame
    reader: WindowReader
    reference: Reference
    history: pd.DataFrame

    @classmethod
    def start(
        cls,
        simulated: SimulatedShop,
        loaded: LoadedModel,
        training: pd.DataFrame,
        trained_at: datetime,
        connection: duckdb.DuckDBPyConnection,
    ) -> Monitor:
        """With the reference that the first report after a training at ``trained_at`` makes."""
        reader = WindowReader(connection, simulated.settings.shop, simulated.end, 0)
        period = reference_period(trained_at, (), simulated.end - simulated.days * DAY)
        if period is None:
            raise RuntimeError("the history is too short for a reference")
        return cls(
            simulated, loaded, training, reader, make_reference(reader, period), pd.DataFrame(columns=list(METRIC_COLUMNS))
        )

    def report(self, as_of: datetime, features: pd.DataFrame | None) -> pd.DataFrame:
        """The metrics of a day, which become part of the history. Without ``features`` the model's own columns are left out."""
        day_no = (self.simulated.end - as_of) // DAY
        limits = self.reference.limits()
        performance = early_performance(self.reader.connection, self.loaded, self.training, as_of, day_no)
        samples = self.reference.samples(self.reader, day_no)
        if features is not None:
            samples += model_samples(features, self.training, self.loaded, 0)
            limits |= reported_limits(self.history, self.loaded.version)
        metrics = metrics_of(samples, limits, performance, {}).assign(
            report_date=pd.Timestamp(as_of.date()), as_of=pd.Timestamp(as_of), model_version=self.loaded.version
        )
        parts = [self.history, metrics[list(METRIC_COLUMNS)]] if len(self.history) else [metrics[list(METRIC_COLUMNS)]]
        self.history = pd.concat(parts, ignore_index=True).astype(METRIC_COLUMNS)
        return metrics


def clean(seed: int) -> dict[str, float]:
    """Days with an alarm in 90 days without drift, by learned thresholds and by the fixed .1, all by one champion."""
    simulation = Simulation(customers=CUSTOMERS, days=BEFORE + WARM_UP + CLEAN_DAYS, seed=seed)
    with simulated_shop(simulation) as simulated:
        trained_at = simulated.end - (WARM_UP + CLEAN_DAYS) * DAY
        frame = simulated.training_frame(trained_at)
        loaded, _ = simulated.train(frame)
        moments = [trained_at + number * DAY for number in range(WARM_UP + CLEAN_DAYS + 1)]
        features = simulated.features(moments)
        with simulated.published(kept_scores(features, loaded)) as connection:
            monitor = Monitor.start(simulated, loaded, frame, trained_at, connection)
            for moment in moments[1:]:
                monitor.report(moment, features[features["as_of"] == moment])
        history = monitor.history
    judged = moments[1 + WARM_UP :]
    fixed = history.assign(is_drifted=history["value"] >= FIXED, is_learned=True)
    fixed = fixed[~fixed["kind"].isin([PERFORMANCE])]
    found = {name: alarm_days(rows, judged) for name, rows in (("learned", history), ("fixed", fixed))}
    print({name: {str(day.date()): columns for day, columns in days.items()} for name, days in found.items()})
    return {
        "false_alarms_90_days": float(episodes(found["learned"], judged)),
        "false_alarms_fixed_threshold": float(episodes(found["fixed"], judged)),
        "alarm_days_fixed_threshold": float(len(found["fixed"])),
        "columns": float(history.groupby("report_date").size().iloc[-1]),
    }


def alarm_days(history: pd.DataFrame, days: Sequence[datetime]) -> dict[datetime, list[str]]:
    """The days whose report alarmed, with the columns."""
    found = {}
    for day in days:
        columns = alarming_columns(history[history["as_of"] <= pd.Timestamp(day)])
        if columns:
            found[day] = columns
    return found


def episodes(alarms: dict[datetime, list[str]], days: Sequence[datetime]) -> int:
    """How often an alarm began."""
    return sum(day in alarms and day - DAY not in alarms for day in days)


def planted(kind: str, seed: int) -> dict[str, object]:
    """One drift, and the day after it on which the reports alarmed."""
    days = BEFORE + CAUGHT_WITHIN
    start = _end() - CAUGHT_WITHIN * DAY
    drift = KINDS[kind](start.replace(tzinfo=UTC))
    simulation = Simulation(customers=CUSTOMERS, days=days, seed=seed, drift=drift)
    with simulated_shop(simulation) as simulated:
        day, _, columns = _first_alarm(simulated, start, CAUGHT_WITHIN)
    return {"kind": kind, "seed": seed, "is_caught": day is not None, "day": day, "columns": ", ".join(columns[:3])}


def _first_alarm(simulated: SimulatedShop, start: datetime, within: int) -> tuple[int | None, Monitor, list[str]]:
    frame = simulated.training_frame(start)
    loaded, _ = simulated.train(frame)
    moments = [start + number * DAY for number in range(-1, within + 1)]
    features = simulated.features(moments[:-1])  # a report looks at the scores of the day before
    with simulated.published(kept_scores(features, loaded)) as connection:
        monitor = Monitor.start(simulated, loaded, frame, start, connection)
        for moment in moments[1:]:
            monitor.report(moment, None)
            columns = alarming_columns(monitor.history)
            if columns and moment > start:
                return (moment - start) // DAY, monitor, columns
    return None, monitor, []


def recovered(seed: int) -> dict[str, float]:
    """Log losses on the horizon after a retraining: of the stale, the retrained and the after-drift model."""
    shop = Settings.load(REPOSITORY / "shops" / "synthetic", Path("unused")).shop
    horizon = timedelta(days=shop.label_horizon_days)
    after = CAUGHT_WITHIN * DAY + 3 * horizon + DAY
    start = _end() - after
    drift = KINDS[SWAP](start.replace(tzinfo=UTC))
    days = BEFORE + after // DAY
    with simulated_shop(Simulation(customers=CUSTOMERS, days=days, seed=seed, drift=drift)) as simulated:
        day, monitor, _ = _first_alarm(simulated, start, CAUGHT_WITHIN)
        change = found_change(monitor.history, [])
        if day is None or change is None:
            raise RuntimeError(f"seed {seed}: the drift was not caught, so nothing asks for a training")
        retrained_at = start + day * DAY + 2 * horizon  # asked for at the alarm, then once a horizon: the third time
        fresh, decision = simulated.train(simulated.training_frame(retrained_at, [change.since]), monitor.loaded)
        serving = fresh if decision.is_promoted else monitor.loaded
        rows = simulated.features([retrained_at])
        found = {"stale": losses(monitor.loaded, rows).mean(), "retrained": losses(serving, rows).mean()}
    always = KINDS[SWAP]((start - 400 * DAY).replace(tzinfo=UTC))
    new = Simulation(customers=CUSTOMERS, days=days, seed=seed + 1_000, drift=always)
    with simulated_shop(new) as simulated:
        knowing, _ = simulated.train(simulated.training_frame(retrained_at))
        found["new_world"] = losses(knowing, rows).mean()
    return {"seed": seed, "alarm_day": day, "is_promoted": decision.is_promoted, **{k: float(v) for k, v in found.items()}}


def _end() -> datetime:
    shop = Settings.load(REPOSITORY / "shops" / "synthetic", Path("unused")).shop
    return shop.slices_start.replace(tzinfo=None)


if __name__ == "__main__":
    main()
