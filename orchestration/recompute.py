"""A day's kept scores made again: by the version that they name, from what was known then, in a copy of the warehouse.

Features come from the models that make them in a slice, and so from the one macro; only the clock and the reference tables
differ. No run waits for longer than the copy takes.
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

# What customer_features is made of, without what a slice wrote when it arrived.
SELECTION = ["--select", "+customer_features", "--exclude", "+tag:slice_grain"]


@dataclass(frozen=True)
class Recomputed:
    """A day's kept scores, how they compare with those made again, and what is not as it was known then."""

    snapshot: Snapshot
    comparison: Comparison
    exceptions: Exceptions


def recompute(settings: Settings, day: str | None, holder: str) -> Recomputed:
    """Make the kept scores of a shop-local day (default: the newest) again, and compare.

    Raises ``SnapshotError`` where there are none, ``ModelRefused`` when their version does not load for the shop of now,
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
