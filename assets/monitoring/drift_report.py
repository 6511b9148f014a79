"""The daily drift report, made from the published version so that it blocks no slice."""

import dagster as dg
import pandas as pd

from customer360.lake.publishing.publications import publish_files
from customer360.lake.warehouse.frames import write_parquet
from ml.datasets.targets import AFFINITY
from ml.monitoring.alarms import CHANGES, alarming_columns, append_change, found_change, read_changes
from ml.monitoring.daily import daily_report, read_history
from ml.monitoring.report import DriftReport
from ml.monitoring.samples import PERFORMANCE, QUALITY
from ml.versions.model_versions import judged_until
from ml.versions.shop_models import servable_for_shop, store_of
from orchestration import groups
from orchestration.owners import ML_TEAM
from orchestration.partitions import DAYS, published_day
from orchestration.resources import Platform

DRIFT_REPORT = dg.AssetKey(["monitoring", "drift_report"])
CHECKS = ("no_lasting_drift", "data_quality_is_usual", "predictions_come_true")


@dg.asset(
    key=DRIFT_REPORT,
    deps=[["publishing", "published"], ["predictions", "affinity_model"]],
    group_name=groups.MONITORING,
    kinds={"evidently"},
    owners=[ML_TEAM],
    tags={"domain": "monitoring"},
    partitions_def=DAYS,
    check_specs=[
        dg.AssetCheckSpec(
            "no_lasting_drift",
            asset=DRIFT_REPORT,
            description="Warns when a column lies beyond its learned threshold in each of the last two reports.",
        ),
        dg.AssetCheckSpec(
            "data_quality_is_usual",
            asset=DRIFT_REPORT,
            description="Warns when the share of quarantined or repeated lines is unlike the reference.",
        ),
        dg.AssetCheckSpec(
            "predictions_come_true",
            asset=DRIFT_REPORT,
            description="Warns when buyers surprise the scores more than they should; an error from twice the threshold on.",
        ),
    ],
)
def drift(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Features and scores of the champion, the last hours, realised performance. One row a column in ``drift_metrics``."""
    settings = platform.settings()
    place = settings.place
    folder = place.reports / "drift"
    with platform.snapshot() as snapshot:
        day = published_day(context.partition_key, settings.shop, snapshot.as_of)
        servable = servable_for_shop(settings, AFFINITY)
        if servable.loaded is None:
            return no_report()
        earlier = read_history(folder, before=day)
        report = daily_report(
            snapshot.connection,
            settings.shop,
            folder,
            servable.loaded,
            trainings=judged_until(store_of(settings, AFFINITY), AFFINITY),
            earlier=earlier,
            report_date=day,
        )
    write_parquet(folder / f"{day:%Y-%m-%d}.parquet", report.metrics)
    publish_files(place, platform.now())
    history = pd.concat([earlier, report.metrics], ignore_index=True)
    history = history[history["model_version"] == servable.loaded.version]
    change = found_change(history, read_changes(folder / CHANGES))
    if change is not None:
        append_change(folder / CHANGES, change)
        context.log.warning(f"since {change.since} UTC these columns are different: {', '.join(change.columns)}")
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": len(report.metrics),
            "columns_drifted": int(report.metrics["is_drifted"].fillna(value=False).sum()),
            "drifted_share": report.drifted_share if report.drifted_share is not None else "too few rows to tell",
            "model_version": servable.loaded.version,
            **_performance_numbers(report),
            "moved_most": dg.MetadataValue.md(report.to_markdown()),
            "report": dg.MetadataValue.url(f"/reports/drift/{day:%Y-%m-%d}.html"),  # orchestration.runtime.webserver
            "report_file": dg.MetadataValue.path(folder / f"{day:%Y-%m-%d}.html"),
        },
        check_results=[lasting_drift(report, alarming_columns(history)), quality(report), performance(report)],
    )


def no_report() -> dg.MaterializeResult:
    """Not a failure of the run: a new shop has plans before it has history enough for a model that beats the baselines."""
    reason = "No report: no affinity model serves, so there is nothing to compare with. predictions/affinity_model says why."
    return dg.MaterializeResult(
        metadata={"report": reason},
        check_results=[
            dg.AssetCheckResult(check_name=check, passed=False, severity=dg.AssetCheckSeverity.WARN, description=reason)
            for check in CHECKS
        ],
    )


def _performance_numbers(report: DriftReport) -> dict[str, float]:
    """What the UI plots over time."""
    rows = report.metrics[report.metrics["kind"] == PERFORMANCE]
    return dict(zip(rows["column"].astype(str), rows["value"].astype(float), strict=True))


def lasting_drift(report: DriftReport, alarming: list[str]) -> dg.AssetCheckResult:
    """Whether no column exceeded a learned threshold in two reports in a row."""
    metrics = report.metrics
    learned = int(metrics["is_learned"].sum())
    return dg.AssetCheckResult(
        check_name="no_lasting_drift",
        passed=not alarming,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "drifted_twice_in_a_row": ", ".join(alarming) or "none",
            "columns_with_learned_thresholds": learned,
            "columns_with_the_fixed_one": len(metrics) - learned,
        },
    )


def quality(report: DriftReport) -> dg.AssetCheckResult:
    """Whether the shares of quarantined and repeated lines are as in the reference."""
    rows = report.metrics[report.metrics["kind"] == QUALITY]
    drifted = rows.loc[rows["is_drifted"].fillna(value=False), "column"]
    return dg.AssetCheckResult(
        check_name="data_quality_is_usual",
        passed=drifted.empty,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"unlike_the_reference": ", ".join(drifted) or "none", "columns": len(rows)},
    )


def performance(report: DriftReport) -> dg.AssetCheckResult:
    """Whether predictions come true as often as when the model was judged."""
    rows = report.metrics[report.metrics["kind"] == PERFORMANCE]
    drifted = rows[rows["is_drifted"].fillna(value=False)]
    is_severe = bool((drifted["value"] > 2 * drifted["threshold"]).any())
    figures = [
        f"{row.column} {row.value:.3f} (threshold {row.threshold:.3f}, {row.rows_current} customers)"
        for row in rows.itertuples()
    ]
    return dg.AssetCheckResult(
        check_name="predictions_come_true",
        passed=drifted.empty,
        severity=dg.AssetCheckSeverity.ERROR if is_severe else dg.AssetCheckSeverity.WARN,
        metadata={"performance": "; ".join(figures) or "nothing has matured yet"},
    )
