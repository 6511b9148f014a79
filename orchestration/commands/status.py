"""``customer360 status``."""

from __future__ import annotations

from orchestration.console import CRITICAL, UNKNOWN, WARNING, WELL, Invocation, JsonOption, answer, fitted, now


def status(invocation: Invocation, as_json: JsonOption = False) -> int:
    """What is published, waiting, quarantined and wrong.

    Disturbs no run. Exits as monitors expect: 0 healthy, 1 warning, 2 critical, 3 unknown; the first line says why.
    """
    from customer360.lake.operations.status import State, read_status, status_lines

    settings, moment = invocation.place_settings, now()
    found = read_status(settings, moment)
    lines = [part for line in status_lines(settings, found, moment) for part in fitted(line, hanging=" " * 11)]
    answer(as_json, {"state": found.state, **vars(found)}, lines)
    codes = {State.HEALTHY: WELL, State.WARNING: WARNING, State.CRITICAL: CRITICAL, State.UNKNOWN: UNKNOWN}
    return codes[found.state]
