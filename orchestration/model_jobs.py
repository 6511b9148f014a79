"""Decisions about model versions as jobs: the launchpad asks for model, version and reason, the asset's timeline keeps them."""

from collections.abc import Callable

import dagster as dg
from pydantic import Field

from customer360.decisions import DecisionRefused, Request
from customer360.settings import Settings
from ml.datasets.targets import AFFINITY, EVERY_MODEL
from ml.versions.model_decisions import VersionDecision, promote, reject, roll_back
from ml.versions.model_store import ModelStoreError
from orchestration.resources import Platform

# Model -> the asset whose versions it has.
ASSETS = {name: dg.AssetKey(["predictions", f"{name}_model"]) for name in EVERY_MODEL}
WHICH = f"The model: {', '.join(EVERY_MODEL)}."
ONCE = {"dagster/max_retries": "0"}  # a refusal is the same on every attempt


class Decision(dg.Config):
    """What the launchpad asks for."""

    model: str = Field(default=AFFINITY, description=WHICH)
    version: str = Field(description="The version, as in model_versions or `customer360 models list`.")
    reason: str = Field(description="Why, in a few words. It is kept with the version and must not be empty.")


class Rollback(dg.Config):
    """What the launchpad asks for; the version may be left out."""

    model: str = Field(default=AFFINITY, description=WHICH)
    version: str = Field(default="", description="An earlier champion. Empty: the one before the present champion.")
    reason: str = Field(description="Why, in a few words. It is kept with the version and must not be empty.")


@dg.op(description="Make a version champion; refused where it does not load for the shop's features and categories of now.")
def promote_version(context: dg.OpExecutionContext, config: Decision, platform: Platform) -> None:
    """The version scores from the next slice on."""
    _decide(context, config, platform, lambda settings, request: promote(settings, config.model, config.version, request))


@dg.op(description="Record that a version is not to serve, also not in need. Refused for the champion: roll back instead.")
def reject_version(context: dg.OpExecutionContext, config: Decision, platform: Platform) -> None:
    """The version serves no more."""
    _decide(context, config, platform, lambda settings, request: reject(settings, config.model, config.version, request))


@dg.op(description="Withdraw the champion: an earlier one serves again, by default the one before.")
def roll_back_version(context: dg.OpExecutionContext, config: Rollback, platform: Platform) -> None:
    """The earlier version scores from the next slice on."""
    version = config.version.strip() or None
    _decide(context, config, platform, lambda settings, request: roll_back(settings, config.model, version, request))


def _decide(
    context: dg.OpExecutionContext,
    config: Decision | Rollback,
    platform: Platform,
    take: Callable[[Settings, Request], VersionDecision],
) -> None:
    try:
        request = Request(config.reason, platform.now(), f"run {context.run_id}")
        decided = take(platform.settings(), request)
    except (DecisionRefused, ModelStoreError) as error:
        raise dg.Failure(f"nothing was changed: {error}", allow_retries=False) from error
    context.log_event(
        dg.AssetObservation(
            ASSETS[decided.name],
            description=f"{decided.version} {decided.decision}: {config.reason}",
            metadata={
                "decision": decided.decision,
                "model_version": decided.version,
                "reason": config.reason,
                "decided_by": request.by,
                "champion": decided.champion or "none",
                "champion_before": decided.champion_before or "none",
            },
        )
    )


@dg.job(executor_def=dg.in_process_executor, tags=ONCE)
def promote_model() -> None:
    """Make a version champion by hand, with its reason. The next slice scores with it."""
    promote_version()


@dg.job(executor_def=dg.in_process_executor, tags=ONCE)
def reject_model() -> None:
    """Record by hand that a version is not to serve, with its reason."""
    reject_version()


@dg.job(executor_def=dg.in_process_executor, tags=ONCE)
def rollback_model() -> None:
    """Withdraw the champion by hand, with its reason. The next slice scores with an earlier one."""
    roll_back_version()
