"""Rows of queries on the published version, kept in the process until a table that they read is published with other rows.

A version links to the files of the tables that did not change, so that most queries are answered once a day, not once a slice.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from customer360.kept import Kept, file_state
from customer360.lake.publishing.version import parquet_files
from customer360.snapshot import Snapshot

MOST_QUERIES, MOST_KEPT, MOST_ROWS = 500, 5000, 100_000  # of rows, those of one query
VECTOR = 2048  # rows that DuckDB hands over at once
_KEPT: Kept[pd.DataFrame] = Kept(MOST_QUERIES)


class TooManyRowsError(ValueError):
    """A query has more than ``MOST_ROWS`` rows, which no page shows and no download holds."""


def kept_rows(snapshot: Snapshot, sql: str, parameters: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """The rows of a query, shared by all who ask: change a copy. Raises ``TooManyRowsError``.

    The query names every table that it reads, and depends on nothing else.
    """
    values = dict(parameters or {})

    def read() -> pd.DataFrame:
        rows = snapshot.connection.execute(sql, values or None).fetch_df_chunk(MOST_ROWS // VECTOR + 1)
        if len(rows) > MOST_ROWS:
            raise TooManyRowsError(f"there are more than {MOST_ROWS:,} rows")
        return rows

    return _KEPT.of(rows_key(snapshot, sql, parameters), read, lambda rows: len(rows) <= MOST_KEPT)


def rows_key(snapshot: Snapshot, sql: str, parameters: Mapping[str, Any] | None = None) -> Hashable:
    """What the rows of such a query depend on: its text and values, and the files of each published table that it names."""
    tables = set(re.findall(r"\w+", sql)) & snapshot.version.publication.rows.keys()
    files = [(table, *map(file_state, parquet_files(snapshot.version.folder, table))) for table in sorted(tables)]
    return sql, repr(sorted((parameters or {}).items())), tuple(files)
