"""Customers' attributes as they were known at given moments, from all versions of the reference table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ml.responses.timeline import Timeline, as_moments


def attributes_at(points: pd.DataFrame, versions: pd.DataFrame) -> pd.DataFrame:
    """One row for each of ``points`` (customer_id, at in plain UTC): the attributes in force, null where there are none.

    ``versions``: customer_id, valid_from, valid_to (null while in force) and the attributes, of one customer not overlapping
    (``customer360.lake.reference.attribute_versions``).
    """
    moments = as_moments(points["at"])
    timeline = Timeline.of(versions["customer_id"], versions["valid_from"])
    start, end = timeline.before(points, moments, or_at=True)
    until = as_moments(versions["valid_to"])[timeline.order]
    last = np.maximum(end - 1, 0)
    in_force = end > start
    if len(timeline.order):
        in_force &= np.isnat(until[last]) | (moments < until[last])
    rows = np.where(in_force, timeline.order[last] if len(timeline.order) else -1, -1)
    names = [name for name in versions.columns if name not in {"customer_id", "valid_from", "valid_to"}]
    found = {name: versions[name].reset_index(drop=True).reindex(rows).to_numpy(dtype=object) for name in names}
    return pd.DataFrame({name: pd.Series(values, index=points.index, dtype=object) for name, values in found.items()})
