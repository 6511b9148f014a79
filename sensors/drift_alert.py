"""Asks for a training when drift lasts, or predictions stop coming true. The gate decides what serves."""

import json
from datetime import date, timedelta

import dagster as dg

from ml.datasets.targets import AFFINITY
from ml.monitoring.alarms import IN_A_ROW, training_request
from ml.monitoring.daily import read_history
from ml.versions.shop_models import store_of
from orchestration.resources import Platform

REASON_TAG = "customer360/reason"


@dg.sensor(
    job_name="training_job",
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Asks for training_job when columns of the drift report, or the measured performance, lie beyond their thresholds in "
        "two reports in a row: once for a report, then not before a label horizon has passed. Its ticks give the reason."
    ),
)
def drift_alert(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
    """Read the two newest reports. The cursor keeps the report for which a training was asked last, and the last reason."""
    settings = platform.settings()
    state = json.loads(context.cursor) if context.cursor else {}
    last = date.fromisoformat(state["asked"]) if state.get("asked") else None
    found = training_request(
        read_history(settings.place.reports / "drift", newest=IN_A_ROW),
        store_of(settings, AFFINITY).champion_version(AFFINITY),
        last,
        timedelta(days=settings.shop.label_horizon_days),
    )
    if not found.is_asked or found.report_date is None:
        return dg.SensorResult(skip_reason=found.reason, cursor=json.dumps({**state, "reason": found.reason}))
    context.log.info(found.reason)
    asked = found.report_date.isoformat()
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"drift:{asked}", tags={REASON_TAG: found.reason})],
        cursor=json.dumps({"asked": asked, "reason": found.reason}),
    )
