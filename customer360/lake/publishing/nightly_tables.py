"""Tables that are made once a night, kept as Parquet files beside the warehouse: every version links to them.

Other tables are written with each slice; these change once a day.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from customer360.lake.atomic import replacing
from customer360.lake.engine import literal, quoted
from customer360.settings import Place

NIGHTLY = ("interactions", "monitoring_activity", "monitoring_customers", "order_amounts", "realised_labels")


def keep_nightly_tables(place: Place, connection: duckdb.DuckDBPyConnection) -> None:
    """Replace the files by the tables as the warehouse has them now, in the order of all their columns."""
    for name in NIGHTLY:
        with replacing(_file(place, name)) as temporary:
            rows = f"from marts.{quoted(name)} order by all"
            connection.execute(f"copy ({rows}) to {literal(str(temporary))} (format parquet, compression zstd)")


def nightly_files(place: Place) -> dict[str, dict[str, Path]]:
    """The files by published table and published name; none before the first night."""
    files = {name: _file(place, name) for name in NIGHTLY}
    return {name: {"part.parquet": file} for name, file in files.items() if file.exists()}


def _file(place: Place, name: str) -> Path:
    return place.root / "nightly" / f"{name}.parquet"
