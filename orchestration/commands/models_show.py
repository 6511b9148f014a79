"""``customer360 models show VERSION``."""

from __future__ import annotations

import argparse

from customer360.decisions import DecisionRefused
from ml.versions.model_store import ModelRefused, ModelStoreError
from ml.versions.model_text import show_lines
from ml.versions.shop_models import load_for_shop, store_of
from orchestration.console import WELL, WRONG, say, settings_of

EXPECTED = (DecisionRefused, ModelStoreError)


def run(options: argparse.Namespace) -> int:
    """The manifest of a version, its metrics beside the baselines', and its decisions; 1 where it would be refused now."""
    settings = settings_of(options)
    name, store = options.model, store_of(settings, options.model)
    champion = store.champion_version(name)
    if options.version == "champion" and champion is None:
        raise ModelStoreError(f"{store.root / name} has no champion yet; run training_job")
    version = champion if options.version == "champion" and champion else options.version
    store.require(name, version)
    manifest = store.manifest(name, version)
    try:
        load_for_shop(settings, name, version)
        problem = ""
    except ModelRefused as error:
        problem = str(error)
    decisions = [entry for entry in store.promotions(name) if version in (entry["version"], entry.get("champion"))]
    last = [entry["decision"] for entry in decisions if entry["version"] == version][-1:]
    standing = "the champion" if version == champion else last[0] if last else "undecided"
    say(*show_lines(manifest, standing, problem, decisions))
    return WRONG if problem else WELL
