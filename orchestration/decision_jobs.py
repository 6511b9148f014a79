"""Jobs by hand: approve or withdraw a plan, promote, reject or withdraw a model version; and the one that sends due contacts.

The launchpad asks for the reason; the events of ``campaign_ledger``, or of the model's asset, keep it. Backfills, and reruns of
an earlier day, approve and send nothing.
"""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from customer360.campaigns.approval import approve, withdraw
from customer360.campaigns.hand_over import post_outbox
from customer360.campaigns.sending import SendRefused, outbox, send
from customer360.decisions import DecisionRefused, Request
from customer360.settings import Settings
from customer360.snapshot import published_touches
from ml.datasets.targets import AFFINITY, EVERY_MODEL
from ml.versions.model_decisions import VersionDecision, promote, reject, roll_back
from ml.versions.model_store import ModelStoreError
from orchestration.partitions import day_key
from orchestration.resources import Platform

LEDGER = dg.AssetKey(["campaigns", "campaign_ledger"])
REASON = Field(description="Why, in a few words. It is kept with the decision and must not be empty.")
CAMPAIGN = Field(description="The campaign, as its file is named.")
MODEL = Field(default=AFFINITY, description=f"The model: {', '.join(EVERY_MODEL)}.")

# The asset that keeps a decision, what was decided, and its numbers.
Outcome = tuple[dg.AssetKey, str, Mapping[str, str | int | float]]


class Approval(dg.Config):
    """What the launchpad asks for."""

    campaign: str = CAMPAIGN
    version: str = Field(description="plan_version of its newest draft, as in campaign_plan or `customer360 campaigns list`.")
    reason: str = REASON
    without_evidence: bool = Field(
        default=False, description="Also a draft of which nothing measured says what its contacts add (value_basis: prior)."
    )


class Withdrawal(dg.Config):
    """What the launchpad asks for."""

    campaign: str = CAMPAIGN
    customers: list[str] = Field(default=[], description="Only these customers. Empty: all that is not sent.")
    reason: str = REASON


class Decision(dg.Config):
    """What the launchpad asks for."""

    model: str = MODEL
    version: str = Field(description="The version, as in model_versions or `customer360 models list`.")
    reason: str = REASON


class Rollback(dg.Config):
    """What the launchpad asks for; the version may be left out."""

    model: str = MODEL
    version: str = Field(default="", description="An earlier champion. Empty: the one before the present champion.")
    reason: str = REASON


@dg.op(description="Approve the newest draft of a campaign; refused where it would break a limit beside what is committed now.")
def approve_plan(context: dg.OpExecutionContext, config: Approval, platform: Platform) -> None:
    """Its contacts are sent when they are due, once sending is switched on."""

    def take(settings: Settings, request: Request) -> Outcome:
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
        return (
            LEDGER,
            f"{config.version} approved",
            {
                "plan_version": done.plan_version,
                "contacts": done.contacts,
                "held_out": done.holdouts,
                "cost": done.cost,
                "committed_before": done.committed,
                "nothing_changed": done.before or "no",
                "without_evidence": done.unproven or "no",
            },
        )

    refuse_reruns(context, platform)
    _decide(context, platform, config.reason, take)


@dg.op(description="Take back what is approved and not sent: a new fact in the ledger, never an edit.")
def withdraw_plan(context: dg.OpExecutionContext, config: Withdrawal, platform: Platform) -> None:
    """What was sent stays sent."""

    def take(settings: Settings, request: Request) -> Outcome:
        done = withdraw(settings, config.campaign, request, platform.shop_now(), config.customers)
        counts = {"contacts": done.contacts, "held_out": done.holdouts, "sent_before": done.sent}
        return LEDGER, f"{config.campaign} withdrawn", {"campaign": done.campaign_id, **counts}

    refuse_reruns(context, platform)
    _decide(context, platform, config.reason, take)


@dg.op(description="Hand approved contacts that are due over to the outbox. Consents and suppressions are read again first.")
def send_due_contacts(context: dg.OpExecutionContext, platform: Platform) -> None:
    """Each contact leaves once."""
    refuse_reruns(context, platform)
    settings = platform.settings()
    try:
        done = send(settings, platform.now(), platform.shop_now(), f"run {context.run_id}")
    except SendRefused as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    posted = post_outbox(settings, os.environ)
    context.log_event(
        dg.AssetObservation(
            LEDGER,
            description=f"{done.contacts:,} sent, {done.queued:,} queued, {sum(done.suppressed.values()):,} suppressed",
            metadata={
                "sent": done.contacts,
                "queued": done.queued,
                "suppressed": dict(done.suppressed),
                "files": [str(file.relative_to(outbox(settings.place))) for file in done.files],
                "posted": sum(posted.files.values()),
                "handed_over_after_a_crash": len(done.finished),
                "next_contact_is_due": f"{done.next_due:%Y-%m-%d %H:%M} UTC" if done.next_due else "none is approved",
            },
        )
    )
    if posted.failed:
        reasons = "; ".join(f"{file.name}: {why}" for file, why in posted.failed.items())
        raise dg.Failure(f"handed over, but not posted, and posted again by the next run: {reasons}", allow_retries=False)


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


@dg.op(description="Make a version champion; refused where it does not load for the shop's features and categories of now.")
def promote_version(context: dg.OpExecutionContext, config: Decision, platform: Platform) -> None:
    """The version scores from the next slice on."""
    _decide(
        context,
        platform,
        config.reason,
        lambda shop, request: _of_version(promote(shop, config.model, config.version, request)),
    )


@dg.op(description="Record that a version is not to serve, also not in need. Refused for the champion: roll back instead.")
def reject_version(context: dg.OpExecutionContext, config: Decision, platform: Platform) -> None:
    """The version serves no more."""
    _decide(
        context, platform, config.reason, lambda shop, request: _of_version(reject(shop, config.model, config.version, request))
    )


@dg.op(description="Withdraw the champion: an earlier one serves again, by default the one before.")
def roll_back_version(context: dg.OpExecutionContext, config: Rollback, platform: Platform) -> None:
    """The earlier version scores from the next slice on."""
    version = config.version.strip() or None
    _decide(
        context, platform, config.reason, lambda shop, request: _of_version(roll_back(shop, config.model, version, request))
    )


def _of_version(decided: VersionDecision) -> Outcome:
    return (
        dg.AssetKey(["predictions", f"{decided.name}_model"]),
        f"{decided.version} {decided.decision}",
        {
            "decision": decided.decision,
            "model_version": decided.version,
            "champion": decided.champion or "none",
            "champion_before": decided.champion_before or "none",
        },
    )


def _decide(
    context: dg.OpExecutionContext, platform: Platform, reason: str, take: Callable[[Settings, Request], Outcome]
) -> None:
    """Take a decision and record it; refused ones change nothing, and are no matter of another attempt."""
    try:
        request = Request(reason, platform.now(), f"run {context.run_id}")
        asset, what, outcome = take(platform.settings(), request)
    except (DecisionRefused, ModelStoreError) as error:
        raise dg.Failure(f"nothing was changed: {error}", allow_retries=False) from error
    metadata = {**outcome, "reason": request.reason_line, "decided_by": request.by}
    context.log_event(dg.AssetObservation(asset, description=f"{what}: {request.reason_line}", metadata=metadata))


def _job(name: str, op: dg.OpDefinition, description: str) -> dg.JobDefinition:
    """A job of one step; a refusal is the same on every attempt, so there is one."""
    return dg.GraphDefinition(name, node_defs=[op], description=description).to_job(tags={"dagster/max_retries": "0"})


approve_campaign = _job(
    "approve_campaign",
    approve_plan,
    "Approve a campaign's newest draft by hand, with its reason. Approving twice changes nothing.",
)
withdraw_campaign = _job(
    "withdraw_campaign", withdraw_plan, "Take back by hand what is approved and not sent, with its reason."
)
send_job = _job(
    "send_job",
    send_due_contacts,
    "Hand over approved contacts that are due. Hourly, once somebody has switched send_schedule on.",
)
promote_model = _job(
    "promote_model", promote_version, "Make a version champion by hand, with its reason. The next slice scores with it."
)
reject_model = _job("reject_model", reject_version, "Record by hand that a version is not to serve, with its reason.")
rollback_model = _job(
    "rollback_model",
    roll_back_version,
    "Withdraw the champion by hand, with its reason. The next slice scores with an earlier one.",
)
