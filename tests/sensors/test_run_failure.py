"""A failed run is told of: in the log always, at the webhook where one is set."""

from __future__ import annotations

import logging

import dagster as dg
import pytest

from sensors.run_failure import WEBHOOK, run_failure
from tests.support.webhook import dead_address, webhook

KEY = "2026-04-30-16:00"


@dg.op
def raises() -> None:
    raise ValueError("the disk is full\nat customer C1")


@dg.op
def gives_up() -> None:
    raise dg.Failure("nothing is published yet: run history_job or a slice first", allow_retries=False)


@dg.op
def works() -> None:
    pass


@dg.job
def raising_job() -> None:
    works()
    raises()


@dg.job
def giving_up_job() -> None:
    gives_up()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv(WEBHOOK, raising=False)


def fail(job: dg.JobDefinition, instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.RunFailureSensorContext:
    """A failed run of the job, and what the sensor is given for it."""
    result = job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
    assert not result.success
    return dg.build_run_status_sensor_context(
        sensor_name="run_failure",
        dagster_event=result.get_run_failure_event(),
        dagster_instance=instance,
        dagster_run=result.dagster_run,
    ).for_run_failure()


def tell(context: dg.RunFailureSensorContext, caplog: pytest.LogCaptureFixture) -> None:
    """Evaluate the sensor, and keep in ``caplog`` what it alone logs."""
    context.log.addHandler(caplog.handler)
    caplog.clear()
    try:
        run_failure(context)
    finally:
        context.log.removeHandler(caplog.handler)


def said(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


@pytest.mark.parametrize("tag", ["dagster/partition", "dagster/asset_partition_range_start"])
def test_a_failed_run_is_logged_and_posted_with_its_partition_step_and_error(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tag: str
) -> None:
    context = fail(raising_job, instance, {tag: KEY})
    text = f"raising_job for {KEY} failed at raises: ValueError: the disk is full"
    with webhook() as hook:
        monkeypatch.setenv(WEBHOOK, hook.url)
        tell(context, caplog)
    (document,) = hook.documents
    assert document == {
        "text": text,
        "job": "raising_job",
        "partition": KEY,
        "run_id": context.dagster_run.run_id,
        "steps": ["raises"],
        "message": "ValueError: the disk is full",  # further lines may name customers
    }
    assert said(caplog, logging.ERROR) == [text]
    assert said(caplog, logging.WARNING) == []


def test_a_failure_that_says_what_to_do_is_told_in_its_own_words(
    instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    context = fail(giving_up_job, instance, {})
    tell(context, caplog)
    assert said(caplog, logging.ERROR) == [
        "giving_up_job failed at gives_up: nothing is published yet: run history_job or a slice first"
    ]


def test_a_run_that_died_between_its_steps_is_told_of_too(
    instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    run = dg.DagsterRun(job_name="slice_job", run_id="6a1d6b7c-0d1e-4c55-9a0e-2f3f2c8a5211", tags={"dagster/partition": KEY})
    instance.add_run(run)
    event = instance.report_run_failed(run, "the process was killed")
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failure", dagster_event=event, dagster_instance=instance, dagster_run=run
    ).for_run_failure()
    tell(context, caplog)
    assert said(caplog, logging.ERROR) == [f"slice_job for {KEY} failed: the process was killed"]


@pytest.mark.parametrize("status", [500, 0])
def test_a_webhook_that_does_not_take_the_alert_fails_no_sensor(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    context = fail(raising_job, instance, {})
    with webhook(status) as hook:
        monkeypatch.setenv(WEBHOOK, hook.url)
        tell(context, caplog)
    assert len(hook.documents) == 1
    assert said(caplog, logging.ERROR) == ["raising_job failed at raises: ValueError: the disk is full"]
    (warning,) = said(caplog, logging.WARNING)
    assert warning.startswith("the alert could not be delivered: ")


@pytest.mark.parametrize("address", ["ftp://example.org/alerts", "", "dead"])
def test_a_dead_or_misspelt_webhook_fails_no_sensor(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    context = fail(raising_job, instance, {})
    monkeypatch.setenv(WEBHOOK, dead_address() if address == "dead" else address)
    tell(context, caplog)
    assert len(said(caplog, logging.ERROR)) == 1
    assert len(said(caplog, logging.WARNING)) == (1 if address else 0)  # an empty address is none
