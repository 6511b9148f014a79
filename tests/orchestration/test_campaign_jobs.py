"""Approval and sending as Dagster runs: the timeline keeps them, and neither a backfill nor an old run's repeat does any."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from orchestration.decision_jobs import LEDGER, approve_campaign, send_job, withdraw_campaign
from orchestration.resources import Platform
from orchestration.schedules import send_schedule
from tests.campaigns.conftest import Desk, at, holdout

MONDAY, TUESDAY = "2026-05-04 12:00", "2026-05-05 07:30"


class Stopped(Platform):
    """A shop whose clocks show one moment."""

    moment: str

    def now(self) -> datetime:
        return at(self.moment)

    def shop_now(self) -> datetime:
        return self.now()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.customers("C1,true,,", "C2,true,,")
    desk.draft({"customer_id": "C1"}, {"customer_id": "C2"}, holdout("C3"))
    return desk


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(
    desk: Desk,
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    now: str,
    tags: dict[str, str] | None = None,
    **config: Any,
) -> dg.ExecuteInProcessResult:
    platform = Stopped(shop_folder=str(desk.settings.shop_folder), data_dir=str(desk.place.root), moment=now)
    (op,) = [node.name for node in job.nodes]
    ops = {"ops": {op: {"config": config}}} if config else None
    return job.execute_in_process(
        resources={"platform": platform}, instance=instance, run_config=ops, tags=tags, raise_on_error=False
    )


def approve(
    desk: Desk, instance: dg.DagsterInstance, now: str = MONDAY, tags: dict[str, str] | None = None
) -> dg.ExecuteInProcessResult:
    return run(desk, instance, approve_campaign, now, tags, campaign="spring", version="spring-1", reason="looks right")


def observed(instance: dg.DagsterInstance, done: dg.ExecuteInProcessResult) -> dict[str, Any]:
    assert done.success
    (record,) = [record for record in instance.fetch_observations(LEDGER, limit=20).records if record.run_id == done.run_id]
    assert record.asset_observation is not None
    return {name: value.value for name, value in record.asset_observation.metadata.items()}


def refusal(done: dg.ExecuteInProcessResult) -> str:
    assert not done.success
    (failed,) = [event for event in done.all_events if event.is_step_failure]
    return str(failed.step_failure_data.user_failure_data.description)


def test_a_plan_is_approved_sent_and_told_on_the_timeline(desk: Desk, instance: dg.DagsterInstance) -> None:
    approved = observed(instance, approve(desk, instance))
    assert (approved["contacts"], approved["held_out"], approved["cost"]) == (2, 1, 1.0)
    assert approved["reason"] == "looks right" and approved["decided_by"].startswith("run ")
    sent = observed(instance, run(desk, instance, send_job, TUESDAY))
    assert sent["sent"] == 2 and sent["files"] == ["2026-05-05/spring-email-20260505T073000.000000Z.csv"]
    again = observed(instance, approve(desk, instance, TUESDAY))
    assert again["contacts"] == 0 and again["nothing_changed"].startswith("approved by run ")
    assert observed(instance, run(desk, instance, send_job, TUESDAY))["sent"] == 0


def test_what_is_refused_fails_the_run_and_changes_nothing(desk: Desk, instance: dg.DagsterInstance) -> None:
    assert "nothing was changed: the first contacts" in refusal(approve(desk, instance, "2026-05-06 00:00"))
    blank = run(desk, instance, approve_campaign, MONDAY, campaign="spring", version="spring-1", reason=" ")
    assert "a decision needs its reason" in refusal(blank)
    nothing = run(desk, instance, withdraw_campaign, MONDAY, campaign="spring", reason="why not")
    assert "nothing to withdraw" in refusal(nothing)
    assert desk.events() == []


def test_a_backfill_neither_approves_nor_sends_nor_withdraws(desk: Desk, instance: dg.DagsterInstance) -> None:
    backfill = {"dagster/backfill": "b1"}
    assert "backfills never approve or send" in refusal(approve(desk, instance, tags=backfill))
    assert approve(desk, instance).success
    before = desk.events()
    assert "backfills never" in refusal(run(desk, instance, send_job, TUESDAY, backfill))
    taken = run(desk, instance, withdraw_campaign, TUESDAY, backfill, campaign="spring", reason="wrong offer")
    assert "backfills never" in refusal(taken)
    assert desk.events() == before and desk.handed_over().empty


@pytest.mark.parametrize(("asked", "does_send"), [("2026-05-04 21:59", False), ("2026-05-04 22:01", True)])
def test_a_run_that_repeats_one_of_an_earlier_day_sends_nothing(
    desk: Desk, instance: dg.DagsterInstance, asked: str, *, does_send: bool
) -> None:
    approve(desk, instance)
    with freeze_time(at(asked).replace(tzinfo=UTC)):  # 22:00 UTC is midnight in Amsterdam
        first = instance.create_run_for_job(job_def=send_job)
    repeats = {"dagster/parent_run_id": first.run_id, "dagster/root_run_id": first.run_id}
    done = run(desk, instance, send_job, TUESDAY, repeats)
    if does_send:
        assert observed(instance, done)["sent"] == 2
    else:
        assert "this repeats a run of 2026-05-04" in refusal(done)
        assert desk.events("sent") == []


def test_a_withdrawn_customer_is_not_sent(desk: Desk, instance: dg.DagsterInstance) -> None:
    approve(desk, instance)
    taken = run(desk, instance, withdraw_campaign, MONDAY, campaign="spring", customers=["C1"], reason="asked us")
    assert observed(instance, taken)["contacts"] == 1
    run(desk, instance, send_job, TUESDAY)
    assert desk.events("sent") == [("sent", "C2")]


def test_the_schedule_asks_only_where_something_is_due_and_is_off_until_switched_on(
    desk: Desk, instance: dg.DagsterInstance
) -> None:
    assert send_schedule.default_status is dg.DefaultScheduleStatus.STOPPED

    def asked(now: str) -> dg.RunRequest | dg.SkipReason:
        platform = Stopped(shop_folder=str(desk.settings.shop_folder), data_dir=str(desk.place.root), moment=now)
        with dg.build_schedule_context(scheduled_execution_time=at(now)) as context:
            found = send_schedule(context, platform=platform)
        assert isinstance(found, dg.RunRequest | dg.SkipReason)
        return found

    assert isinstance(asked(TUESDAY), dg.SkipReason)
    approve(desk, instance)
    assert isinstance(asked(MONDAY), dg.SkipReason)
    due = asked(TUESDAY)
    assert isinstance(due, dg.RunRequest) and due.run_key == "send:2026-05-05-07:30"
    run(desk, instance, send_job, TUESDAY)
    assert isinstance(asked(TUESDAY), dg.SkipReason)
