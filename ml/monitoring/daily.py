"""The drift report of a day, from the published tables and what earlier reports left in their folder."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from customer360.settings import Shop
from ml.frames import feature_matrix
from ml.monitoring.alarms import CHANGES, read_changes
from ml.monitoring.matured import matured_scores
from ml.monitoring.performance import SURPRISE, matured_measures, surprise_limit, surprise_of_buyers
from ml.monitoring.reference import (
    Reference,
    load_reference,
    make_reference,
    reference_period,
    save_reference,
    window_limits,
)
from ml.monitoring.report import METRIC_COLUMNS, DriftReport, drift_report, empty_metrics, model_samples
from ml.monitoring.samples import FEATURE, MAX_ROWS, PERFORMANCE, SCORE, Sample
from ml.monitoring.thresholds import Limit, Measured, learned_limit
from ml.monitoring.windows import WindowReader
from ml.versions.model_store import LoadedModel

NIGHTLY = {"monitoring_activity", "monitoring_customers"}
REFERENCES = "reference"
SEED = 0


def daily_report(
    connection: duckdb.DuckDBPyConnection,
    shop: Shop,
    folder: Path,
    loaded: LoadedModel,
    *,
    trainings: Iterable[datetime],
    earlier: pd.DataFrame,
    report_date: date,
) -> DriftReport:
    """Report on what is published (``connection``); the HTML and new references are written to ``folder``.

    ``trainings``: until when models were judged (plain UTC), the newest first. ``earlier``: ``drift_metrics`` of the reports
    before, see ``read_history``. Windows are left out before the first night.
    """
    (as_of,) = connection.execute("select max(as_of) from customer_features").fetchone() or (None,)
    if as_of is None:
        raise ValueError("a drift report needs rows on both sides; run slice_job and training_job first")
    reference = _sampled(connection, "training_features", "cutoff_no, customer_id")
    samples = model_samples(_sampled(connection, "customer_features", "customer_id"), reference, loaded, SEED)
    limits = reported_limits(earlier, loaded.version)
    windows = window_samples(connection, shop, folder, trainings, as_of)
    if windows is not None:
        samples += windows[0]
        limits |= windows[1]
    measured = early_performance(connection, loaded, reference, as_of) if windows is not None else []
    matured = next(matured_scores(connection, loaded.version), None)
    if matured is not None:
        measured += matured_measures(matured, loaded, limits)
    return drift_report(
        samples,
        limits,
        measured,
        report_date=report_date,
        as_of=as_of,
        model_version=loaded.version,
        html=folder / f"{report_date:%Y-%m-%d}.html",
    )


def read_history(folder: Path, before: date | None = None, newest: int | None = None) -> pd.DataFrame:
    """``drift_metrics`` of all reports in the folder, of those before a day, or of so many of the newest; the oldest first.

    Files of older releases, which lack columns, are left out.
    """
    frames: list[pd.DataFrame] = []
    for path in sorted(folder.glob("*.parquet"), reverse=True):
        if len(frames) == newest:
            break
        if before is None or path.stem < f"{before:%Y-%m-%d}":
            frame = pd.read_parquet(path)
            frames += [frame] if METRIC_COLUMNS.keys() <= set(frame.columns) else []
    return pd.concat(frames[::-1], ignore_index=True) if frames else empty_metrics()


def reported_limits(history: pd.DataFrame, version: str) -> dict[tuple[str, str], Limit]:
    """Thresholds from the model's own earlier reports, for what has no windows; values that drifted are left out."""
    is_normal = (history["model_version"] == version) & ~history["is_drifted"].fillna(value=False)
    rows = history[is_normal & history["kind"].isin([FEATURE, SCORE, PERFORMANCE])]
    limits = {
        (str(kind), str(column)): learned_limit(str(kind), values["value"].to_numpy(np.float64), "reports")
        for (kind, column), values in rows.groupby(["kind", "column"])
    }
    return {key: limit for key, limit in limits.items() if limit.is_learned}


def window_samples(
    connection: duckdb.DuckDBPyConnection, shop: Shop, folder: Path, trainings: Iterable[datetime], as_of: datetime
) -> tuple[list[Sample], dict[tuple[str, str], Limit]] | None:
    """The last windows beside their reference, and their thresholds; None where there is no reference (yet)."""
    found = connection.execute("select view_name from duckdb_views() union select table_name from duckdb_tables()").fetchall()
    if not {name for (name,) in found} >= NIGHTLY:
        return None
    reader = WindowReader(connection, shop, as_of, SEED)
    reference = current_reference(reader, folder, trainings)
    if reference is None:
        return None
    return reference.samples(reader, 0), window_limits(folder / REFERENCES, reference)


def current_reference(reader: WindowReader, folder: Path, trainings: Iterable[datetime]) -> Reference | None:
    """The reference that stands now: kept already, or made and kept."""
    changes = [change.since for change in read_changes(folder / CHANGES)]
    oldest = reader.as_of - (reader.first_day + 1) * timedelta(days=1)
    for until in (moment for moment in trainings if moment <= reader.as_of):
        kept = load_reference(folder / REFERENCES, until)
        if kept is not None:
            return kept
        period = reference_period(until, changes, oldest)
        if period is not None:
            made = make_reference(reader, period)
            save_reference(folder / REFERENCES, made)
            return made
    return None


def early_performance(
    connection: duckdb.DuckDBPyConnection, loaded: LoadedModel, reference: pd.DataFrame, as_of: datetime, day_no: int = 0
) -> list[Measured]:
    """How much the buyers of day ``day_no`` before ``as_of`` surprised the scores before; empty where that is not known."""
    surprise = surprise_of_buyers(connection, as_of, day_no)
    if surprise is None:
        return []
    judged = reference[reference["cutoff_no"] == 1].reset_index(drop=True)
    matrix = feature_matrix(judged, loaded.model.features, "training_features").assign(label=judged["label"])
    limit = surprise_limit(matrix, loaded, surprise.buyers)
    return [Measured(PERFORMANCE, SURPRISE, "conditional log loss", surprise.value, limit, surprise.buyers)]


def _sampled(connection: duckdb.DuckDBPyConnection, table: str, order: str) -> pd.DataFrame:
    """At most 50,000 rows, by a hash that is the same every day."""
    return connection.execute(
        f"from {table} where customer_id in (select customer_id from {table} group by 1 order by md5(customer_id) "
        f"limit {MAX_ROWS}) order by {order}"
    ).df()
