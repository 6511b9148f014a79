"""Jobs that approve and withdraw plans and send due contacts. Backfills, and reruns of an earlier day, change nothing.

The launchpad asks for campaign, version and reason; the events of ``campaign_ledger`` keep them.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from customer360.campaigns.approval import approve, withdraw
from customer360.campaigns.sending import SendRefused, outbox, send
from customer360.decisions import DecisionRefused, Request
from customer360.settings import Settings
from customer360.snapshot import published_touches
from orchestration.partitions import day_key
from orchestration.resources import Platform

LEDGER = dg.AssetKey(["campaigns", "campaign_ledger"])
ONCE = {"dagster/max_retries": "0"}  # a refusal is the same on every attempt
WHY = "Why, in a few words. It is kept in the ledger and must not be empty."


class Approval(dg.Config):
    """What the launchpad asks for."""

    campaign: str = Field(description="The campaign, as its file is named.")
    version: str = Field(description="plan_version of its newest draft, as in campaign_plan or `customer360 campaigns list`.")
    reason: str = Field(description=WHY)
    without_evidence: bool = Field(
        default=False, description="Also a draft of which nothing measured says what its contacts add (value_basis: prior)."
    )


class Withdrawal(dg.Config):
    """What the launchpad asks for."""

    campaign: str = Field(description="The campaign, as its file is named.")
    customers: list[str] = Field(default=[], description="Only these customers. Empty: all that is not sent.")
    reason: str = Field(description=WHY)


@dg.op(description="Approve the newest draft of a campaign; refused where it would break a limit beside what is committed now.")
def approve_plan(context: dg.OpExecutionContext, config: Approval, platform: Platform) -> None:
    """Its contacts are sent when they are due, once sending is switched on."""

    def take(settings: Settings, request: Request) -> Mapping[str, str | int | float]:
        touches = published_touches(settings)
        done = approve(
            settings,
            config.campaign,
            config.version,
            request,
            platform.shop_now(),
            touches=touches,
            without_evidence=config.without_evidence,
        )
        return {
            "plan_version": done.plan_version,
            "contacts": done.contacts,
            "held_out": done.holdouts,
            "cost": done.cost,
            "committed_before": done.committed,
            "nothing_changed": done.before or "no",
            "without_evidence": done.unproven or "no",
        }

    _decide(context, platform, config.reason, f"{config.version} approved", take)


@dg.op(description="Take back what is approved and not sent: a new fact in the ledger, never an edit.")
def withdraw_plan(context: dg.OpExecutionContext, config: Withdrawal, platform: Platform) -> None:
    """What was sent stays sent."""

    def take(settings: Settings, request: Request) -> Mapping[str, str | int | float]:
        done = withdraw(settings, config.campaign, request, platform.shop_now(), config.customers)
        return {"campaign": done.campaign_id, "contacts": done.contacts, "held_out": done.holdouts, "sent_before": done.sent}

    _decide(context, platform, config.reason, f"{config.campaign} withdrawn", take)


@dg.op(description="Hand approved contacts that are due over to the outbox. Consents and suppressions are read again first.")
def send_due_contacts(context: dg.OpExecutionContext, platform: Platform) -> None:
    """Each contact leaves once."""
    refuse_reruns(context, platform)
    settings = platform.settings()
    try:
        done = send(settings, platform.now(), platform.shop_now(), f"run {context.run_id}")
    except SendRefused as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log_event(
        dg.AssetObservation(
            LEDGER,
            description=f"{done.contacts:,} sent, {sum(done.suppressed.values()):,} suppressed",
            metadata={
                "sent": done.contacts,
                "suppressed": dict(done.suppressed),
                "files": [str(file.relative_to(outbox(settings.place))) for file in done.files],
                "handed_over_after_a_crash": len(done.finished),
                "next_contact_is_due": f"{done.next_due:%Y-%m-%d %H:%M} UTC" if done.next_due else "none is approved",
            },
        )
    )


def refuse_reruns(context: dg.OpExecutionContext, platform: Platform) -> None:
    """Raise ``Failure`` in a backfill, and in a run that repeats one of an earlier day of the shop."""
    tags = context.run.tags
    if "dagster/backfill" in tags:
        raise dg.Failure("backfills never approve or send: nothing was changed", allow_retries=False)
    root = context.run.root_run_id or tags.get("dagster/root_run_id")
    if root is None:
        return
    record = context.instance.get_run_record_by_id(root)
    shop = platform.settings().shop
    asked = record.create_timestamp if record else datetime.fromtimestamp(0, UTC)
    day = day_key(shop, asked)
    if day < day_key(shop, platform.now()):
        raise dg.Failure(
            f"this repeats a run of {day}, and reruns of an earlier day never approve or send: nothing was changed",
            allow_retries=False,
        )


def _decide(
    context: dg.OpExecutionContext,
    platform: Platform,
    reason: str,
    what: str,
    take: Callable[[Settings, Request], Mapping[str, str | int | float]],
) -> None:
    refuse_reruns(context, platform)
    try:
        request = Request(reason, platform.now(), f"run {context.run_id}")
        outcome = take(platform.settings(), request)
    except DecisionRefused as error:
        raise dg.Failure(f"nothing was changed: {error}", allow_retries=False) from error
    metadata = {**outcome, "reason": request.reason_line, "decided_by": request.by}
    context.log_event(dg.AssetObservation(LEDGER, description=f"{what}: {request.reason_line}", metadata=metadata))


@dg.job(executor_def=dg.in_process_executor, tags=ONCE)
def approve_campaign() -> None:
    """Approve a campaign's newest draft by hand, with its reason. Approving twice changes nothing."""
    approve_plan()


@dg.job(executor_def=dg.in_process_executor, tags=ONCE)
def withdraw_campaign() -> None:
    """Take back by hand what is approved and not sent, with its reason."""
    withdraw_plan()


@dg.job(executor_def=dg.in_process_executor, tags=ONCE)
def send_job() -> None:
    """Hand over approved contacts that are due. Hourly, once somebody has switched send_schedule on."""
    send_due_contacts()
