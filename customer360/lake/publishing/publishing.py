"""Publishing: a new version folder made aside, flushed to disk, then one rename of the link ``current``.

Readers attach ``published/current/customer360.duckdb`` read-only, or read ``published/current/parquet/<table>/``. They never
block a run and never see half a version. Some tables are Parquet only, and a version links to their files instead of writing
them again: the training set, which is wide and changes with a training, the daily scores, of which a day is never changed, and
what is made once a night.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from customer360.lake.atomic import TEMPORARY_PREFIX, exclusive, fsync_path, write_text
from customer360.lake.disk import explaining_full_disk
from customer360.lake.engine import file_list, literal, quoted
from customer360.lake.publishing.version import (
    DATABASE,
    Publication,
    current_folder,
    current_publication,
    parquet_file,
    parquet_files,
    reader,
)
from customer360.settings import Place

STORAGE_VERSION = "v1.0.0"
KEEP_VERSIONS = 3
KEEP_FOR = timedelta(hours=1)


def publish(
    place: Place,
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[str, str],
    as_of: datetime | None,
    now: datetime,
    *,
    parquet_only: Mapping[str, str] | None = None,
    linked: Mapping[str, Mapping[str, Path]] | None = None,
) -> Publication:
    """Publish ``tables`` (name to a SQL query on ``connection``) as the next version. One publisher at a time.

    ``parquet_only`` are tables without a copy in the database file. So are ``linked`` ones (name to files by their published
    name), whose files are replaced as a whole or never. Those of the version before that are not given are taken over.
    """
    with _publishing(place):
        return _publish(place, connection, tables, as_of, now, parquet_only=parquet_only or {}, linked=linked or {})


def republish(
    place: Place,
    replaced: Mapping[str, str],
    now: datetime,
    linked: Mapping[str, Mapping[str, Path]] | None = None,
) -> Publication:
    """Publish the current version again with some tables replaced (name to a SQL query that may read the current ones).

    The warehouse is not touched, so this blocks no run. What a slice publishes meanwhile waits, and is not gone back on.
    ``linked``: as in ``publish``.
    """
    with _publishing(place), reader(place) as connection:
        current = current_publication(place)
        tables = {name: f"select * from {quoted(name)}" for name in (current.rows if current else ())}
        return _publish(
            place,
            connection,
            {**tables, **replaced},
            current.as_of if current else None,
            now,
            parquet_only={},
            linked=linked or {},
        )


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


@contextmanager
def _publishing(place: Place) -> Iterator[None]:
    with explaining_full_disk(place.root), exclusive(place.published / ".lock"):
        yield


def _publish(
    place: Place,
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[str, str],
    as_of: datetime | None,
    now: datetime,
    *,
    parquet_only: Mapping[str, str],
    linked: Mapping[str, Mapping[str, Path]],
) -> Publication:
    past = current_publication(place)
    number = 1 + max([past.version if past else 0, *(int(path.name) for path in _version_folders(place))])
    temporary = place.published / "versions" / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    temporary.mkdir(parents=True)
    try:
        rows = _write_tables(connection, temporary, tables)
        files = {name: _write_parquet(connection, temporary, name, query) for name, query in parquet_only.items()}
        files |= {name: _link(connection, temporary, name, parts) for name, parts in linked.items()}
        files |= _take_over(place, temporary, past, set(files))
        publication = Publication(number, as_of, now, rows, files)
        _write_document(temporary, publication)
        _flush(temporary)
        target = temporary.parent / publication.folder_name
        temporary.rename(target)
        fsync_path(target.parent)
        _swap(place, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return publication


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
            rows[name] = _write_parquet(connection, folder, name, f"from {target}")
    finally:
        connection.execute("detach next_version")
    return rows


def _write_parquet(connection: duckdb.DuckDBPyConnection, folder: Path, name: str, query: str) -> int:
    target = parquet_file(folder, name)
    target.parent.mkdir(parents=True)
    copied = connection.execute(f"copy ({query}) to {literal(str(target))} (format parquet, compression zstd)").fetchone()
    return int(copied[0]) if copied else 0


def _link(connection: duckdb.DuckDBPyConnection, folder: Path, name: str, parts: Mapping[str, Path]) -> int:
    """Link to files that nobody writes into, under their names here; returns their rows."""
    target = folder / "parquet" / name
    target.mkdir(parents=True)
    for part, source in parts.items():
        _same_file(source, target / part)
    files = file_list(target / part for part in parts)
    (rows,) = connection.execute(f"select sum(num_rows) from parquet_file_metadata({files})").fetchone() or (0,)
    return int(rows)


def _take_over(place: Place, folder: Path, past: Publication | None, written: set[str]) -> dict[str, int]:
    """Link the past version's files of Parquet only into this one: a version is whole without the others."""
    taken = {name: count for name, count in (past.parquet_only if past else {}).items() if name not in written}
    for name in taken:
        (folder / "parquet" / name).mkdir(parents=True)
        for file in parquet_files(current_folder(place).resolve(), name):
            _same_file(file, folder / "parquet" / name / file.name)
    return taken


def _same_file(source: Path, target: Path) -> None:
    """A second name for a file, or a copy of it where it lies on another disk."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copy2(source, target)


def _write_document(folder: Path, publication: Publication) -> None:
    values = {
        "version": publication.version,
        "as_of": publication.as_of.isoformat() if publication.as_of else None,
        "published_at": publication.published_at.isoformat(),
        "rows": publication.rows,
        "parquet_only": publication.parquet_only,
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
