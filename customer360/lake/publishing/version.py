"""Reading a published version: ``current`` is resolved once, and everything that is read comes from the folder found then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb

from customer360.lake.discretion import telling_no_values
from customer360.lake.engine import connect, file_list, quoted
from customer360.settings import Place

DATABASE = "customer360.duckdb"


@dataclass(frozen=True)
class Publication:
    """A published version: its number, the point in time that it describes (UTC), rows by table, and those of Parquet only."""

    version: int
    as_of: datetime | None
    published_at: datetime
    rows: dict[str, int]
    parquet_only: dict[str, int] = field(default_factory=dict)

    @property
    def folder_name(self) -> str:
        """Name of the version's folder."""
        return f"{self.version:08d}"

    @property
    def tables(self) -> dict[str, int]:
        """Rows by table, of all tables."""
        return self.rows | self.parquet_only


@dataclass(frozen=True)
class PublishedVersion:
    """One version, opened: its folder (never the link), its publication, and a connection.

    Unqualified names on ``connection`` are this version's tables, read-only.
    """

    folder: Path
    publication: Publication
    connection: duckdb.DuckDBPyConnection


def current_folder(place: Place) -> Path:
    """The link that readers follow."""
    return place.published / "current"


def current_publication(place: Place) -> Publication | None:
    """What is published now, or None before the first publication."""
    document = current_folder(place) / "version.json"
    return read_publication(document) if document.exists() else None


def read_publication(document: Path) -> Publication:
    """A version as the ``version.json`` of its folder says."""
    values = json.loads(document.read_text(encoding="utf-8"))
    as_of = datetime.fromisoformat(values["as_of"]) if values["as_of"] else None
    published_at = datetime.fromisoformat(values["published_at"])
    return Publication(values["version"], as_of, published_at, values["rows"], values.get("parquet_only", {}))


@contextmanager
def open_version(place: Place) -> Iterator[PublishedVersion]:
    """The version that is published at this moment, to read from until the block ends.

    ``current`` is resolved once: a version that is published meanwhile changes nothing here. Raises ``FileNotFoundError``
    before the first publication. Errors of DuckDB quote no value of a row.
    """
    link = current_folder(place)
    if not link.exists():
        raise FileNotFoundError(f"nothing is published below {place.published} yet; run `make demo` or a slice first")
    folder = link.resolve()
    publication = read_publication(folder / "version.json")
    with connect(place.root / ".tmp") as connection:
        for name in publication.tables:
            connection.execute(f"create view {quoted(name)} as {parquet_query(parquet_files(folder, name))}")
        with telling_no_values("run the query on the published tables to see it"):
            yield PublishedVersion(folder, publication, connection)


@contextmanager
def reader(place: Place) -> Iterator[duckdb.DuckDBPyConnection]:
    """The connection of ``open_version``, for callers that need no more."""
    with open_version(place) as version:
        yield version.connection


def parquet_file(folder: Path, table: str) -> Path:
    """A table's Parquet file in the folder of a version, where it has one."""
    return folder / "parquet" / table / "part.parquet"


def parquet_files(folder: Path, table: str) -> list[Path]:
    """All Parquet files of a table in the folder of a version, in the order of their names."""
    return sorted((folder / "parquet" / table).glob("*.parquet"))


def parquet_query(files: list[Path]) -> str:
    """SQL of all rows of these files; an older one may lack a column."""
    return f"from read_parquet({file_list(files)}, hive_partitioning = false, union_by_name = true)"
