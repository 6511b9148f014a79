"""Why a model could not be trained, and from when on it can be: for people who wait for one."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from customer360.settings import Shop
from ml.datasets.targets import Target


def outlook(frame: pd.DataFrame, shop: Shop, target: Target, first_slice: datetime | None, error: Exception) -> dict[str, str]:
    """What is missing, the cut-offs that there are and those that are needed, and from when on these have history enough.

    ``frame``: ``training_features``. ``first_slice``: start of the oldest slice (UTC), None where there is none.
    """
    needed, found = target.cutoffs_needed(shop), int(frame["cutoff_no"].nunique())
    known = int(frame.loc[target.is_known(frame), "cutoff_no"].nunique())
    said = {
        "missing": str(error),
        "cutoffs": f"{found}, of which {known} are {target.horizon_days} days and 2 more ago; {needed} are needed",
    }
    if needed > shop.training.cutoffs:
        said["to_do"] = f"raise training.cutoffs in shop.yaml from {shop.training.cutoffs} to {needed}"
    if first_slice is not None:
        moment = first_slice + target.history_needed(shop)
        there = " (there is)" if found >= needed else ""
        said["enough_history_from"] = f"{moment:%Y-%m-%d %H:%M} UTC{there}"
    return said
