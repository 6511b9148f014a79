"""Rows of pandas and Arrow into DuckDB tables, tables into Parquet files, and the daily snapshots of scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from customer360.lake.atomic import replacing
from customer360.lake.engine import column_types, literal, quoted, registered
from customer360.settings import Place, Shop

KEEP_SNAPSHOTS = timedelta(days=90)


def replace_table(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Replace ``table`` by ``rows``, in the caller's transaction if there is one.

    The table is made by its columns, and then filled: ``create table as`` of no rows is an insert of none, see ``append_rows``.
    """
    with registered(connection, "incoming", rows):
        columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in column_types(connection, "incoming").items())
        connection.execute(f"create or replace table {table} ({columns})")
    append_rows(connection, table, rows)


def append_rows(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Add ``rows``, whose columns may have any order, to ``table``.

    Nothing is inserted where there are none: after an Arrow table without rows, DuckDB 1.5.5 loses the next 120,000 rows and
    more that are inserted into an empty table in the same transaction.
    """
    if rows.num_rows:
        with registered(connection, "incoming", rows):
            connection.execute(f"insert into {table} by name from incoming")


def write_parquet(target: Path, rows: pd.DataFrame | pa.Table) -> None:
    """Replace the Parquet file ``target``."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows, preserve_index=False)
    with replacing(target) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def snapshot_folder(place: Place) -> Path:
    """Folder of the daily score snapshots."""
    return place.root / "scores_daily"


def keep_daily_snapshot(
    place: Place,
    shop: Shop,
    connection: duckdb.DuckDBPyConnection,
    scores: str,
    metadata: Callable[[], Mapping[str, str]] = dict,
) -> None:
    """Keep the first ``scores`` (a table with as_of) of each shop-local day; later runs of the day leave them as they are.

    The file keeps the result of ``metadata``: the data known when the scores were made (``known_then``). It is called only when
    a file is written, once a day, since it reads all files of the dbt project.
    """
    (moment,) = connection.execute(f"select max(as_of) from {scores}").fetchone() or (None,)
    if moment is None:
        return
    day = moment.replace(tzinfo=UTC).astimezone(shop.zone).date()
    target = snapshot_folder(place) / f"day_key={day:%Y-%m-%d}" / "part.parquet"
    if not target.exists():
        facts = ", ".join(f"{key}: {literal(value)}" for key, value in metadata().items())
        options = f"format parquet, compression zstd{f', kv_metadata {{ {facts} }}' if facts else ''}"
        with replacing(target) as temporary:
            connection.execute(f"copy {scores} to {literal(str(temporary))} ({options})")


def remove_old_snapshots(place: Place, now: datetime) -> list[str]:
    """Delete snapshots older than 90 days before ``now`` (the shop's clock)."""
    limit = f"day_key={now - KEEP_SNAPSHOTS:%Y-%m-%d}"
    old = [folder for folder in snapshot_folder(place).glob("day_key=*") if folder.name < limit]
    for folder in old:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    return [folder.name for folder in old]
