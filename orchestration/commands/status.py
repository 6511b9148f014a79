"""``customer360 status``."""

from __future__ import annotations

import argparse

from customer360.lake.operations.status import read_status, status_lines
from orchestration.console import WELL, now, say, settings_of

EXPECTED = ()


def run(options: argparse.Namespace) -> int:
    """Say where things stand; reads only what is published, landed and quarantined."""
    settings, moment = settings_of(options), now()
    say(*status_lines(settings, read_status(settings, moment), moment))
    return WELL
