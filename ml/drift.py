"""Drift: do features and scores still look like those that the champion was trained on? Measured and drawn by Evidently."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from customer360.words import inert
from ml.frames import feature_matrix, require_columns
from ml.markdown import table
from ml.model_store import LoadedModel

# 37 columns make 5 MB of HTML and 6 CPU seconds; below the thirty most important features the model hardly looks.
TOP_FEATURES = 30
MAX_ROWS = 50_000
# With fewer rows the distances exceed the threshold by chance; then nothing is said about drift.
MIN_ROWS = 2_000
LONGEST_NAME = 80
THRESHOLD = 0.1
WASSERSTEIN, JENSEN_SHANNON, MISSING_SHARE = "wasserstein", "jensenshannon", "missing_share"

# Column -> pandas type; the table is typed even when it has no rows. report_date is shop-local, at midnight: cast it to DATE.
METRIC_COLUMNS = {
    "report_date": "datetime64[us]",
    "as_of": "datetime64[us]",
    "column": "str",
    "method": "str",
    "value": "float64",
    "threshold": "float64",
    "is_drifted": "boolean",
    "rows_current": "int64",
    "rows_reference": "int64",
    "model_version": "str",
}


@dataclass(frozen=True)
class DriftReport:
    """``metrics``: rows of ``drift_metrics``, one a column. ``drifted_share``: share of them that drifted, None when unsaid."""

    metrics: pd.DataFrame
    drifted_share: float | None

    def to_markdown(self, count: int = 15) -> str:
        """The columns that moved most, as a Markdown table."""
        ordered = self.metrics.sort_values("value", ascending=False).head(count)
        return table(ordered[["column", "method", "value", "threshold", "is_drifted"]])


def drift_report(
    current: pd.DataFrame,
    reference: pd.DataFrame,
    loaded: LoadedModel,
    *,
    report_date: date,
    html: Path,
    seed: int = 0,
    thresholds: Mapping[str, float] | None = None,
) -> DriftReport:
    """Compare ``customer_features`` (current) with ``training_features`` (reference), and write the report to ``html``.

    Columns: the champion's most important features and its probability of each category (``score_<category>``), computed here
    with the same model on both sides. Numbers by Wasserstein distance in standard deviations of the reference, text by
    Jensen-Shannon distance; a column without any value on one side by the difference of its share of missing values. At most
    50,000 rows a side, drawn with ``seed``. ``thresholds`` overrides .1 by column. With fewer than 2,000 rows a side
    ``is_drifted`` is empty. Raises ``FrameError`` when a frame lacks a feature, ``ValueError`` when a side has no rows.
    """
    names = [feature.name for feature in loaded.model.features]
    require_columns(current, "customer_features", ["as_of", *names])
    if current.empty or reference.empty:
        raise ValueError("a drift report needs rows on both sides; run slice_job and training_job first")
    as_of = current["as_of"].max()
    now, then = (_columns(frame, loaded, seed) for frame in (current, reference))
    columns = [str(column) for column in now.columns]
    limits = {column: (thresholds or {}).get(column, THRESHOLD) for column in columns}
    comparable = [column for column in columns if now[column].notna().any() and then[column].notna().any()]
    values = _evidently(now[comparable], then[comparable], limits, html)
    is_enough = min(len(now), len(then)) >= MIN_ROWS
    rows = []
    for column in columns:
        method = _method(now[column]) if column in values else MISSING_SHARE
        missing = abs(float(now[column].isna().mean() - then[column].isna().mean()))
        value = values.get(column, missing)
        rows.append(
            {
                "report_date": pd.Timestamp(report_date),
                "as_of": as_of,
                "column": column,
                "method": method,
                "value": value,
                "threshold": limits[column],
                "is_drifted": bool(value >= limits[column]) if is_enough else None,
                "rows_current": len(now),
                "rows_reference": len(then),
                "model_version": loaded.version,
            }
        )
    metrics = pd.DataFrame(rows, columns=list(METRIC_COLUMNS)).astype(METRIC_COLUMNS)
    return DriftReport(metrics, float(metrics["is_drifted"].astype("float64").mean()) if is_enough else None)


def empty_metrics() -> pd.DataFrame:
    """``drift_metrics`` without rows."""
    return pd.DataFrame(columns=list(METRIC_COLUMNS)).astype(METRIC_COLUMNS)


def alarming_columns(history: pd.DataFrame, reports: int = 2) -> list[str]:
    """Columns that drifted in each of the last ``reports`` reports of ``drift_metrics``: one report alone is no alarm."""
    dates = sorted(history["report_date"].unique())[-reports:]
    if len(dates) < reports:
        return []
    drifted = history[history["report_date"].isin(dates) & history["is_drifted"].fillna(value=False)]
    counts = drifted.groupby("column")["report_date"].nunique()
    return sorted(str(column) for column in counts[counts == reports].index)


def _columns(frame: pd.DataFrame, loaded: LoadedModel, seed: int) -> pd.DataFrame:
    """The compared columns of at most ``MAX_ROWS`` rows."""
    sample = frame.sample(MAX_ROWS, random_state=seed) if len(frame) > MAX_ROWS else frame
    matrix = feature_matrix(sample.reset_index(drop=True), loaded.model.features, "customer_features or training_features")
    probabilities = loaded.model.probabilities(matrix)
    scores = {f"score_{category}": probabilities[:, place] for place, category in enumerate(loaded.model.categories)}
    return matrix[loaded.manifest.top_features(TOP_FEATURES)].assign(**scores)


def _method(column: pd.Series[Any]) -> str:
    return WASSERSTEIN if pd.api.types.is_numeric_dtype(column) else JENSEN_SHANNON


def _evidently(now: pd.DataFrame, then: pd.DataFrame, limits: Mapping[str, float], html: Path) -> dict[str, float]:
    """Each column's distance. ValueDrift by column takes half the time of DataDriftPreset, which measures everything twice."""
    with warnings.catch_warnings():
        # Importing evidently 0.7.23 warns of numpy.core and of litestar's Dependency, both used by evidently itself.
        warnings.simplefilter("ignore", DeprecationWarning)
        # 5 CPU seconds to import: only where a report is made.
        from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415  see above
        from evidently.metrics import ValueDrift  # noqa: PLC0415  see above
    shown = _inert_names([str(column) for column in now.columns])
    now, then = (_inert_values(frame.rename(columns=shown)) for frame in (now, then))
    methods = {column: _method(now[column]) for column in now.columns}
    definition = DataDefinition(
        numerical_columns=[column for column, method in methods.items() if method == WASSERSTEIN],
        categorical_columns=[column for column, method in methods.items() if method == JENSEN_SHANNON],
    )
    drifts = [ValueDrift(column=column, method=methods[column], threshold=limits[name]) for name, column in shown.items()]
    snapshot = Report(drifts, include_tests=True).run(
        Dataset.from_pandas(now, data_definition=definition), Dataset.from_pandas(then, data_definition=definition)
    )
    html.parent.mkdir(parents=True, exist_ok=True)
    draft = html.with_name(f".tmp-{os.getpid()}-{html.name}")
    snapshot.save_html(str(draft))
    draft.replace(html)
    values = {metric["config"]["column"]: float(metric["value"]) for metric in snapshot.dict()["metrics"]}
    return {name: values[column] for name, column in shown.items()}


def _inert_names(names: Iterable[str]) -> dict[str, str]:
    """The names as Evidently may write them, which puts them into a script as they are: ``</script>`` would end it. Unique."""
    shown: dict[str, str] = {}
    for name in names:
        text, number = inert(name, LONGEST_NAME), 1
        while text in shown.values():
            number += 1
            text = f"{inert(name, LONGEST_NAME)} ({number})"
        shown[name] = text
    return shown


def _inert_values(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with inert texts. Two that differ in markup alone, or after 80 characters, become one value: on both sides."""
    texts = [column for column in frame.columns if _method(frame[column]) == JENSEN_SHANNON]
    return frame.assign(
        **{column: frame[column].map(lambda one: inert(str(one), LONGEST_NAME), na_action="ignore") for column in texts}
    )
