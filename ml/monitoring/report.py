"""A day's drift report: features and scores of the champion, activity of the last hours, realised performance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import pandas as pd

from customer360.features import GROWING_MEASURES
from customer360.lake.publishing.tables import TABLES
from ml.frames import feature_matrix, require_columns
from ml.markdown import table
from ml.monitoring.evidently_report import write_report
from ml.monitoring.samples import FEATURE, JENSEN_SHANNON, MAX_ROWS, SCORE, WASSERSTEIN, Sample
from ml.monitoring.thresholds import UNLEARNED, Limit, Measured
from ml.versions.model_store import LoadedModel

# The thirty most important features; the others have little weight in the model.
TOP_FEATURES = 30
# With fewer rows the distances exceed the fixed threshold by chance; drift is then left open.
MIN_ROWS = 2_000

METRIC_COLUMNS = TABLES["drift_metrics"].frame_types


@dataclass(frozen=True)
class DriftReport:
    """``metrics``: rows of ``drift_metrics``, one a column."""

    metrics: pd.DataFrame

    @property
    def drifted_share(self) -> float | None:
        """Share of the columns that drifted, of those with ``is_drifted``; None without any."""
        known = self.metrics["is_drifted"].dropna()
        return float(known.astype("float64").mean()) if len(known) else None

    def to_markdown(self, count: int = 15) -> str:
        """The columns with the largest distances, in multiples of their thresholds, as a Markdown table."""
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

    ``limits`` by (kind, column); others have the fixed .1, and leave ``is_drifted`` open with fewer than 2,000 rows on a side.
    Single numbers, and columns without any value on one side, are not drawn. Raises ``ValueError`` without any sample to draw.
    """
    drawn = [sample for sample in samples if sample.method in (WASSERSTEIN, JENSEN_SHANNON)]
    if not drawn:
        raise ValueError("a drift report needs rows on both sides; run slice_job and training_job first")
    values = write_report(drawn, {sample.title: limits.get(sample.key, UNLEARNED).threshold for sample in samples}, html)
    metrics = metrics_of(samples, limits, measured, values)
    stamped = metrics.assign(report_date=pd.Timestamp(report_date), as_of=pd.Timestamp(as_of), model_version=model_version)
    return DriftReport(stamped[list(METRIC_COLUMNS)].astype(METRIC_COLUMNS))


def metrics_of(
    samples: Sequence[Sample],
    limits: Mapping[tuple[str, str], Limit],
    measured: Sequence[Measured],
    values: Mapping[str, float],
) -> pd.DataFrame:
    """One row a sample and a measured number: ``drift_metrics`` without date, as_of and version. ``values`` by title."""
    rows = []
    for sample in samples:
        distance = values.get(sample.title)
        value = sample.value if distance is None else distance
        sizes = (len(sample.current), len(sample.reference))
        rows.append(_row((sample.kind, sample.column, sample.method), value, limits.get(sample.key, UNLEARNED), sizes))
    rows += [
        _row((figure.kind, figure.column, figure.method), figure.value, figure.limit, (figure.rows, figure.rows_reference))
        for figure in measured
    ]
    return pd.DataFrame(rows)


def _row(name: tuple[str, str, str], value: float, limit: Limit | None, rows: tuple[int, int]) -> dict[str, object]:
    is_judged = limit is not None and (limit.is_learned or min(rows) >= MIN_ROWS)
    return {
        "kind": name[0],
        "column": name[1],
        "method": name[2],
        "value": value,
        "threshold": limit.threshold if limit else None,
        "threshold_basis": limit.basis if limit else "no threshold",
        "is_learned": limit is not None and limit.is_learned,
        "is_drifted": bool(value >= limit.threshold) if limit is not None and is_judged else None,
        "rows_current": rows[0],
        "rows_reference": rows[1],
    }


def model_samples(current: pd.DataFrame, reference: pd.DataFrame, loaded: LoadedModel, seed: int) -> list[Sample]:
    """Features and scores of the champion for ``customer_features``, beside those for ``training_features``.

    Its thirty most important features (but sums since the beginning, which grow with the history), and its probability of each
    category (``score_<category>``), computed with the same model on both sides; at most 50,000 rows, drawn with ``seed``.

    Raises ``FrameError`` when a frame lacks a feature, ``ValueError`` when a side has no rows.
    """
    names = [feature.name for feature in loaded.model.features]
    require_columns(current, "customer_features", ["as_of", *names])
    if current.empty or reference.empty:
        raise ValueError("a drift report needs rows on both sides; run slice_job and training_job first")
    sides = [_features_and_scores(frame, loaded, seed) for frame in (current, reference)]
    return [Sample(*key, sides[0][key], sides[1][key]) for key in sides[0]]


def _features_and_scores(frame: pd.DataFrame, loaded: LoadedModel, seed: int) -> dict[tuple[str, str], pd.Series]:
    matrix = feature_matrix(drawn_rows(frame, seed), loaded.model.features, "customer_features or training_features")
    probabilities = loaded.model.probabilities(matrix)
    growing = {feature.name for feature in loaded.model.features if feature.measure in GROWING_MEASURES}
    strongest = [name for name in loaded.manifest.top_features(len(matrix.columns)) if name not in growing]
    features = {(FEATURE, name): matrix[name] for name in strongest[:TOP_FEATURES]}
    scores = {
        (SCORE, f"score_{category}"): pd.Series(probabilities[:, place])
        for place, category in enumerate(loaded.model.categories)
    }
    return {**features, **scores}


def drawn_rows(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """At most 50,000 rows, drawn with ``seed``."""
    return (frame.sample(MAX_ROWS, random_state=seed) if len(frame) > MAX_ROWS else frame).reset_index(drop=True)


def empty_metrics() -> pd.DataFrame:
    """``drift_metrics`` without rows."""
    return pd.DataFrame(columns=list(METRIC_COLUMNS)).astype(METRIC_COLUMNS)
