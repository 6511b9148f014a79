"""Between DuckDB and the frames that ``ml`` works on: whole tables out, whole tables in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from customer360.lake.atomic import replacing
from customer360.settings import Place, Shop

KEEP_SNAPSHOTS = timedelta(days=90)


def replace_table(connection: duckdb.DuckDBPyConnection, table: str, frame: pd.DataFrame) -> None:
    """Replace ``table`` by the rows of ``frame`` in one transaction."""
    incoming = pa.Table.from_pandas(frame, preserve_index=False)
    connection.register("incoming", incoming)
    try:
        connection.execute(f"create or replace table {table} as select * from incoming")
    finally:
        connection.unregister("incoming")


def write_parquet(target: Path, frame: pd.DataFrame, metadata: Mapping[bytes, bytes] | None = None) -> None:
    """Replace the Parquet file ``target``; ``metadata`` is kept in the file beside the rows."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if metadata:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata})
    with replacing(target) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def snapshot_folder(place: Place) -> Path:
    """Folder of the daily score snapshots."""
    return place.root / "scores_daily"


def keep_daily_snapshot(place: Place, shop: Shop, scores: pd.DataFrame, metadata: Mapping[bytes, bytes] | None = None) -> None:
    """Keep the first scores of each shop-local day; a later run of the same day leaves them as they are.

    ``metadata`` says what was known when they were made; see ``customer360.lake.known_then``.
    """
    as_of = pd.Timestamp(scores["as_of"].iloc[0]).to_pydatetime().replace(tzinfo=UTC)
    day = as_of.astimezone(shop.zone).date()
    target = snapshot_folder(place) / f"day_key={day:%Y-%m-%d}" / "part.parquet"
    if not target.exists():
        write_parquet(target, scores, metadata)


def remove_old_snapshots(place: Place, now: datetime) -> list[str]:
    """Delete snapshots older than 90 days before ``now`` (the shop's clock)."""
    limit = f"day_key={now - KEEP_SNAPSHOTS:%Y-%m-%d}"
    old = [folder for folder in snapshot_folder(place).glob("day_key=*") if folder.name < limit]
    for folder in old:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    return [folder.name for folder in old]
