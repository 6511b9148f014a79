"""An operator's decisions about versions: promote, reject, roll back. Each with a reason, and only where it can be served.

``model_versions`` is made and published again with each decision, so that BI has it at once; the next slice scores by it.
"""

from __future__ import annotations

from dataclasses import dataclass

from customer360.decisions import Request
from customer360.settings import Settings
from ml.versions.decision_log import PROMOTED, REJECTED, ROLLED_BACK
from ml.versions.model_store import ModelRefused, ModelStoreError
from ml.versions.shop_models import load_for_shop, publish_versions, store_of


@dataclass(frozen=True)
class VersionDecision:
    """The decision about ``version``, and the champion before and after (None: there was none)."""

    name: str
    version: str
    decision: str
    champion_before: str | None
    champion: str | None


def promote(settings: Settings, name: str, version: str, request: Request) -> VersionDecision:
    """Make a version champion, whatever its metrics say.

    Raises ``ModelRefused`` when it does not load for the shop's present features and categories, ``ModelStoreError`` when it is
    unknown or champion already. Nothing has changed then.
    """
    store = store_of(settings, name)
    store.require(name, version)
    before = store.champion_version(name)
    if version == before:
        raise ModelStoreError(f"{name} {version} is the champion already")
    load_for_shop(settings, name, version)
    store.promote(name, version, request.reason, request.at, request.by)
    return _published(settings, request, VersionDecision(name, version, PROMOTED, before, version))


def reject(settings: Settings, name: str, version: str, request: Request) -> VersionDecision:
    """Record that a version is not to serve, not even as a fallback. Raises ``ModelStoreError`` for the champion."""
    store = store_of(settings, name)
    champion = store.champion_version(name)
    store.reject(name, version, request.reason, request.at, request.by)
    return _published(settings, request, VersionDecision(name, version, REJECTED, champion, champion))


def roll_back(settings: Settings, name: str, version: str | None, request: Request) -> VersionDecision:
    """Withdraw the champion: ``version``, an earlier champion, serves again; without one, the champion before.

    Raises ``ModelStoreError`` where there is no such champion, ``ModelRefused`` when it does not load for the shop's present
    features and categories. Nothing has changed then.
    """
    store = store_of(settings, name)
    earlier = store.earlier_champions(name)
    if version is None and not earlier:
        champion = store.champion_version(name)
        if champion is None:
            raise ModelStoreError(f"{name} has no champion yet, so there is nothing to withdraw; run training_job")
        raise ModelStoreError(f"{name} has no champion before {champion}; promote another version instead")
    back_to = version or earlier[0]
    store.require(name, back_to)
    try:
        load_for_shop(settings, name, back_to)
    except ModelRefused as error:
        others = ", ".join(other for other in earlier if other != back_to)
        raise ModelRefused(f"{error}. {f'Earlier champions: {others}' if others else 'There is no other champion'}") from error
    withdrawn = store.roll_back(name, back_to, request.reason, request.at, request.by)
    return _published(settings, request, VersionDecision(name, withdrawn, ROLLED_BACK, withdrawn, back_to))


def _published(settings: Settings, request: Request, decision: VersionDecision) -> VersionDecision:
    publish_versions(settings, request.at)
    return decision
