"""The published table ``model_versions``: one row a version, with the last decision about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from customer360.lake.publishing.tables import TABLES
from ml.datasets.targets import WAIT_DAYS
from ml.versions.manifest import Manifest
from ml.versions.model_store import AUTOMATIC, ModelRefused, ModelStore


def model_versions(store: ModelStore, name: str) -> pd.DataFrame:
    """One row for each version on disk, oldest first.

    ``status``: promoted, rejected, rolled back (withdrawn as champion) or undecided, by its last decision; unreadable with the
    reason when the manifest is damaged.
    """
    decisions = {str(entry["version"]): entry for entry in store.promotions(name)}
    champion = store.champion_version(name)
    rows = []
    for version in store.versions(name):
        row: dict[str, Any] = {"model_name": name, "model_version": version, "is_champion": version == champion}
        entry = decisions.get(version)
        if entry is not None:
            row |= {"status": entry["decision"], "reason": entry["reason"], "decided_at": _plain(entry["at"])}
            row |= {"decided_by": entry.get("by", AUTOMATIC)}
        else:
            row |= {"status": "undecided"}
        try:
            row |= _numbers(store.manifest(name, version))
        except ModelRefused as error:
            row |= {"status": "unreadable", "reason": str(error)}
        rows.append(row)
    return TABLES["model_versions"].typed(rows)


def judged_until(store: ModelStore, name: str) -> Iterator[datetime]:
    """Until when the rows lasted that judged each version, labels included (plain UTC); the newest version first.

    Manifests are read one after the other, as the caller asks for them. Left out are versions whose manifest cannot be read,
    which the table shows as unreadable, and those of before 0.1.0 that do not state their horizon: the present one of shop.yaml
    may be another.
    """
    for version in reversed(store.versions(name)):
        try:
            manifest = store.manifest(name, version)
        except ModelRefused:
            continue
        if manifest.horizon_days is not None:
            cutoff = manifest.validation_cutoff
            moment = cutoff.astimezone(UTC).replace(tzinfo=None) if cutoff.tzinfo else cutoff
            yield moment + timedelta(days=manifest.horizon_days + WAIT_DAYS)


def _numbers(manifest: Manifest) -> dict[str, Any]:
    baselines = manifest.baselines
    best = min(baselines, key=lambda name: (baselines[name], name))
    return {
        "created_at": manifest.created_at.astimezone(UTC).replace(tzinfo=None),
        "validation_as_of": manifest.validation_cutoff,
        "train_cutoff_count": len(manifest.train_cutoffs),
        "rows_train": manifest.rows_train,
        "rows_validation": manifest.rows_validation,
        "serves": manifest.serves,
        **manifest.served_metrics,
        "best_baseline": best,
        "best_baseline_log_loss": baselines[best],
        "tree_count": manifest.tree_count,
        "feature_count": len(manifest.features),
        "data_fingerprint": manifest.data_fingerprint,
        "model_sha256": manifest.model_sha256,
    }


def _plain(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
