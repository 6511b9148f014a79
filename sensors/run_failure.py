"""Tells people of failed runs: always in the log, and at a webhook where one is named."""

import dagster as dg

from customer360.services.alerts import Alert, AlertError, send

WEBHOOK = "CUSTOMER360_ALERT_WEBHOOK"


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Logs every failed run, and posts it as JSON to {WEBHOOK} where that is set (chat, pager or mail gateway).",
)
def run_failure(context: dg.RunFailureSensorContext) -> None:
    """Say which job failed for which partition, at which steps, and what to do."""
    failures = context.get_step_failure_events()
    run = context.dagster_run
    alert = Alert(
        job=run.job_name,
        partition=run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_start") or "",
        run_id=run.run_id,
        steps=sorted({event.step_key or "the run itself" for event in failures}),
        message=next(filter(None, map(what_broke, failures)), context.failure_event.message or ""),
    )
    context.log.error(alert.text)
    webhook = dg.EnvVar(WEBHOOK).get_value()
    if webhook:
        try:
            send(webhook, alert)
        except AlertError as error:
            context.log.warning(f"the alert could not be delivered: {error}")


def what_broke(event: dg.DagsterEvent) -> str:
    """The first line of a failed step's own error, without the orchestrator's around it; empty where it left none.

    Further lines may name customers, who have no place in a chat.
    """
    failure = event.step_failure_data
    words = failure.user_failure_data.description if failure.user_failure_data is not None else None
    if not words and failure.error is not None:
        words = (failure.error.cause or failure.error).message
    return next(iter((words or "").strip().splitlines()), "")
