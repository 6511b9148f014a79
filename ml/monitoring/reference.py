"""The reference of windows: the days before a model was last judged, pooled, and the distance of each of them from the pool.

A reference is made once, at the first report after a training, from days that ``monitoring_activity`` still holds, and kept
in ``reports/drift/reference/<until>/``. A training renews it, promoted or not: its evaluation includes those days. After a
change it begins with the change, once two weeks have passed since; until then the previous reference is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from customer360.lake.warehouse.frames import write_parquet
from ml.monitoring.samples import (
    MAX_ROWS,
    WASSERSTEIN,
    WINDOWS,
    Sample,
    Values,
    counted,
    distance,
    drawn,
    method_of,
    wasserstein,
)
from ml.monitoring.thresholds import Limit, learned_limit
from ml.monitoring.windows import Columns, WindowReader

REFERENCE_DAYS = 36  # five weeks and a day: every weekday five times
LEAST_DAYS = 14
VALUES, NORMAL, PRICES = "values.parquet", "normal.parquet", "prices.parquet"
NAME = "%Y%m%dT%H%M%S"


@dataclass(frozen=True)
class Period:
    """Days of a reference: the last ``days`` times 24 hours before ``until`` (plain UTC)."""

    until: datetime
    days: int


@dataclass(frozen=True)
class Reference:
    """Pooled values of normal days by (kind, column), mean order values by product, and the distances of those days.

    ``normal``: one row a kind, column and window (``day_end``) with its ``value``.
    """

    period: Period
    values: Columns
    prices: dict[str, float]
    normal: pd.DataFrame

    def samples(self, reader: WindowReader, day_no: int) -> list[Sample]:
        """The windows that end with day ``day_no`` beside this reference; columns that one side lacks are left out."""
        return [
            Sample(*key, current, self.values[key])
            for kind, days in WINDOWS.items()
            for key, current in reader.window(kind, day_no, days, self.prices).items()
            if key in self.values and len(current)
        ]

    def limits(self) -> dict[tuple[str, str], Limit]:
        """The threshold of each column from these days alone."""
        basis = f"windows until {self.period.until:%Y-%m-%d}"
        return {
            (str(kind), str(column)): learned_limit(str(kind), rows["value"].to_numpy(np.float64), basis)
            for (kind, column), rows in self.normal.groupby(["kind", "column"])
        }


def reference_period(until: datetime, changes: Sequence[datetime], oldest: datetime) -> Period | None:
    """The days before a training that windows may be compared with; None where there are not 14.

    ``until``: as of when the model was judged; ``changes``: the moments at which changes began; later ones do not
    count; ``oldest``: the start of the oldest day at hand. All plain UTC.
    """
    last_change = max([change for change in changes if change <= until], default=oldest)
    days = (until - max(last_change, oldest)) // timedelta(days=1)
    return Period(until, min(days, REFERENCE_DAYS)) if days >= LEAST_DAYS else None


def make_reference(reader: WindowReader, period: Period) -> Reference:
    """Read the period's windows, pool them and measure each. A column's pool has 50,000 values, by the reader's seed."""
    newest = -((period.until - reader.as_of) // timedelta(days=1))
    days = min(period.days, reader.first_day + 1 - newest)
    prices = reader.prices(newest, days)
    values: Columns = {}
    normal: list[dict[str, object]] = []
    for kind, length in WINDOWS.items():
        places = range(newest, newest + days - length + 1)
        windows = [reader.window(kind, place, length, prices) for place in places]
        for key in windows[0]:
            pooled = _pooled([window[key] for window in windows], reader.seed)
            values[key] = pooled
            measured = _distances([window[key] for window in windows], pooled)
            for place, value in zip(places, measured, strict=True):
                normal.append({"kind": key[0], "column": key[1], "day_end": reader.end(place), "value": value})
    return Reference(Period(period.until, days), values, prices, pd.DataFrame(normal))


def _distances(windows: list[Values], pooled: Values) -> list[float]:
    """Of each window from the pool, which is sorted once; NaN for an empty one."""
    pool = counted(pooled) if method_of(pooled, pooled) == WASSERSTEIN else None
    found = []
    for window in windows:
        if not len(window):
            found.append(np.nan)
        elif pool is None or not window.notna().any():
            found.append(distance(window, pooled))
        else:
            found.append(wasserstein(counted(window), pool))
    return found


def _pooled(parts: list[Values], seed: int) -> Values:
    if all(len(part) == 1 for part in parts):
        return pd.Series([float(np.nanmean([part.iloc[0] for part in parts]))], dtype="float64")
    share = max(MAX_ROWS // len(parts), 1)
    return pd.concat([drawn(part, share, seed + number) for number, part in enumerate(parts)], ignore_index=True)


def save_reference(folder: Path, reference: Reference) -> None:
    """Write it below ``folder`` under the end of its period."""
    target = folder / f"{reference.period.until:{NAME}}"
    rows = [
        pd.DataFrame(
            {
                "kind": kind,
                "column": column,
                "number": pd.to_numeric(values) if pd.api.types.is_numeric_dtype(values) else np.nan,
                "text": pd.Series(None, index=values.index, dtype="str") if pd.api.types.is_numeric_dtype(values) else values,
            }
        )
        for (kind, column), values in reference.values.items()
    ]
    prices = pd.DataFrame({"product_id": list(reference.prices), "price": list(reference.prices.values())})
    write_parquet(target / PRICES, prices.astype({"product_id": "str", "price": "float64"}))
    write_parquet(target / NORMAL, reference.normal.assign(days=reference.period.days))
    write_parquet(target / VALUES, pd.concat(rows, ignore_index=True).astype({"text": "str"}))  # last: marks it complete


def load_reference(folder: Path, until: datetime) -> Reference | None:
    """The reference that ends at ``until``; None where there is none yet."""
    source = folder / f"{until:{NAME}}"
    if not (source / VALUES).exists():
        return None
    values: Columns = {}
    for (kind, column), rows in pd.read_parquet(source / VALUES).groupby(["kind", "column"], sort=False):
        chosen = rows["text"].astype("object") if rows["text"].notna().any() else rows["number"]
        values[str(kind), str(column)] = chosen.reset_index(drop=True)
    prices = pd.read_parquet(source / PRICES)
    normal = pd.read_parquet(source / NORMAL)
    return Reference(
        Period(until, int(normal["days"].iloc[0])),
        values,
        dict(zip(prices["product_id"].astype(str), prices["price"].astype(float), strict=True)),
        normal.drop(columns="days"),
    )


def window_limits(folder: Path, reference: Reference) -> dict[tuple[str, str], Limit]:
    """The threshold of each column: from the reference's own days, or, with fewer than 30, from those of the newest one before.

    The variation of windows of one length is about the same before and after a change.
    """
    limits = reference.limits()
    missing = [key for key, limit in limits.items() if not limit.is_learned]
    for earlier in sorted(path.name for path in folder.glob("*") if path.name < f"{reference.period.until:{NAME}}")[::-1]:
        if not missing:
            break
        before = pd.read_parquet(folder / earlier / NORMAL)
        until = datetime.strptime(earlier, NAME)  # noqa: DTZ007 (plain UTC, as everything that is published)
        for key in missing:
            rows = before[(before["kind"] == key[0]) & (before["column"] == key[1])]
            limits[key] = learned_limit(key[0], rows["value"].to_numpy(np.float64), f"windows until {until:%Y-%m-%d}")
        missing = [key for key in missing if not limits[key].is_learned]
    return limits
