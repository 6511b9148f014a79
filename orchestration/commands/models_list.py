"""``customer360 models list``."""

from __future__ import annotations

import argparse

from customer360.features import feature_list
from customer360.settings import NONE
from ml.decision_log import DecisionRefused
from ml.model_decisions import store_of
from ml.model_text import list_lines
from ml.model_versions import model_versions
from orchestration.console import WELL, WRONG, say, settings_of

EXPECTED = (DecisionRefused,)


def run(options: argparse.Namespace) -> int:
    """Every version with what was decided about it; 1 where the champion is refused or nothing serves."""
    settings = settings_of(options)
    shop, store = settings.shop, store_of(settings, options.model)
    servable = store.load_servable(options.model, feature_list(shop), [*shop.category_ids, NONE])
    say(*list_lines(options.model, model_versions(store, options.model), servable))
    return WRONG if servable.refusals else WELL
