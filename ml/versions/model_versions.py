"""The published table ``model_versions``: one row a version, with the last decision about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from ml.datasets.targets import WAIT_DAYS
from ml.judging.evaluation import MODEL
from ml.versions.manifest import Manifest
from ml.versions.model_store import AUTOMATIC, ModelRefused, ModelStore

# Column -> pandas type; the table is typed even when it has no rows. Timestamps are plain UTC.
COLUMNS = {
    "model_name": "str",
    "model_version": "str",
    "is_champion": "boolean",
    "status": "str",
    "reason": "str",
    "created_at": "datetime64[us]",
    "decided_at": "datetime64[us]",
    "decided_by": "str",
    "validation_as_of": "datetime64[us]",
    "train_cutoff_count": "Int64",
    "rows_train": "Int64",
    "rows_validation": "Int64",
    "log_loss": "Float64",
    "best_baseline": "str",
    "best_baseline_log_loss": "Float64",
    "brier": "Float64",
    "accuracy": "Float64",
    "macro_f1": "Float64",
    "calibration_error": "Float64",
    "lift_10": "Float64",
    "tree_count": "Int64",
    "feature_count": "Int64",
    "data_fingerprint": "str",
    "model_sha256": "str",
}


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
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


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
        **manifest.metrics[MODEL],
        "best_baseline": best,
        "best_baseline_log_loss": baselines[best],
        "tree_count": manifest.tree_count,
        "feature_count": len(manifest.features),
        "data_fingerprint": manifest.data_fingerprint,
        "model_sha256": manifest.model_sha256,
    }


def _plain(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
