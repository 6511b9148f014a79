"""The points in time for which labels are computed: training cut-offs, and kept scores whose horizon has passed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

import duckdb

from customer360.features import MATURED_CUTOFFS
from customer360.lake.engine import file_list
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.reference.reference_history import first_loaded_at, reference_relation
from customer360.lake.warehouse.frames import snapshot_folder
from customer360.settings import Place, Settings, Shop

CUTOFF_COLUMNS = "cutoff_no integer, as_of timestamp, weight double"
# The weight of a cut-off's rows when a model is fitted, and of the rows before a dated change of the data. Of two seeds of a
# shop in which the purchases of two categories were exchanged, one horizon of new labels closed 83% and 82% of the gap to a
# model fitted on the new behaviour alone with .05, 72% and 69% with .3, 52% and 44% with 1.
EVERY_CUTOFF, BEFORE_CHANGE = 1.0, 0.05
MATURED_FOR = timedelta(days=7)


def set_training_cutoffs(
    connection: duckdb.DuckDBPyConnection, settings: Settings, changes: Sequence[datetime] = ()
) -> list[datetime]:
    """Write the weekly cut-offs, newest (1) first, each with one weight for its rows; see ``cutoff_weights``.

    The newest lies at the clock - horizon - 2 days. A cut-off needs ``training.min_history_days`` of history before it, see
    ``history_start``.
    ``changes``: when the drift report dated changes of the data (plain UTC).
    """
    set_first_listing(connection, settings.place)
    first = history_start(connection, settings, "ops.slice_log")
    clock = connection.execute("select as_of from ops.clock").fetchone()
    cutoffs: list[datetime] = []
    if first is not None and clock is not None:
        cutoffs = weekly_cutoffs(settings.shop, first, clock[0])
    write_training_cutoffs(connection, cutoffs, cutoff_weights(cutoffs, changes))
    return cutoffs


def history_start(connection: duckdb.DuckDBPyConnection, settings: Settings, slice_log: str) -> datetime | None:
    """Since when behaviour is known (plain UTC): the oldest slice; where none has a good line, the first reference purchase.

    ``slice_log``: name of the log, in the warehouse or as published. None where neither slices nor purchases are known.
    """
    first, good = connection.execute(f"select min(slice), coalesce(sum(good), 0) from {slice_log}").fetchone() or (None, 0)
    if good:
        return cast("datetime | None", first)
    purchases = reference_relation(settings.place, reference_tables(settings.shop)["purchases"])
    bought = connection.execute(f"select min(purchased_at) from ({purchases}) where valid_to is null").fetchone()
    return min((moment for moment in (first, *(bought or ())) if moment is not None), default=None)


def write_training_cutoffs(
    connection: duckdb.DuckDBPyConnection, cutoffs: Sequence[datetime], weights: Sequence[float]
) -> None:
    """Replace the cut-offs, newest first, with the weight of each."""
    # Made anew, since the table of an older warehouse has no weights.
    connection.execute(f"create or replace table ops.training_cutoffs ({CUTOFF_COLUMNS})")
    if cutoffs:
        rows = [[number, moment, weight] for number, (moment, weight) in enumerate(zip(cutoffs, weights, strict=True), 1)]
        connection.executemany("insert into ops.training_cutoffs values (?, ?, ?)", rows)


def set_first_listing(connection: duckdb.DuckDBPyConnection, place: Place) -> None:
    """Write when customers were first listed: at a cut-off before that, being listed makes nobody known."""
    listed_at = first_loaded_at(place, "customers")
    connection.execute("create or replace table ops.first_listing (listed_at timestamp)")
    connection.execute("insert into ops.first_listing select ? where ? is not null", [listed_at, listed_at])


def cutoffs_needed(horizon_days: int, label_horizon_days: int) -> int:
    """Weekly cut-offs until an outcome is known at one to judge on, and at one a horizon before it to train on."""
    unknown = -(-max(horizon_days - label_horizon_days, 0) // 7)
    return unknown + -(-horizon_days // 7) + 1


def weekly_cutoffs(shop: Shop, first: datetime, as_of: datetime) -> list[datetime]:
    """The cut-offs, newest first, of a training at ``as_of`` with a history that begins at ``first``."""
    newest = as_of - matures_after(shop)
    weekly = [newest - timedelta(weeks=week) for week in range(shop.training.cutoffs)]
    return [moment for moment in weekly if moment >= first + timedelta(days=shop.training.min_history_days)]


def cutoff_weights(cutoffs: Sequence[datetime], changes: Sequence[datetime]) -> list[float]:
    """Weight of each cut-off, newest first: less before the last change with two cut-offs after it, to train and judge on."""
    last_change = max((change for change in changes if sum(cutoff >= change for cutoff in cutoffs) > 1), default=None)
    return [BEFORE_CHANGE if last_change is not None and cutoff < last_change else EVERY_CUTOFF for cutoff in cutoffs]


def set_matured_cutoffs(connection: duckdb.DuckDBPyConnection, settings: Settings) -> list[datetime]:
    """Write the as_of of each kept day of scores whose labels are complete since at most 7 days, newest (1) first.

    They are complete at as_of + horizon + 2 days, as those of a training cut-off.
    """
    matured: list[datetime] = []
    clock = connection.execute("select as_of from ops.clock").fetchone()
    if clock is not None:
        latest = clock[0] - matures_after(settings.shop)
        earliest = latest - MATURED_FOR
        # A file is named for its shop-local day, which may lie a day beside the one in UTC.
        days = [f"day_key={earliest - timedelta(days=1):%Y-%m-%d}", f"day_key={latest + timedelta(days=1):%Y-%m-%d}"]
        files = [
            file
            for file in snapshot_folder(settings.place).glob("day_key=*/part.parquet")
            if days[0] <= file.parent.name <= days[1]
        ]
        if files:
            found = connection.execute(
                f"select distinct as_of from read_parquet({file_list(files)}, hive_partitioning = false) "
                "where as_of > ? and as_of <= ? order by as_of desc",
                [earliest, latest],
            ).fetchall()
            matured = [moment for (moment,) in found[:MATURED_CUTOFFS]]
    connection.execute("delete from ops.matured_cutoffs")
    if matured:
        rows = [[number, moment] for number, moment in enumerate(matured, 1)]
        connection.executemany("insert into ops.matured_cutoffs values (?, ?)", rows)
    return matured


def matures_after(shop: Shop) -> timedelta:
    """From a point to when its labels are complete: the horizon, and 2 days for what comes late."""
    return timedelta(days=shop.label_horizon_days + 2)
