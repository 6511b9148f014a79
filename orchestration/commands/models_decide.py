"""``customer360 models promote | reject | rollback``, each with ``--reason``."""

from __future__ import annotations

import argparse

from customer360.decisions import DecisionRefused, Request
from ml.versions.decision_log import PROMOTED, REJECTED
from ml.versions.model_decisions import VersionDecision, promote, reject, roll_back
from ml.versions.model_store import ModelStoreError
from orchestration.console import WELL, now, say, settings_of, user

EXPECTED = (DecisionRefused, ModelStoreError)


def run(options: argparse.Namespace) -> int:
    """Take the decision, or say why it cannot be taken; nothing has changed then."""
    settings = settings_of(options)
    request = Request(options.reason, now(), user())
    if options.action == "promote":
        decided = promote(settings, options.model, options.version, request)
    elif options.action == "reject":
        decided = reject(settings, options.model, options.version, request)
    else:
        decided = roll_back(settings, options.model, options.version, request)
    say(*_lines(decided))
    return WELL


def _lines(decided: VersionDecision) -> list[str]:
    if decided.decision == REJECTED:
        return [f"{decided.name} {decided.version} is rejected: it serves no more, until it is promoted."]
    before = decided.champion_before or "none"
    return [
        f"{decided.name} {decided.champion} is the champion now.",
        f"Before it: {before}{'' if decided.decision == PROMOTED else ', which serves no more until it is promoted'}.",
        "The next slice scores with it. To have it at once, run warehouse_job.",
    ]
