"""The published table ``model_versions``: one row a version, with what was decided about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from ml.datasets.targets import WAIT_DAYS
from ml.judging.evaluation import CHAMPION, MODEL
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


def judged_until(store: ModelStore, name: str, horizon_days: int) -> list[datetime]:
    """As of when each version was judged, its labels included; plain UTC.

    ``horizon_days``: for manifests that do not say theirs. A version whose manifest cannot be read is left out: the table shows
    it as unreadable.
    """
    judged = []
    for version in store.versions(name):
        try:
            manifest = store.manifest(name, version)
        except ModelRefused:
            continue
        cutoff = manifest.validation_cutoff
        moment = cutoff.astimezone(UTC).replace(tzinfo=None) if cutoff.tzinfo else cutoff
        judged.append(moment + timedelta(days=(manifest.horizon_days or horizon_days) + WAIT_DAYS))
    return judged


def _numbers(manifest: Manifest) -> dict[str, Any]:
    baselines = {
        name: scores["log_loss"] for name, scores in manifest.metrics.items() if name not in {MODEL, CHAMPION, *manifest.rivals}
    }
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
