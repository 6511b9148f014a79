"""A day's drift report: what the champion reads and says, what happened in the last hours, and how well it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import pandas as pd

from ml.frames import feature_matrix, require_columns
from ml.markdown import table
from ml.monitoring.evidently_report import write_report
from ml.monitoring.samples import FEATURE, JENSEN_SHANNON, MAX_ROWS, SCORE, WASSERSTEIN, Sample
from ml.monitoring.thresholds import UNLEARNED, Limit, Measured
from ml.versions.model_store import LoadedModel

# Below the thirty most important features the model hardly looks.
TOP_FEATURES = 30
# With fewer rows the distances exceed the fixed threshold by chance; then nothing is said about drift.
MIN_ROWS = 2_000

# Column -> pandas type; the table is typed even when it has no rows. report_date is shop-local, at midnight: cast it to DATE.
METRIC_COLUMNS = {
    "report_date": "datetime64[us]",
    "as_of": "datetime64[us]",
    "kind": "str",
    "column": "str",
    "method": "str",
    "value": "float64",
    "threshold": "float64",
    "threshold_basis": "str",
    "is_learned": "bool",
    "is_drifted": "boolean",
    "rows_current": "int64",
    "rows_reference": "int64",
    "model_version": "str",
}


@dataclass(frozen=True)
class DriftReport:
    """``metrics``: rows of ``drift_metrics``, one a column. ``drifted_share``: share of them that drifted, None when unsaid."""

    metrics: pd.DataFrame

    @property
    def drifted_share(self) -> float | None:
        """Share of the columns that drifted, of those of which that is said; None where it is said of none."""
        said = self.metrics["is_drifted"].dropna()
        return float(said.astype("float64").mean()) if len(said) else None

    def to_markdown(self, count: int = 15) -> str:
        """The columns that moved most, in multiples of their thresholds, as a Markdown table."""
        shown = self.metrics.assign(times_threshold=self.metrics["value"] / self.metrics["threshold"])
        ordered = shown.sort_values(["times_threshold", "column"], ascending=[False, True]).head(count)
        names = ["kind", "column", "method", "value", "threshold", "times_threshold", "is_drifted", "threshold_basis"]
        return table(ordered[names])


def drift_report(
    samples: Sequence[Sample],
    limits: Mapping[tuple[str, str], Limit],
    measured: Sequence[Measured],
    *,
    report_date: date,
    as_of: datetime,
    model_version: str,
    html: Path,
) -> DriftReport:
    """Measure and draw the samples, and write the report to ``html``.

    ``limits`` by (kind, column); others have the fixed .1, and say nothing with fewer than 2,000 rows on a side. Single
    numbers, and columns without any value on one side, are not drawn. Raises ``ValueError`` where there is nothing to draw.
    """
    pictured = [sample for sample in samples if sample.method in (WASSERSTEIN, JENSEN_SHANNON)]
    if not pictured:
        raise ValueError("a drift report needs rows on both sides; run slice_job and training_job first")
    values = write_report(pictured, {one.title: limits.get(one.key, UNLEARNED).threshold for one in samples}, html)
    metrics = metrics_of(samples, limits, measured, values)
    stamped = metrics.assign(report_date=pd.Timestamp(report_date), as_of=pd.Timestamp(as_of), model_version=model_version)
    return DriftReport(stamped[list(METRIC_COLUMNS)].astype(METRIC_COLUMNS))


def metrics_of(
    samples: Sequence[Sample],
    limits: Mapping[tuple[str, str], Limit],
    measured: Sequence[Measured],
    values: Mapping[str, float],
) -> pd.DataFrame:
    """One row a sample and a measured number: the columns of ``drift_metrics`` that say what was found. ``values`` by title."""
    rows = []
    for one in samples:
        known = values.get(one.title)
        value = one.value if known is None else known
        sizes = (len(one.now), len(one.then))
        rows.append(_row((one.kind, one.column, one.method), value, limits.get(one.key, UNLEARNED), sizes))
    rows += [_row((one.kind, one.column, one.method), one.value, one.limit, (one.rows, one.rows_reference)) for one in measured]
    return pd.DataFrame(rows)


def _row(what: tuple[str, str, str], value: float, limit: Limit | None, rows: tuple[int, int]) -> dict[str, object]:
    is_said = limit is not None and (limit.is_learned or min(rows) >= MIN_ROWS)
    return {
        "kind": what[0],
        "column": what[1],
        "method": what[2],
        "value": value,
        "threshold": limit.threshold if limit else None,
        "threshold_basis": limit.basis if limit else "no threshold",
        "is_learned": limit is not None and limit.is_learned,
        "is_drifted": bool(value >= limit.threshold) if limit is not None and is_said else None,
        "rows_current": rows[0],
        "rows_reference": rows[1],
    }


def model_samples(current: pd.DataFrame, reference: pd.DataFrame, loaded: LoadedModel, seed: int) -> list[Sample]:
    """What the champion reads and says now (``customer_features``) beside its training set (``training_features``).

    Its thirty most important features, and its probability of each category (``score_<category>``), computed with the same
    model on both sides; at most 50,000 rows a side, drawn with ``seed``. Raises ``FrameError`` when a frame lacks a feature,
    ``ValueError`` when a side has no rows.
    """
    names = [feature.name for feature in loaded.model.features]
    require_columns(current, "customer_features", ["as_of", *names])
    if current.empty or reference.empty:
        raise ValueError("a drift report needs rows on both sides; run slice_job and training_job first")
    now, then = (_read_and_said(frame, loaded, seed) for frame in (current, reference))
    return [Sample(*key, now[key], then[key]) for key in now]


def _read_and_said(frame: pd.DataFrame, loaded: LoadedModel, seed: int) -> dict[tuple[str, str], pd.Series]:
    matrix = feature_matrix(drawn_rows(frame, seed), loaded.model.features, "customer_features or training_features")
    probabilities = loaded.model.probabilities(matrix)
    read = {(FEATURE, name): matrix[name] for name in loaded.manifest.top_features(TOP_FEATURES)}
    said = {
        (SCORE, f"score_{category}"): pd.Series(probabilities[:, place])
        for place, category in enumerate(loaded.model.categories)
    }
    return {**read, **said}


def drawn_rows(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """At most 50,000 rows, drawn with ``seed``."""
    return (frame.sample(MAX_ROWS, random_state=seed) if len(frame) > MAX_ROWS else frame).reset_index(drop=True)


def empty_metrics() -> pd.DataFrame:
    """``drift_metrics`` without rows."""
    return pd.DataFrame(columns=list(METRIC_COLUMNS)).astype(METRIC_COLUMNS)
