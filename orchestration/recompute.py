"""Recompute the kept scores of a day with their model version and the data known then, in a copy of the warehouse.

The dbt models of a slice compute the features, with another clock and the reference tables of that time. Runs wait only while
the warehouse is copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from customer360.lake.engine import connect
from customer360.lake.warehouse.known_then import Exceptions, Snapshot, read_snapshot, set_as_known, warehouse_copy
from customer360.settings import Settings
from ml.datasets.targets import AFFINITY
from ml.serving import scoring
from ml.serving.score_comparison import Comparison, compare
from ml.versions.model_store import ModelRefused
from ml.versions.shop_models import load_for_shop
from orchestration.runtime.dbt_run import DbtError, failure_text, invoke

# The models upstream of customer_features, without those that each slice writes once, on its arrival.
SELECTION = ["--select", "+customer_features", "--exclude", "+tag:slice_grain"]


@dataclass(frozen=True)
class Recomputed:
    """A day's kept scores, their comparison with the recomputed ones, and the inputs that differ from those known then."""

    snapshot: Snapshot
    comparison: Comparison
    exceptions: Exceptions


def recompute(settings: Settings, day: str | None, holder: str) -> Recomputed:
    """Recompute the kept scores of a shop-local day (default: the newest), and compare.

    Raises ``SnapshotError`` without kept scores, ``ModelRefused`` when their version does not load for the present shop,
    ``WarehouseBusyError`` where a run holds the warehouse for longer than a minute, ``DbtError`` when dbt fails.
    """
    snapshot = read_snapshot(settings.place, day)
    try:
        loaded = load_for_shop(settings, AFFINITY, snapshot.model_version)
    except ModelRefused as error:
        raise ModelRefused(
            f"the scores of {snapshot.day} were made by {snapshot.model_version}, which does not load now, so they cannot be "
            f"made again: {error}"
        ) from error
    with warehouse_copy(settings.place, holder) as copy:
        with connect(copy.parent / "spill", str(copy)) as connection:
            exceptions = set_as_known(connection, settings, snapshot)
        _build_features(settings, copy)
        with connect(copy.parent / "spill", str(copy)) as connection:
            features = connection.execute("select * from marts.customer_features order by customer_id").df()
    return Recomputed(snapshot, compare(snapshot.scores, scoring.score(features, loaded).to_pandas()), exceptions)


def _build_features(settings: Settings, warehouse: Path) -> None:
    target = settings.place.dbt_target / "recompute"
    outcome = invoke(settings, ["run", *SELECTION], target, lambda _: None, warehouse)
    if not outcome.success:
        raise DbtError(failure_text(outcome, target))
