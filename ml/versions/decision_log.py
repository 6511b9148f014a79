"""The decisions about the versions of a model, and the champions that they leave: ``<root>/<name>/promotions.jsonl``.

One JSON object a line, oldest first: version, decision, reason, at (UTC), by, previous (the champion before), and of a rollback
``champion``, the version that serves from then on. The log only grows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

from customer360.decisions import Request
from customer360.lake.atomic import write_text

PROMOTED, REJECTED, ROLLED_BACK = "promoted", "rejected", "rolled back"


def read_decisions(file: Path) -> list[dict[str, Any]]:
    """Every decision in the order in which it was taken; none before the first."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def append_decision(file: Path, version: str, decision: str, request: Request, **more: str | None) -> None:
    """Add a line. The complete log is written and renamed, so that a crash cannot leave half a line."""
    entry = {
        "version": version,
        "decision": decision,
        "reason": request.reason_line,
        "at": request.at.astimezone(UTC).isoformat(),
        "by": request.by,
        **more,
    }
    write_text(file, "".join(json.dumps(line) + "\n" for line in [*read_decisions(file), entry]))


def succession(decisions: Iterable[Mapping[str, Any]]) -> list[str]:
    """The champions that may serve, newest first.

    A promotion puts its version first. A rollback withdraws every version above the one that it went back to, and a rejection
    withdraws its own: neither serves again, not even as a fallback, until it is promoted again.
    """
    line: list[str] = []
    for entry in decisions:
        version = str(entry["version"])
        if entry["decision"] == ROLLED_BACK:
            back_to = str(entry["champion"])
            line = line[line.index(back_to) :] if back_to in line else [back_to, *line]
        line = [other for other in line if other != version]
        if entry["decision"] == PROMOTED:
            line.insert(0, version)
    return line
