"""Publishing: a new version folder made aside, flushed to disk, then one rename of the link ``current``.

Readers attach ``published/current/customer360.duckdb`` read-only, or read ``published/current/parquet/<table>/``. They never
block a run and never see half a version.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from customer360.lake.atomic import TEMPORARY_PREFIX, exclusive, fsync_path, write_text
from customer360.lake.engine import connect, literal, quoted
from customer360.settings import Place

DATABASE = "customer360.duckdb"
STORAGE_VERSION = "v1.0.0"
KEEP_VERSIONS = 3
KEEP_FOR = timedelta(hours=1)


@dataclass(frozen=True)
class Publication:
    """A published version: its number, the point in time that it describes (UTC), and rows by table."""

    version: int
    as_of: datetime | None
    published_at: datetime
    rows: dict[str, int]

    @property
    def folder_name(self) -> str:
        """Name of the version's folder."""
        return f"{self.version:08d}"


def current_folder(place: Place) -> Path:
    """The link that readers follow."""
    return place.published / "current"


def current_publication(place: Place) -> Publication | None:
    """What is published now, or None before the first publication."""
    document = current_folder(place) / "version.json"
    if not document.exists():
        return None
    values = json.loads(document.read_text(encoding="utf-8"))
    as_of = datetime.fromisoformat(values["as_of"]) if values["as_of"] else None
    return Publication(values["version"], as_of, datetime.fromisoformat(values["published_at"]), values["rows"])


@contextmanager
def reader(place: Place) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection whose ``main`` schema is the published version of this moment, read-only.

    Raises ``FileNotFoundError`` before the first publication.
    """
    folder = current_folder(place)
    if not folder.exists():
        raise FileNotFoundError(f"nothing is published below {place.published} yet; run `make demo` or a slice first")
    with connect(place.root / ".tmp") as connection:
        connection.execute(f"attach {literal(str(folder.resolve() / DATABASE))} as published (read_only)")
        connection.execute("use published")
        yield connection


def publish(
    place: Place,
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[str, str],
    as_of: datetime | None,
    now: datetime,
) -> Publication:
    """Publish ``tables`` (name to a SQL query on ``connection``) as the next version. One publisher at a time."""
    with exclusive(place.published / ".lock"):
        past = current_publication(place)
        number = 1 + max([past.version if past else 0, *(int(path.name) for path in _version_folders(place))])
        temporary = place.published / "versions" / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
        temporary.mkdir(parents=True)
        try:
            rows = _write_tables(connection, temporary, tables)
            publication = Publication(number, as_of, now, rows)
            _write_document(temporary, publication)
            _flush(temporary)
            target = temporary.parent / publication.folder_name
            temporary.rename(target)
            fsync_path(target.parent)
            _swap(place, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return publication


def republish(place: Place, replaced: Mapping[str, str], now: datetime) -> Publication:
    """Publish the current version again with some tables replaced (name to a SQL query that may read the current ones).

    The warehouse is not touched, so this blocks no run.
    """
    with reader(place) as connection:
        names = [
            name for (name,) in connection.execute("select table_name from duckdb_tables() order by table_name").fetchall()
        ]
        tables = {name: f"select * from published.main.{quoted(name)}" for name in names}
        current = current_publication(place)
        return publish(place, connection, {**tables, **replaced}, current.as_of if current else None, now)


def remove_old_versions(place: Place, now: datetime) -> list[str]:
    """Delete versions beyond the last three that have not been published within the last hour."""
    folders = sorted(_version_folders(place), key=lambda path: int(path.name))
    current = current_folder(place).resolve()
    removed = []
    for folder in folders[:-KEEP_VERSIONS]:
        age = now - datetime.fromtimestamp(folder.stat().st_mtime, UTC)
        if folder.resolve() != current and age > KEEP_FOR:
            shutil.rmtree(folder)
            removed.append(folder.name)
    return removed


def _version_folders(place: Place) -> list[Path]:
    return [path for path in (place.published / "versions").glob("*") if path.name.isdigit()]


def _write_tables(connection: duckdb.DuckDBPyConnection, folder: Path, tables: Mapping[str, str]) -> dict[str, int]:
    rows: dict[str, int] = {}
    database = literal(str(folder / DATABASE))
    connection.execute(f"attach {database} as next_version (storage_version {literal(STORAGE_VERSION)})")
    try:
        for name, query in sorted(tables.items()):
            target = f"next_version.main.{quoted(name)}"
            connection.execute(f"create table {target} as {query}")
            parquet = folder / "parquet" / name
            parquet.mkdir(parents=True)
            file = literal(str(parquet / "part.parquet"))
            (count,) = connection.execute(f"copy {target} to {file} (format parquet, compression zstd)").fetchone() or (0,)
            rows[name] = int(count)
    finally:
        connection.execute("detach next_version")
    return rows


def _write_document(folder: Path, publication: Publication) -> None:
    values = {
        "version": publication.version,
        "as_of": publication.as_of.isoformat() if publication.as_of else None,
        "published_at": publication.published_at.isoformat(),
        "rows": publication.rows,
    }
    write_text(folder / "version.json", json.dumps(values, indent=2) + "\n")


def _flush(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            fsync_path(Path(root) / name)
        fsync_path(Path(root))


def _swap(place: Place, target: Path) -> None:
    """Point ``current`` at ``target`` by one rename."""
    link = place.published / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    link.symlink_to(Path("versions") / target.name)
    link.replace(current_folder(place))
    fsync_path(place.published)
