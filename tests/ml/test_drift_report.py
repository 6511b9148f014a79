from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from published_frames import customer_frame, training_frame

from customer360.settings import Shop
from ml.drift import METRIC_COLUMNS, TOP_FEATURES, alarming_columns, drift_report, empty_metrics
from ml.model_store import LoadedModel

DAY = date(2026, 5, 1)


@pytest.fixture(scope="module")
def reference(shop: Shop) -> pd.DataFrame:
    return training_frame(shop, customers=1000, cutoffs=2)


def test_without_drift_nothing_drifts_and_the_report_is_written(
    shop: Shop, champion: LoadedModel, reference: pd.DataFrame, tmp_path: Path
) -> None:
    html = tmp_path / "drift" / "2026-05-01.html"
    report = drift_report(customer_frame(shop, 2000), reference, champion, report_date=DAY, html=html)
    assert report.drifted_share == 0
    assert {column: str(kind) for column, kind in report.metrics.dtypes.items()} == METRIC_COLUMNS
    assert len(report.metrics) == TOP_FEATURES + len(shop.category_ids) + 1
    assert set(report.metrics["rows_current"]) == {2000}
    assert html.stat().st_size > 100_000
    assert [path.name for path in html.parent.iterdir()] == ["2026-05-01.html"]
    assert report.to_markdown().startswith("| column | method | value | threshold | is_drifted |")


def test_planted_drift_is_found_and_constant_or_empty_columns_break_nothing(
    shop: Shop, champion: LoadedModel, reference: pd.DataFrame, tmp_path: Path
) -> None:
    top = champion.manifest.top_features(TOP_FEATURES)
    numeric = [name for name in top if "30d" in name and not name.startswith("offers")]
    moved, constant, empty, emptied = numeric[:4]
    current = customer_frame(shop, 2000)
    current = current.assign(**{moved: current[moved] * 2 + 5, constant: 0.0, empty: np.nan, emptied: np.nan})
    before = reference.assign(**{constant: 0.0, empty: np.nan})
    report = drift_report(current, before, champion, report_date=DAY, html=tmp_path / "d.html", thresholds={moved: 0.5})
    found = report.metrics.set_index("column")
    assert found.loc[moved, "is_drifted"]
    assert (found.loc[moved, "method"], found.loc[moved, "threshold"]) == ("wasserstein", 0.5)
    assert found.loc[constant, "value"] == 0
    assert (found.loc[empty, "method"], found.loc[empty, "value"]) == ("missing_share", 0)
    assert (found.loc[emptied, "method"], found.loc[emptied, "value"]) == ("missing_share", 1)
    assert found.loc[emptied, "is_drifted"]
    assert report.drifted_share == pytest.approx(found["is_drifted"].mean())


def test_with_few_rows_nothing_is_said_about_drift(
    shop: Shop, champion: LoadedModel, reference: pd.DataFrame, tmp_path: Path
) -> None:
    report = drift_report(customer_frame(shop, 100), reference, champion, report_date=DAY, html=tmp_path / "d.html")
    assert report.drifted_share is None
    assert report.metrics["is_drifted"].isna().all()
    assert report.metrics["value"].notna().all()


def test_a_report_needs_rows(shop: Shop, champion: LoadedModel, reference: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs rows on both sides"):
        drift_report(customer_frame(shop, 5).iloc[:0], reference, champion, report_date=DAY, html=tmp_path / "d.html")


def test_the_metrics_table_is_typed_even_when_empty() -> None:
    assert {column: str(kind) for column, kind in empty_metrics().dtypes.items()} == METRIC_COLUMNS


def test_only_two_reports_in_a_row_alarm() -> None:
    history = pd.DataFrame(
        [
            ("2026-05-01", "a", True),
            ("2026-05-01", "b", True),
            ("2026-05-02", "a", True),
            ("2026-05-02", "b", False),
            ("2026-05-02", "c", True),
            ("2026-05-02", "d", None),
        ],
        columns=["report_date", "column", "is_drifted"],
    ).astype({"report_date": "datetime64[us]", "is_drifted": "boolean"})
    assert alarming_columns(history) == ["a"]
    assert alarming_columns(history[history["report_date"] == pd.Timestamp("2026-05-02")]) == []
    assert alarming_columns(empty_metrics()) == []
