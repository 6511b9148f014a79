"""``customer360 contracts``."""

from __future__ import annotations

import argparse

from customer360.lake.landing.contract_docs import contracts_markdown
from orchestration.console import WELL, say, settings_of

EXPECTED = ()


def run(options: argparse.Namespace) -> int:
    """Print the files and columns that the shop may bring, as Markdown."""
    say(contracts_markdown(settings_of(options).shop).rstrip("\n"))
    return WELL
