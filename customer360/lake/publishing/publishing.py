"""Publishing: a new version folder made aside, flushed to disk, then one rename of the link ``current``.

A version holds one folder of Parquet files per table, ``customer360.duckdb`` with a view over each of them, and
``version.json``. Only tables that changed are written; the files of all others are hard links to those of the version before.
Readers never block a run and always see a complete version.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from customer360.lake.atomic import TEMPORARY_PREFIX, exclusive, fsync_path, replacing, write_text
from customer360.lake.disk import explaining_full_disk
from customer360.lake.engine import file_list, file_literal, literal, quoted
from customer360.lake.publishing.profiles import CONTACT_COLUMNS, LEDGER, PLAN, PROFILES, planned_contacts, with_next_contact
from customer360.lake.publishing.version import (
    DATABASE,
    DOCUMENT,
    Publication,
    create_views,
    current_folder,
    current_publication,
    is_in_use,
    parquet_files,
    parquet_query,
    read_publication,
)
from customer360.settings import Place

STORAGE_VERSION = "v1.0.0"
COMPRESSION = "snappy"  # of 60,000 profiles 5.2 MB, where zstd takes 3.5; looking one up takes 6 ms of CPU, with zstd 11
KEEP_VERSIONS = 3
KEEP_FOR = timedelta(hours=1)
Descriptions = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class TableSource:
    """Where a published table comes from: a SQL query on the publisher's connection, or Parquet files by their published name.

    A table is not written again while its ``content`` version is the one that it was published with. Nobody writes into
    ``files``; they are linked.
    """

    query: str | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    content: str | None = None


def publish(
    place: Place,
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[str, str | TableSource],
    as_of: datetime | None,
    now: datetime,
    *,
    descriptions: Descriptions | None = None,
    dropped: Collection[str] = (),
    least: int = 1,
) -> Publication:
    """Publish the next version. One publisher at a time.

    ``tables``: by name a source, or just its query. All other tables of the version before are taken over, but for those
    ``dropped``. ``as_of`` (UTC): None leaves it as it was. ``descriptions``: as in ``Publication``; those of other tables are
    taken over, also of tables that are published later by files alone. ``least``: the number of the version is not below it.

    The next contact of each customer is joined to ``customer_profiles`` here, by the plan and the ledger of the same version.
    """
    sources = {name: TableSource(source) if isinstance(source, str) else source for name, source in tables.items()}
    with explaining_full_disk(place.root), exclusive(place.published / ".lock"):
        past = current_publication(place) or Publication(0, None, now, {})
        past_folder = current_folder(place).resolve()
        carried = {name for name in past.rows if name not in sources or _is_unchanged(name, sources[name], past)} - {*dropped}
        replaced = sources.keys() - carried
        version = _NextVersion(
            connection,
            place.published / "versions" / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}",
            {name: texts for name, texts in {**past.descriptions, **(descriptions or {})}.items() if name not in dropped},
        )
        try:
            for name in carried - {PROFILES}:
                version.link(name, {file.name: file for file in parquet_files(past_folder, name)}, past.rows[name])
            for name in sorted(replaced - {PROFILES}):
                if query := sources[name].query:
                    version.write(name, query)
                else:
                    version.link(name, sources[name].files)
            if PROFILES in replaced:
                version.write(PROFILES, version.with_contacts(sources[PROFILES].query or ""))
            elif PROFILES in carried:
                version.carry_profiles(
                    parquet_files(past_folder, PROFILES), past.rows[PROFILES], bool(replaced & {PLAN, LEDGER})
                )
            publication = Publication(
                max(past.version + 1, least, *_numbers(place, now)),
                as_of or past.as_of,
                now,
                dict(sorted(version.rows.items())),
                {name: past.contents[name] for name in carried & past.contents.keys()}
                | {name: content for name in replaced if (content := sources[name].content)},
                dict(sorted(version.descriptions.items())),
            )
            _finish(place, version, publication)
        finally:
            shutil.rmtree(version.folder, ignore_errors=True)
        return publication


def _is_unchanged(name: str, source: TableSource, past: Publication) -> bool:
    return source.content is not None and past.contents.get(name) == source.content


def remove_old_versions(place: Place, now: datetime) -> list[str]:
    """Delete versions beyond the last three that were published over an hour ago, except those that a reader has open."""
    folders = sorted(_version_folders(place), key=lambda path: int(path.name))
    current = current_folder(place).resolve()
    removed = []
    for folder in folders[:-KEEP_VERSIONS]:
        age = now - datetime.fromtimestamp(folder.stat().st_mtime, UTC)
        if folder.resolve() != current and age > KEEP_FOR and not is_in_use(folder):
            shutil.rmtree(folder)
            removed.append(folder.name)
    return removed


@dataclass
class _NextVersion:
    """The Parquet files of a version that is being made in a temporary folder, and their rows by table."""

    connection: duckdb.DuckDBPyConnection
    folder: Path
    descriptions: dict[str, Mapping[str, str]]
    rows: dict[str, int] = field(default_factory=dict)

    def write(self, name: str, query: str) -> None:
        """Write a table, with its descriptions as the file's key-value metadata."""
        texts = self.descriptions.get(name, {})
        columns = json.dumps({column: text for column, text in texts.items() if column})
        metadata = f", kv_metadata {{description: {literal(texts[''])}, columns: {literal(columns)}}}" if texts else ""
        target = self.folder / "parquet" / name / "part.parquet"
        target.parent.mkdir(parents=True)
        copied = self.connection.execute(
            f"copy ({query}) to {literal(str(target))} (format parquet, compression {COMPRESSION}{metadata})"
        ).fetchone()
        fsync_path(target)
        self.rows[name] = int(copied[0]) if copied else 0

    def link(self, name: str, files: Mapping[str, Path], rows: int | None = None) -> None:
        """Hard-link files that are never modified; their rows are counted where they are not known."""
        target = self.folder / "parquet" / name
        target.mkdir(parents=True)
        for part, source in files.items():
            _same_file(source, target / part)
        if rows is None:
            metadata = f"parquet_file_metadata({file_list(files.values())})"
            (rows,) = self.connection.execute(f"select cast(sum(num_rows) as bigint) from {metadata}").fetchone() or (0,)
        self.rows[name] = int(rows or 0)

    def with_contacts(self, profiles: str) -> str:
        """SQL of the profiles with the next contacts by this version's plan and ledger."""
        relations = [parquet_query(parquet_files(self.folder, name)) if name in self.rows else None for name in (PLAN, LEDGER)]
        return with_next_contact(profiles, planned_contacts(*relations))

    def carry_profiles(self, files: list[Path], rows: int, contacts_may_differ: bool) -> None:
        """Link to the profiles of the version before, or write them again where a next contact differs."""
        past = parquet_query(files)
        query = self.with_contacts(past)
        columns = ", ".join(["customer_id", *CONTACT_COLUMNS.values()])
        differ = f"select exists (select {columns} from ({query}) except select {columns} from ({past}))"
        if contacts_may_differ and self.connection.execute(differ).fetchone() == (True,):
            self.write(PROFILES, query)
        else:
            self.link(PROFILES, {file.name: file for file in files}, rows)


def _finish(place: Place, version: _NextVersion, publication: Publication) -> None:
    """Give the version its number, its document and its database, and point ``current`` at it.

    DuckDB makes a view only over files that exist, so the database comes after the rename: of a version that is not yet
    ``current`` the Parquet files are complete, and the database may be missing.
    """
    folder = version.folder.with_name(publication.folder_name)
    _write_document(version.folder, publication)
    for root, _, _ in os.walk(version.folder):
        fsync_path(Path(root))
    version.folder.rename(folder)
    try:
        files = {name: parquet_files(folder, name) for name in publication.rows}
        write_database(version.connection, folder / DATABASE, files, publication.descriptions)
        fsync_path(folder)
        fsync_path(folder.parent)
        _swap(place, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    write_text(_note(place), json.dumps({"version": publication.version, "published_at": publication.published_at.isoformat()}))


def renew_moved_views(place: Place) -> bool:
    """Write the current version's database again where its views name files of another folder; whether it was.

    So it is after a place was moved, mounted elsewhere or restored. Its views failed: no reader loses anything.
    """
    if not current_folder(place).exists():
        return False
    with exclusive(place.published / ".lock"), duckdb.connect() as connection:
        folder = current_folder(place).resolve()
        connection.execute(f"attach {literal(str(folder / DATABASE))} as published (read_only)")
        here = file_literal(folder / "parquet").strip("'")
        elsewhere = f"database_name = 'published' and not internal and not contains(sql, {literal(here)})"
        is_moved = connection.execute(f"select count(*) from duckdb_views() where {elsewhere}").fetchone() != (0,)
        connection.execute("detach published")
        if is_moved:
            publication = read_publication(folder / DOCUMENT)
            files = {name: parquet_files(folder, name) for name in publication.rows}
            write_database(connection, folder / DATABASE, files, publication.descriptions)
    return is_moved


def write_database(
    connection: duckdb.DuckDBPyConnection,
    target: Path,
    files: Mapping[str, list[Path] | list[str]],
    descriptions: Descriptions,
) -> None:
    """A DuckDB file of views over the tables' Parquet files (paths or URLs), with the descriptions as comments."""
    with replacing(target) as temporary:
        connection.execute(f"attach {literal(str(temporary))} as next_version (storage_version {literal(STORAGE_VERSION)})")
        try:
            connection.begin()
            create_views(connection, files, "next_version.main")
            columns = connection.execute(
                "select table_name, column_name from duckdb_columns() where database_name = 'next_version'"
            ).fetchall()
            comments = [(f"view next_version.main.{quoted(name)}", descriptions.get(name, {}).get("")) for name in files]
            comments += [
                (f"column next_version.main.{quoted(table)}.{quoted(column)}", descriptions.get(table, {}).get(column))
                for table, column in columns
            ]
            connection.execute(";".join(f"comment on {target} is {literal(text)}" for target, text in comments if text))
            connection.commit()
        finally:
            connection.execute("detach next_version")


def _version_folders(place: Place) -> list[Path]:
    return [path for path in (place.published / "versions").glob("*") if path.name.isdigit()]


def _note(place: Place) -> Path:
    """Beside ``published``, so that a backup without it holds the number."""
    return place.root / "last_version.json"


def _numbers(place: Place, now: datetime) -> Iterator[int]:
    """Numbers below which no version may be: after those that there are, and after those that were lost.

    A place that was restored, or has no published version and had one, comes from a backup, after which more may have been
    published. A version takes over a second, so a number for each second since is above all of them.
    """
    folders = _version_folders(place)
    yield from (int(folder.name) + 1 for folder in folders)
    values = json.loads(_note(place).read_text(encoding="utf-8")) if _note(place).exists() else {}
    if values and (not folders or values.get("is_restored")):
        lost = now - datetime.fromisoformat(values["published_at"])
        yield values["version"] + 1 + max(0, math.ceil(lost.total_seconds()))


def _same_file(source: Path, target: Path) -> None:
    """A second name for a file, or a copy of it where it lies on another disk."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copy2(source, target)
        fsync_path(target)


def _write_document(folder: Path, publication: Publication) -> None:
    values = asdict(publication) | {
        "as_of": publication.as_of.isoformat() if publication.as_of else None,
        "published_at": publication.published_at.isoformat(),
        "parquet_only": {},  # read by releases before 0.2
    }
    write_text(folder / DOCUMENT, json.dumps(values, indent=2) + "\n")


def _swap(place: Place, target: Path) -> None:
    """Point ``current`` at ``target`` by one rename."""
    link = place.published / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    link.symlink_to(Path("versions") / target.name)
    link.replace(current_folder(place))
    fsync_path(place.published)
