"""Alerts: one when a job or slice first fails for good, one when it is well again; in the log, and at a webhook if set."""

from collections.abc import Callable
from datetime import timedelta
from logging import ERROR, INFO, Logger

import dagster as dg

from customer360.lake.operations.slice_health import is_published
from customer360.lake.operations.slice_requests import MAX_ATTEMPTS
from customer360.lake.slices import slice_key, slice_start
from customer360.services.alerts import FAILED, Alert, AlertError, report_failure, report_success, send
from orchestration.resources import Platform
from sensors.click_slices import ATTEMPT, RANGE_END, RANGE_START

WEBHOOK = "CUSTOMER360_ALERT_WEBHOOK"
PARTITION, WILL_RETRY = "dagster/partition", "dagster/will_retry"
SLICE_JOB = "slice_job"
NEXT_OF_SLICE = "it is tried again every hour, and at once when its files change; other slices go on"
NEXT_OF_JOB = "nobody tries again before its next schedule; launch it when the cause is removed"


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        f"Logs every failed run, and alerts once when a slice has failed {MAX_ATTEMPTS} times, or another job after its "
        f"retries: as JSON to {WEBHOOK} where that is set (chat, pager or mail gateway)."
    ),
)
def run_failure(context: dg.RunFailureSensorContext, platform: Platform) -> None:
    """Say which job failed for which slice or day, at which steps and models, what happens next and where to read on."""
    run, settings = context.dagster_run, platform.settings()
    slices = slices_of(run, settings.shop.slice_width)
    failures = context.get_step_failure_events()
    alert = Alert(
        job=run.job_name,
        partition=run.tags.get(PARTITION)
        or " to ".join(run.tags[name] for name in (RANGE_START, RANGE_END) if name in run.tags),
        run_id=run.run_id,
        steps=sorted({event.step_key or "the run itself" for event in failures}),
        message=next(filter(None, map(what_broke, failures)), context.failure_event.message or ""),
        next_step=(NEXT_OF_SLICE if ATTEMPT in run.tags else NEXT_OF_JOB)
        if is_final(run)
        else "the next attempt; no alert yet",
    )
    failing = {key for key in slices if not is_published(settings, key)}
    if not is_final(run):
        context.log.info(alert.text)
    elif failing or not (slices or has_succeeded_since(context.instance, run)):
        report_failure(settings.place, alert, failing, platform.now(), delivery(context.log))


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Says once that a job or slice is well again, where run_failure has said that it had failed for good.",
)
def run_recovery(context: dg.RunStatusSensorContext, platform: Platform) -> None:
    """Close what is well again: slices whose files are published as they are now, and the job that succeeded."""
    run, settings = context.dagster_run, platform.settings()
    report_success(settings.place, run.job_name, run.run_id, lambda key: is_published(settings, key), delivery(context.log))


def delivery(log: Logger) -> Callable[[Alert], bool]:
    """How alerts are delivered: to the log, and to the webhook where one is set. False where the webhook does not take it."""

    def deliver(alert: Alert) -> bool:
        log.log(ERROR if alert.status == FAILED else INFO, alert.text)
        webhook = dg.EnvVar(WEBHOOK).get_value()
        try:
            if webhook:
                send(webhook, alert)
        except AlertError as error:
            log.warning(f"the alert could not be delivered: {error}")
            return False
        return True

    return deliver


def is_final(run: dg.DagsterRun) -> bool:
    """Whether nobody tries again soon: click_slices counts the attempts of a slice, Dagster those of other jobs."""
    if ATTEMPT in run.tags:
        return int(run.tags[ATTEMPT]) >= MAX_ATTEMPTS
    return run.tags.get(WILL_RETRY) != "true"


def slices_of(run: dg.DagsterRun, width: timedelta) -> list[str]:
    """Keys of the slices that a slice_job was to run; none of another job."""
    if run.job_name != SLICE_JOB:
        return []
    first = run.tags.get(PARTITION) or run.tags.get(RANGE_START)
    if first is None:
        return []
    count = (slice_start(run.tags.get(RANGE_END, first)) - slice_start(first)) // width + 1
    return [slice_key(slice_start(first) + number * width) for number in range(count)]


def has_succeeded_since(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the job succeeded after this run: after a time without a daemon, old failures come late."""
    record = instance.get_run_record_by_id(run.run_id)
    if record is None:
        return False
    later = dg.RunsFilter(job_name=run.job_name, statuses=[dg.DagsterRunStatus.SUCCESS], created_after=record.create_timestamp)
    return bool(instance.get_runs(later, limit=1))


def what_broke(event: dg.DagsterEvent) -> str:
    """The first line of a failed step's own error, without the orchestrator's around it; empty where it left none.

    Further lines may name customers, who have no place in a chat.
    """
    failure = event.step_failure_data
    message = failure.user_failure_data.description if failure.user_failure_data is not None else None
    if not message and failure.error is not None:
        message = (failure.error.cause or failure.error).message
    return next(iter((message or "").strip().splitlines()), "")
