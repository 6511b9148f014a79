"""``customer360 models list``."""

from __future__ import annotations

import argparse

from customer360.decisions import DecisionRefused
from ml.versions.model_text import list_lines
from ml.versions.model_versions import model_versions
from ml.versions.shop_models import servable_for_shop, store_of
from orchestration.console import WELL, WRONG, say, settings_of

EXPECTED = (DecisionRefused,)


def run(options: argparse.Namespace) -> int:
    """Every version with what was decided about it; 1 where the champion is refused or nothing serves."""
    settings = settings_of(options)
    servable = servable_for_shop(settings, options.model)
    say(*list_lines(options.model, model_versions(store_of(settings, options.model), options.model), servable))
    return WRONG if servable.refusals else WELL
