"""Array types, and random numbers that depend on keys alone and not on the order in which they are asked for."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND


@dataclass(frozen=True)
class Parallel:
    """Parallel arrays: each field is one, and a row is an element of each."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(getattr(self, fields(self)[0].name))

    def take(self, rows: Ints | Bools | slice) -> Self:
        """These rows, in this order."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def utc_of(local: pd.DatetimeIndex, zone: ZoneInfo) -> pd.DatetimeIndex:
    """Local times as UTC: of an hour that comes twice the first, of one that is skipped an hour later."""
    is_first = np.ones(len(local), dtype=bool)
    return local.tz_localize(zone, ambiguous=is_first, nonexistent=timedelta(hours=1)).tz_convert("UTC")


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 in UTC."""
    return (moment.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)


def generator(seed: int, *keys: int) -> np.random.Generator:
    """A generator of its own for these keys: same seed and keys, same numbers."""
    return np.random.default_rng([seed, *keys])


def mix(*keys: Keys | Ints | int) -> Keys:
    """Hash integer keys to 64 bits, element by element (the SplitMix64 finaliser, Steele, Lea and Flood 2014)."""
    state = np.zeros(1, dtype=np.uint64)
    for key in keys:
        state = state + np.asarray(key).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state


def uniform(*keys: Keys | Ints | int) -> Floats:
    """Numbers in [0, 1) that depend on the keys alone."""
    return (mix(*keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def categorical(weights: Floats, draws: Floats) -> Ints:
    """For each row of ``weights`` the index that its uniform draw falls on."""
    cumulative = np.cumsum(weights, axis=1)
    is_passed = draws[:, None] * cumulative[:, -1:] >= cumulative
    return np.asarray(np.minimum(is_passed.sum(axis=1), weights.shape[1] - 1), dtype=np.int64)
