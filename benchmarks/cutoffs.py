"""Features and labels of a loaded history at any points in time, by the models that make training sets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd

from customer360.lake.warehouse.cutoffs import EVERY_CUTOFF, write_training_cutoffs
from customer360.lake.warehouse.warehouse import open_warehouse
from customer360.settings import Settings


def features_at(settings: Settings, moments: Sequence[datetime], target: Path) -> pd.DataFrame:
    """``training_features`` as of each moment (plain UTC), of so many at a time as the shop has cut-offs.

    ``cutoff_no`` counts within a time; ``target`` is where dbt may write. Raises ``RuntimeError`` when dbt fails.
    """
    at_once = settings.shop.training.cutoffs
    parts = [_built(settings, moments[start : start + at_once], target) for start in range(0, len(moments), at_once)]
    return pd.concat(parts, ignore_index=True)


def _built(settings: Settings, moments: Sequence[datetime], target: Path) -> pd.DataFrame:
    with open_warehouse(settings.place) as connection:
        write_training_cutoffs(connection, moments, [EVERY_CUTOFF] * len(moments))
    from orchestration.runtime.dbt_run import invoke  # noqa: PLC0415  of the shop that the environment names by now

    outcome = invoke(settings, ["run", "--select", "training_features", "--quiet"], target, lambda _: None)
    if not outcome.success:
        raise RuntimeError(f"dbt failed; its log is in {target}")
    with open_warehouse(settings.place) as connection:
        return connection.execute("from marts.training_features order by cutoff_no, customer_id").df()
