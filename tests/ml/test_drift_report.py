from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from published_frames import customer_frame, training_frame

from customer360.settings import Shop
from ml.monitoring.evidently_report import write_report
from ml.monitoring.report import METRIC_COLUMNS, TOP_FEATURES, DriftReport, drift_report, empty_metrics, model_samples
from ml.monitoring.samples import FEATURE, PERFORMANCE, QUALITY, Sample, counted, wasserstein
from ml.monitoring.thresholds import Limit, Measured
from ml.versions.model_store import LoadedModel

DAY, AS_OF = date(2026, 5, 1), datetime(2026, 4, 30, 16)  # noqa: DTZ001 (published timestamps are plain UTC)


@pytest.fixture(scope="module")
def reference(shop: Shop) -> pd.DataFrame:
    return training_frame(shop, customers=1000, cutoffs=2)


def reported(samples: list[Sample], html: Path, **changes: object) -> DriftReport:
    settings = {"limits": {}, "measured": (), **changes}
    return drift_report(samples, **settings, report_date=DAY, as_of=AS_OF, model_version="v1", html=html)  # type: ignore[arg-type]


@pytest.mark.full
def test_without_drift_nothing_drifts_and_the_report_is_written(
    shop: Shop, champion: LoadedModel, reference: pd.DataFrame, tmp_path: Path
) -> None:
    html = tmp_path / "drift" / "2026-05-01.html"
    report = reported(model_samples(customer_frame(shop, 2000), reference, champion, 0), html)
    assert report.drifted_share == 0
    assert {column: str(kind) for column, kind in report.metrics.dtypes.items()} == METRIC_COLUMNS
    assert len(report.metrics) == TOP_FEATURES + len(shop.category_ids) + 1
    assert set(report.metrics["rows_current"]) == {2000}
    assert set(report.metrics["threshold"]) == {0.1}
    assert not report.metrics["is_learned"].any()
    assert html.stat().st_size > 100_000
    assert [path.name for path in html.parent.iterdir()] == ["2026-05-01.html"]
    assert report.to_markdown().startswith("| kind | column | method | value | threshold | times_threshold |")


@pytest.mark.full
def test_planted_drift_is_found_and_constant_or_empty_columns_break_nothing(
    shop: Shop, champion: LoadedModel, reference: pd.DataFrame, tmp_path: Path
) -> None:
    top = champion.manifest.top_features(TOP_FEATURES)
    numeric = [name for name in top if "30d" in name and not name.startswith("offers")]
    moved, constant, empty, emptied = numeric[:4]
    current = customer_frame(shop, 2000)
    current = current.assign(**{moved: current[moved] * 2 + 5, constant: 0.0, empty: np.nan, emptied: np.nan})
    before = reference.assign(**{constant: 0.0, empty: np.nan})
    limits = {(FEATURE, moved): Limit(0.5, "30 normal reports", is_learned=True)}
    report = reported(model_samples(current, before, champion, 0), tmp_path / "d.html", limits=limits)
    found = report.metrics.set_index("column")
    assert found.loc[moved, "is_drifted"]
    assert (found.loc[moved, "method"], found.loc[moved, "threshold"]) == ("wasserstein", 0.5)
    assert (found.loc[moved, "threshold_basis"], bool(found.loc[moved, "is_learned"])) == ("30 normal reports", True)
    assert found.loc[constant, "value"] == 0
    assert (found.loc[empty, "method"], found.loc[empty, "value"]) == ("missing_share", 0)
    assert (found.loc[emptied, "method"], found.loc[emptied, "value"]) == ("missing_share", 1)
    assert found.loc[emptied, "is_drifted"]
    assert report.drifted_share == pytest.approx(found["is_drifted"].mean())


@pytest.mark.full
def test_with_few_rows_a_fixed_threshold_says_nothing_and_a_learned_one_does(
    shop: Shop, champion: LoadedModel, reference: pd.DataFrame, tmp_path: Path
) -> None:
    samples = model_samples(customer_frame(shop, 100), reference, champion, 0)
    report = reported(samples, tmp_path / "d.html", limits={samples[0].key: Limit(1e-6, "40 normal reports", is_learned=True)})
    assert report.metrics["is_drifted"].isna().sum() == len(report.metrics) - 1
    assert bool(report.metrics.loc[0, "is_drifted"])
    assert report.metrics["value"].notna().all()
    assert report.drifted_share == 1


def test_a_report_needs_rows(shop: Shop, champion: LoadedModel, reference: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs rows on both sides"):
        model_samples(customer_frame(shop, 5).iloc[:0], reference, champion, 0)
    with pytest.raises(ValueError, match="needs rows on both sides"):
        reported([], tmp_path / "d.html")


def test_the_metrics_table_is_typed_even_when_empty() -> None:
    assert {column: str(kind) for column, kind in empty_metrics().dtypes.items()} == METRIC_COLUMNS


def test_our_distances_are_evidentlys(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    texts = np.array(["email", "cpc", "(none)"], dtype=object)
    then = {
        "spend": pd.Series(np.where(rng.random(4000) < 0.9, 0, rng.gamma(2, 30, 4000).round(2))),
        "views": pd.Series(rng.poisson(2, 4000).astype(float)).where(rng.random(4000) > 0.1),
        "medium": pd.Series(rng.choice(texts, 4000, p=[0.2, 0.3, 0.5])),
    }
    now = {
        "spend": pd.Series(np.where(rng.random(900) < 0.8, 0, rng.gamma(2, 40, 900).round(2))),
        "views": pd.Series(rng.poisson(2.4, 900).astype(float)).where(rng.random(900) > 0.2),
        "medium": pd.Series(rng.choice(texts, 900, p=[0.3, 0.3, 0.4])),
    }
    samples = [Sample("24 hours", name, now[name], then[name]) for name in then]
    by_evidently = write_report(samples, {sample.title: 0.1 for sample in samples}, tmp_path / "d.html")
    assert {sample.title: sample.value for sample in samples} == pytest.approx(by_evidently, rel=1e-9)
    views = by_evidently["views, 24 hours"]
    assert wasserstein(counted(now["views"]), counted(then["views"])) == pytest.approx(views, rel=1e-9)


def test_single_numbers_are_compared_by_their_difference_and_not_drawn(tmp_path: Path) -> None:
    share = Sample(QUALITY, "quarantined_share (24 hours)", pd.Series([0.05]), pd.Series([0.01]))
    drawn = Sample("24 hours", "views", pd.Series(np.arange(50.0)), pd.Series(np.arange(50.0)))
    limits = {share.key: Limit(0.02, "36 normal windows", is_learned=True)}
    measured = [
        Measured(PERFORMANCE, "surprise_of_buyers", "conditional log loss", 1.4, Limit(1.2, "60 buyers", is_learned=True), 80),
        Measured(PERFORMANCE, "matured_log_loss", "nats a customer", 0.6, None, 900),
    ]
    html = tmp_path / "d.html"
    found = reported([share, drawn], html, limits=limits, measured=measured).metrics.set_index("column")
    assert found.loc[share.column, "value"] == pytest.approx(0.04)
    assert found.loc[share.column, "method"] == "difference"
    assert found.loc[share.column, "is_drifted"]
    assert found.loc["views", "value"] == 0
    assert found.loc["surprise_of_buyers", "is_drifted"]
    assert pd.isna(found.loc["matured_log_loss", "is_drifted"])
    page = html.read_text(encoding="utf-8")
    assert "views, 24 hours" in page
    assert "quarantined_share" not in page
