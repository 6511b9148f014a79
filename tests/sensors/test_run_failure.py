"""Alerts through Dagster's sensors: one when a job or slice fails for good, one when it is well again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from sensors.click_slices import RUN_KEY
from sensors.run_failure import WEBHOOK, run_failure, run_recovery
from tests.sensors.conftest import Bench
from tests.support.webhook import Webhook, dead_address, webhook

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


@pytest.fixture
def hook(no_proxy: None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Webhook]:
    """The webhook that alerts go to, which answers with 200 or the status that the test gives it."""
    with webhook(getattr(request, "param", 200)) as hook:
        monkeypatch.setenv(WEBHOOK, hook.url)
        yield hook


def fail(job: dg.JobDefinition, bench: Bench, tags: dict[str, str]) -> dg.RunFailureSensorContext:
    """A failed run of the job, and what the sensor is given for it."""
    result = job.execute_in_process(instance=bench.instance, raise_on_error=False, tags=tags)
    assert not result.success
    return dg.build_run_status_sensor_context(
        sensor_name="run_failure",
        dagster_event=result.get_run_failure_event(),
        dagster_instance=bench.instance,
        dagster_run=result.dagster_run,
    ).for_run_failure()


def ended(bench: Bench, request: dg.RunRequest, sensor: str) -> dg.RunStatusSensorContext:
    """What a sensor is given for the run of a request that has just ended."""
    (run,) = bench.instance.get_runs(dg.RunsFilter(tags={RUN_KEY: str(request.run_key)}), limit=1)
    (event,) = [entry.dagster_event for entry in bench.instance.all_logs(run.run_id) if entry.dagster_event is not None][-1:]
    return dg.build_run_status_sensor_context(
        sensor_name=sensor, dagster_event=event, dagster_instance=bench.instance, dagster_run=run
    )


def evaluate(sensor: Any, context: Any, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Evaluate a sensor, and keep in ``caplog`` what it alone logs."""
    context.log.addHandler(caplog.handler)
    context.log.setLevel(logging.INFO)
    caplog.clear()
    try:
        sensor(context, platform=bench.platform())
    finally:
        context.log.removeHandler(caplog.handler)


def logged(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def attempt(replay: Bench, hook: Webhook, caplog: pytest.LogCaptureFixture, *, how: str) -> int:
    """The next run of the slice that is due, ended like this, and the alerts that follow it."""
    for _ in range(200):
        requests = replay.tick()
        if requests:
            break
        replay.wait(minutes=1)
    (request,) = requests
    before = len(hook.documents)
    getattr(replay, how)(request)
    if how == "succeed":
        evaluate(run_recovery, ended(replay, request, "run_recovery"), replay, caplog)
    else:
        evaluate(run_failure, ended(replay, request, "run_failure").for_run_failure(), replay, caplog)
    return len(hook.documents) - before


@pytest.mark.parametrize("how", ["fail", "kill"])
def test_a_slice_alerts_at_its_last_quick_attempt_and_when_it_is_well_again_and_never_in_between(
    replay: Bench, hook: Webhook, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    replay.land(0)
    replay.land(1)
    alerts = [attempt(replay, hook, caplog, how=name) for name in [how] * 7 + ["succeed"]]
    assert alerts == [0, 0, 0, 1, 0, 0, 0, 1]
    first, last = hook.documents
    assert (first["status"], first["job"], first["partition"]) == ("failed", "slice_job", replay.key(0))
    assert "tried again every hour" in first["text"] and "docs/runbook.md#failed-slice" in first["text"]
    assert (last["status"], last["text"]) == ("recovered", f"slice_job for {replay.key(0)} is well again.")


def test_a_slice_that_recovers_before_its_last_attempt_alerts_nobody(
    replay: Bench, hook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    replay.land(0)
    replay.land(1)
    assert [attempt(replay, hook, caplog, how=how) for how in ("fail", "kill", "fail", "succeed")] == [0, 0, 0, 0]
    assert not (replay.settings.place.root / "alerts.json").exists()


def test_an_old_failure_that_comes_after_its_slice_was_published_alerts_nobody(
    replay: Bench, hook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    """After a time without a daemon the failure may be looked at after the success."""
    replay.land(0)
    replay.land(1)
    for _ in range(3):
        attempt(replay, hook, caplog, how="fail")
    replay.wait(minutes=6)
    (failed,) = replay.tick()
    replay.fail(failed)
    replay.wait(minutes=61)
    replay.succeed(*replay.tick())
    evaluate(run_failure, ended(replay, failed, "run_failure").for_run_failure(), replay, caplog)
    assert hook.documents == []


@pytest.mark.parametrize("tag", ["dagster/partition", "dagster/asset_partition_range_start"])
def test_a_failed_job_is_logged_and_posted_with_its_partition_step_and_error(
    replay: Bench, hook: Webhook, caplog: pytest.LogCaptureFixture, tag: str
) -> None:
    context = fail(raising_job, replay, {tag: KEY})
    text = f"raising_job for {KEY} failed at raises: ValueError: the disk is full | Next: nobody tries again before its next "
    evaluate(run_failure, context, replay, caplog)
    (document,) = hook.documents
    assert document["text"].startswith(text)
    assert (document["run_id"], document["steps"]) == (context.dagster_run.run_id, ["raises"])
    assert document["message"] == "ValueError: the disk is full"  # further lines may name customers
    assert logged(caplog, logging.ERROR) == [document["text"]]
    assert logged(caplog, logging.WARNING) == []


def test_a_job_that_dagster_tries_again_alerts_nobody_yet(replay: Bench, caplog: pytest.LogCaptureFixture) -> None:
    evaluate(run_failure, fail(raising_job, replay, {"dagster/will_retry": "true"}), replay, caplog)
    assert logged(caplog, logging.ERROR) == []
    assert "no alert yet" in logged(caplog, logging.INFO)[0]


def test_a_failure_that_says_what_to_do_is_quoted(replay: Bench, caplog: pytest.LogCaptureFixture) -> None:
    evaluate(run_failure, fail(giving_up_job, replay, {}), replay, caplog)
    (text,) = logged(caplog, logging.ERROR)
    assert text.startswith("giving_up_job failed at gives_up: nothing is published yet: run history_job or a slice first | ")


def test_a_run_that_died_between_its_steps_alerts_too(replay: Bench, caplog: pytest.LogCaptureFixture) -> None:
    run = dg.DagsterRun(job_name="daily_job", run_id="6a1d6b7c-0d1e-4c55-9a0e-2f3f2c8a5211", tags={"dagster/partition": KEY})
    replay.instance.add_run(run)
    event = replay.instance.report_run_failed(run, "the process was killed")
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failure", dagster_event=event, dagster_instance=replay.instance, dagster_run=run
    ).for_run_failure()
    evaluate(run_failure, context, replay, caplog)
    assert logged(caplog, logging.ERROR)[0].startswith(f"daily_job for {KEY} failed: the process was killed | ")


@pytest.mark.parametrize("hook", [500, 0], indirect=True)
def test_a_webhook_that_does_not_take_the_alert_fails_no_sensor(
    replay: Bench, hook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    context = fail(raising_job, replay, {})
    evaluate(run_failure, context, replay, caplog)
    assert len(hook.documents) == 1
    assert len(logged(caplog, logging.ERROR)) == 1
    (warning,) = logged(caplog, logging.WARNING)
    assert warning.startswith("the alert could not be delivered: ")


@pytest.mark.parametrize("address", ["ftp://example.org/alerts", "", "dead"])
def test_a_dead_or_misspelt_webhook_fails_no_sensor(
    replay: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    context = fail(raising_job, replay, {})
    monkeypatch.setenv(WEBHOOK, dead_address() if address == "dead" else address)
    evaluate(run_failure, context, replay, caplog)
    assert len(logged(caplog, logging.ERROR)) == 1
    assert len(logged(caplog, logging.WARNING)) == (1 if address else 0)  # an empty address is none
