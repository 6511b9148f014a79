"""A reader that never rests while runs are killed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb


@dataclass(eq=False)
class Reader(threading.Thread):
    """Reads whatever is published below ``place``, pausing ``every`` seconds, and keeps what is wrong with it."""

    place: Path
    every: float = 0.1
    wrong: list[str] = field(default_factory=list)
    versions: set[int] = field(default_factory=set)
    stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        while not self.stopped.wait(self.every):
            try:
                self.wrong += self.look()
            except Exception as error:  # noqa: BLE001  whatever a reader meets is a failure of the test
                self.wrong.append(f"{type(error).__name__}: {error}")

    def look(self) -> list[str]:
        """What is torn in the version of this moment: every table says the same point in time and its own row count."""
        folder = (self.place / "published" / "current").resolve()
        with duckdb.connect() as connection:
            connection.execute(f"attach '{folder / 'customer360.duckdb'}' as published (read_only)")
            document = connection.execute(f"select version, as_of, rows from read_json('{folder / 'version.json'}')").fetchone()
            assert document is not None
            version, as_of, rows = document
            self.versions.add(version)
            moments = connection.execute(
                "select as_of from published.customer_features union select as_of from published.customer_scores "
                "union select max(slice) + interval '30 minutes' from published.slice_log where is_transformed"
            ).fetchall()
            wrong = [] if moments == [(naive(as_of),)] else [f"version {version} of {as_of} holds {moments}"]
            for table in rows:
                files = f"read_parquet('{folder}/parquet/{table}/*.parquet', union_by_name = true, hive_partitioning = false)"
                counts = connection.execute(
                    f"select (select count(*) from published.{table}), (select count(*) from {files})"
                ).fetchone()
                if counts != (rows[table], rows[table]):
                    wrong.append(f"version {version}: {table} has {counts} rows, not {rows[table]}")
        return wrong


def naive(moment: Any) -> datetime:
    text = moment if isinstance(moment, str) else moment.isoformat()
    return datetime.fromisoformat(text).replace(tzinfo=None)
