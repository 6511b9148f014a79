"""The daily drift report, made from the published version so that it blocks no slice."""

import dagster as dg
import pandas as pd

from assets.campaigns.campaign_plan import planned_day
from customer360.lake.frames import write_parquet
from customer360.lake.publications import file_tables
from customer360.lake.publishing import reader, republish
from ml.drift import alarming_columns, drift_report
from ml.model_store import AFFINITY
from ml.shop_models import servable_for_shop
from orchestration import groups
from orchestration.owners import ML_TEAM
from orchestration.partitions import DAYS
from orchestration.resources import Platform


@dg.asset(
    key=["monitoring", "drift_report"],
    deps=[["publishing", "published"], ["predictions", "affinity_model"]],
    group_name=groups.MONITORING,
    kinds={"evidently"},
    owners=[ML_TEAM],
    tags={"domain": "monitoring"},
    partitions_def=DAYS,
    check_specs=[
        dg.AssetCheckSpec(
            "no_lasting_drift",
            asset=["monitoring", "drift_report"],
            description="Warns when a feature or score has drifted in each of the last two reports.",
        )
    ],
)
def drift(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Features and scores of today against the champion's training data. One row per column in ``drift_metrics``."""
    settings = platform.settings()
    place = settings.place
    day = planned_day(context, platform)
    servable = servable_for_shop(settings, AFFINITY)
    if servable.loaded is None:
        raise dg.Failure("there is no champion to compare with yet: run training_job first", allow_retries=False)
    with reader(place) as connection:
        current = connection.execute("select * from customer_features order by customer_id").df()
        reference = connection.execute("select * from training_features order by cutoff_no, customer_id").df()
    folder = place.reports / "drift"
    html = folder / f"{day:%Y-%m-%d}.html"
    report = drift_report(current, reference, servable.loaded, report_date=day, html=html)
    write_parquet(folder / f"{day:%Y-%m-%d}.parquet", report.metrics)
    republish(place, {"drift_metrics": file_tables(place)["drift_metrics"]}, platform.now())
    history = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))[-2:]], ignore_index=True)
    alarming = alarming_columns(history)
    drifted = int(report.metrics["is_drifted"].fillna(value=False).sum())
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": len(report.metrics),
            "columns_drifted": drifted,
            "drifted_share": report.drifted_share if report.drifted_share is not None else "too few rows to say",
            "model_version": servable.loaded.version,
            "moved_most": dg.MetadataValue.md(report.to_markdown()),
            "report": dg.MetadataValue.path(html),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="no_lasting_drift",
                passed=not alarming,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"drifted_twice_in_a_row": ", ".join(alarming) or "none", "drifted_today": drifted},
            )
        ],
    )
