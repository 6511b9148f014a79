"""``customer360 status``."""

from __future__ import annotations

from orchestration.console import WELL, Invocation, JsonOption, answer, now


def status(invocation: Invocation, as_json: JsonOption = False) -> int:
    """What is published, waiting, quarantined and used, and who works."""
    from customer360.lake.operations.status import read_status, status_lines

    settings, moment = invocation.place_settings, now()
    state = read_status(settings, moment)
    answer(as_json, state, status_lines(settings, state, moment))
    return WELL
