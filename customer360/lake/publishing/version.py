"""Reading a published version: ``current`` is resolved once, and all reads come from that folder."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb

from customer360.lake.engine import connect, file_list, quoted
from customer360.lake.redaction import redacted_errors
from customer360.settings import Place

DATABASE = "customer360.duckdb"
DOCUMENT = "version.json"


@dataclass(frozen=True)
class Publication:
    """The content of a version's ``version.json``.

    ``as_of``: the point in time that the version describes, UTC. ``rows``: rows by table. ``contents``: a table's content
    version, where it has one (see ``publish``). ``descriptions``: by table, and below it by column ("" is the table itself).
    """

    version: int
    as_of: datetime | None
    published_at: datetime
    rows: dict[str, int]
    contents: dict[str, str] = field(default_factory=dict)
    descriptions: dict[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def folder_name(self) -> str:
        """Name of the version's folder."""
        return f"{self.version:08d}"


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
    """The current publication, or None before the first."""
    document = current_folder(place) / DOCUMENT
    return read_publication(document) if document.exists() else None


def read_publication(document: Path) -> Publication:
    """The publication in the ``version.json`` of a version's folder. Releases before 0.2 listed tables without a view apart."""
    values = json.loads(document.read_text(encoding="utf-8"))
    return Publication(
        values["version"],
        datetime.fromisoformat(values["as_of"]) if values["as_of"] else None,
        datetime.fromisoformat(values["published_at"]),
        values["rows"] | values.get("parquet_only", {}),
        values.get("contents", {}),
        values.get("descriptions", {}),
    )


@contextmanager
def open_version(place: Place) -> Iterator[PublishedVersion]:
    """The version that is published at this moment, to read from until the block ends.

    ``current`` is resolved once: a version that is published meanwhile changes nothing here, and the one that is open is not
    removed. Raises ``FileNotFoundError`` before the first publication. Errors of DuckDB quote no value of a row.
    """
    folder = current_version(place)
    publication = read_publication(folder / DOCUMENT)
    with in_use(folder), connect_version(place, folder, publication) as connection, redacted():
        yield PublishedVersion(folder, publication, connection)


def current_version(place: Place) -> Path:
    """The folder of the version that is published now. Raises ``FileNotFoundError`` before the first publication."""
    link = current_folder(place)
    if not link.exists():
        raise FileNotFoundError(f"nothing is published below {place.published} yet; run `make demo` or a slice first")
    return link.resolve()


def connect_version(place: Place, folder: Path, publication: Publication) -> duckdb.DuckDBPyConnection:
    """A connection on which unqualified names are the version's tables; whoever reads by it holds the version ``in_use``."""
    connection = connect(place.scratch)
    connection.execute("set parquet_metadata_cache = true")  # a version's files stay as they are
    create_views(connection, {name: parquet_files(folder, name) for name in publication.rows})
    return connection


def redacted() -> AbstractContextManager[None]:
    """Have errors of queries on a version quote no value of a row."""
    return redacted_errors("run the query on the published tables to see it")


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Share the lock of a version's document, so that ``is_in_use`` is true until the block ends or the process dies."""
    with (folder / DOCUMENT).open() as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield


def is_in_use(folder: Path) -> bool:
    """True while a reader has the version open by ``open_version``."""
    if not (folder / DOCUMENT).exists():
        return False
    with (folder / DOCUMENT).open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def create_views(
    connection: duckdb.DuckDBPyConnection, files: Mapping[str, list[Path] | list[str]], schema: str = "main"
) -> None:
    """A view over the Parquet files (paths or URLs) of each table."""
    for name, parts in sorted(files.items()):
        connection.execute(f"create view {schema}.{quoted(name)} as {parquet_query(parts)}")


def parquet_files(folder: Path, table: str) -> list[Path]:
    """All Parquet files of a table in the folder of a version, in the order of their names."""
    return sorted((folder / "parquet" / table).glob("*.parquet"))


def parquet_query(files: list[Path] | list[str]) -> str:
    """SQL of all rows of these files; an older one of several may lack a column."""
    together = ", union_by_name = true" if len(files) > 1 else ""
    return f"select * from read_parquet({file_list(files)}, hive_partitioning = false{together})"
