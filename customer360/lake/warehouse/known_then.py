"""The state that a day's scores were made from: recorded in the snapshot's file, and restored in a copy of the warehouse.

Slices are known by their place in time: rows of arrival slices before as_of. Reference rows have a validity, but a load may
have come after the scores and be valid before them: a replay's clock stands still, and a first load is valid from the
beginning. So a snapshot names the version of each reference table that it saw.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pandas as pd
import pyarrow.parquet as pq

from customer360.errors import OperatorError
from customer360.lake.disk import explaining_full_disk
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.reference.reference_history import BEGINNING, content_version, last_version, reference_relation
from customer360.lake.slices import naive
from customer360.lake.warehouse.frames import snapshot_folder
from customer360.lake.warehouse.unchanged import models_fingerprint
from customer360.lake.warehouse.warehouse import warehouse_lock
from customer360.settings import Place, Settings

KNOWN_KEY = "customer360"
WAIT_SECONDS = 60.0


class SnapshotError(OperatorError, ValueError):
    """A day has no kept scores, or there is no warehouse to recompute them from. The message lists the days."""


@dataclass(frozen=True)
class Known:
    """The inputs of scores: when they were made (UTC, ISO 8601), hash of the models' SQL and settings, reference versions.

    ``references``: table -> (content version, from when it is in force); a table that was never loaded is left out.
    """

    scored_at: str
    models: str
    references: dict[str, tuple[str, str]]

    def to_metadata(self) -> dict[str, str]:
        """As metadata of a Parquet file."""
        return {KNOWN_KEY: json.dumps(asdict(self))}


@dataclass(frozen=True)
class Snapshot:
    """The kept scores of a shop-local day. ``known`` is None in a file that was kept before versions recorded it."""

    day: str
    scores: pd.DataFrame
    known: Known | None

    @property
    def as_of(self) -> datetime:
        """The point in time that the scores describe, plain UTC."""
        return pd.Timestamp(self.scores["as_of"].iloc[0]).to_pydatetime()

    @property
    def model_version(self) -> str:
        """The version that made them."""
        return str(self.scores["model_version"].iloc[0])


@dataclass(frozen=True)
class ChangedSlice:
    """A slice before as_of whose raw rows were written after the scores; a repair where its landed files had changed."""

    slice: datetime
    is_repair: bool


@dataclass(frozen=True)
class Exceptions:
    """Data that could not be restored as known then: reasons why recomputed scores may differ."""

    slices: tuple[ChangedSlice, ...]
    tables: tuple[str, ...]
    is_other_code: bool
    is_without_record: bool

    def __bool__(self) -> bool:
        """Whether there is an exception."""
        return bool(self.slices or self.tables or self.is_other_code or self.is_without_record)


def known_now(settings: Settings, now: datetime) -> Known:
    """The record of the inputs of scores that are made at ``now`` (UTC)."""
    loads = {table: last_version(settings.place, table) for table in reference_tables(settings.shop)}
    references = {table: (str(load["version"]), str(load["valid_from"])) for table, load in loads.items() if load}
    return Known(now.isoformat(), models_fingerprint(settings), references)


def kept_days(place: Place) -> list[str]:
    """The days that have kept scores, oldest first."""
    return sorted(file.parent.name.removeprefix("day_key=") for file in snapshot_folder(place).glob("day_key=*/part.parquet"))


def read_snapshot(place: Place, day: str | None) -> Snapshot:
    """The kept scores of a day, or of the newest one. Raises ``SnapshotError`` where there are none."""
    days = kept_days(place)
    if not days or (day is not None and day not in days):
        there = (
            f"there are {len(days)} days, from {days[0]} to {days[-1]}"
            if days
            else "the first slice after a training keeps the first"
        )
        raise SnapshotError(f"{snapshot_folder(place)} has no scores of {day or 'any day'}; {there}")
    chosen = day or days[-1]
    file = snapshot_folder(place) / f"day_key={chosen}" / "part.parquet"
    table = pq.read_table(file, partitioning=None)
    record = json.loads((table.schema.metadata or {}).get(KNOWN_KEY.encode(), b"null"))
    known = None
    if record:
        references = {name: (version, valid_from) for name, (version, valid_from) in record["references"].items()}
        known = Known(record["scored_at"], record["models"], references)
    return Snapshot(chosen, table.to_pandas(), known)


@contextmanager
def warehouse_copy(place: Place, holder: str) -> Iterator[Path]:
    """A copy of the warehouse in a folder of its own, which is removed afterwards. The lock is held while it is copied.

    Raises ``WarehouseBusyError`` where a run holds the warehouse for longer than a minute.
    """
    if not place.warehouse.exists():
        raise SnapshotError(f"{place.warehouse} does not exist; any run makes it from raw")
    place.scratch.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="recompute-", dir=place.scratch, ignore_cleanup_errors=True) as folder:
        with explaining_full_disk(place.root), warehouse_lock(place, holder, WAIT_SECONDS):
            for file in place.warehouse.parent.glob(f"{place.warehouse.name}*"):
                if file.name in (place.warehouse.name, f"{place.warehouse.name}.wal"):
                    shutil.copy(file, folder)
        yield Path(folder) / place.warehouse.name  # by the same name: views of the warehouse begin with it


def set_as_known(connection: duckdb.DuckDBPyConnection, settings: Settings, snapshot: Snapshot) -> Exceptions:
    """Set the clock and reference tables of a copy of the warehouse to what was known then; return what cannot be restored."""
    as_of, known = snapshot.as_of, snapshot.known
    connection.execute("delete from ops.clock")
    connection.execute("insert into ops.clock values (?, ?)", [as_of - settings.shop.slice_width, as_of])
    if known is None:
        return Exceptions((), (), is_other_code=False, is_without_record=True)
    other_versions = []
    for table in reference_tables(settings.shop).values():
        version, valid_from = known.references.get(table.name, ("", ""))
        stamp = _stamp(valid_from) if valid_from else "null"
        relation = (
            f"select * replace (case when valid_to <= {stamp} then valid_to end as valid_to) "
            f"from ({reference_relation(settings.place, table)}) where valid_from <= {stamp}"
        )
        connection.execute(f"create or replace view raw.{table.name} as {relation}")
        in_force = f"(select * from raw.{table.name} where valid_to is null)"
        if version and content_version(connection, table, in_force)[1] != version:
            other_versions.append(table.name)
    rows = connection.execute(
        """
        select slice, coalesce(repaired_at > $scored_at, false) from ops.slice_log
        where slice < $as_of and planned_at > $scored_at order by slice
        """,
        {"as_of": as_of, "scored_at": naive(datetime.fromisoformat(known.scored_at))},
    ).fetchall()
    changed = tuple(ChangedSlice(start, is_repair) for start, is_repair in rows)
    return Exceptions(
        changed, tuple(other_versions), is_other_code=known.models != models_fingerprint(settings), is_without_record=False
    )


def _stamp(valid_from: str) -> str:
    return BEGINNING if valid_from == "beginning" else f"timestamp '{naive(datetime.fromisoformat(valid_from))}'"
