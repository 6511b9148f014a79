"""Published versions in an object store: uploaded completely, read back as a reader would, then one small object is swapped.

``versions/<number>-<time>/`` holds a version as its local folder does; ``current.json`` names it and is replaced by one PUT, so
that a reader who begins there always sees a complete version. A version is complete with ``version.json``, written last.
Files that the version before has too are copied inside the store and not sent again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from customer360.lake import httpfs
from customer360.lake.atomic import exclusive
from customer360.lake.engine import file_list, literal
from customer360.lake.object_store import ObjectGoneError, ObjectStore, StoreError
from customer360.lake.publishing.copies import Copied, remember
from customer360.lake.publishing.publishing import KEEP_FOR, KEEP_VERSIONS, write_database
from customer360.lake.publishing.version import DATABASE, DOCUMENT, Publication, current_folder, read_publication
from customer360.settings import ObjectStorage, Place, Settings

STORE = "store"  # name of the copy
VERSIONS = "versions/"
POINTER = "current.json"
MANIFEST = DOCUMENT
TIME_FORMAT = "%Y%m%dT%H%M%SZ"
NAME = re.compile(r"\d{8}-(\d{8}T\d{6}Z)")


@dataclass(frozen=True)
class Upload:
    """What an upload did: the version, its URL, objects and bytes that were sent, objects copied in the store, and removed."""

    version: int
    url: str
    sent: int
    sent_bytes: int
    copied: int
    removed_versions: int


@dataclass(frozen=True)
class _File:
    path: Path
    size: int
    md5: str


def upload_current(place: Place, storage: ObjectStorage, now: datetime) -> Upload | None:
    """Upload the version that is published locally; None before the first one. A second call changes nothing.

    Raises ``StoreError``; readers of the store then keep their version, and the next call uploads again.
    """
    if storage.publish is None or not current_folder(place).exists():
        return None
    store = ObjectStore(storage, storage.publish)
    with exclusive(place.published / ".store-lock"):
        folder = current_folder(place).resolve()
        publication = read_publication(folder / MANIFEST)
        target = f"{VERSIONS}{publication.folder_name}-{publication.published_at.astimezone(UTC):{TIME_FORMAT}}"
        pointer = _read_pointer(store)
        sent: list[_File] = []
        copied = 0
        if pointer.get("folder") != store.url_of(target):
            store.abort_unfinished(VERSIONS)
            files = _files(folder)
            sent, copied = _send(store, files, target, pointer)
            with TemporaryDirectory(dir=place.root) as scratch:
                files[DATABASE] = _send_database(store, target, publication, files, Path(scratch))
            sent.append(files[DATABASE])
            document = _document(store, target, publication, files, now)
            store.put(f"{target}/{MANIFEST}", document)
            store.put(POINTER, document)
        remember(place, STORE, Copied(publication.version, publication.published_at, store.url_of(target)))
        removed = _remove_old(store, target.removeprefix(VERSIONS), now)
    return Upload(publication.version, store.url_of(target), len(sent), sum(file.size for file in sent), copied, removed)


def next_number(settings: Settings) -> int:
    """Number that the next version has at least: above what the store's readers have, where nothing is published here (yet)."""
    storage = settings.shop.object_storage
    if storage is None or storage.publish is None or current_folder(settings.place).exists():
        return 1
    return 1 + int(_read_pointer(ObjectStore(storage, storage.publish)).get("version", 0))


def _read_pointer(store: ObjectStore) -> dict[str, Any]:
    try:
        return dict(json.loads(store.read(POINTER)))
    except ObjectGoneError:
        return {}


def _files(folder: Path) -> dict[str, _File]:
    """The Parquet files of a version, by their path in the folder."""
    return {path.relative_to(folder).as_posix(): _file(path) for path in sorted(folder.glob("parquet/*/*.parquet"))}


def _file(path: Path) -> _File:
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return _File(path, path.stat().st_size, digest)


def _send(store: ObjectStore, files: dict[str, _File], target: str, pointer: dict[str, Any]) -> tuple[list[_File], int]:
    """Put or copy the missing objects, so that an interrupted upload continues; returns objects sent and number copied."""
    past = str(pointer.get("folder", "")).removeprefix(f"{store.url}/")
    present = {entry.key: entry.etag for entry in store.objects(f"{target}/")}
    sent: list[_File] = []
    copied = 0
    for name, file in files.items():
        if present.get(f"{target}/{name}") == file.md5:
            continue
        if pointer.get("files", {}).get(name) == {"bytes": file.size, "md5": file.md5}:
            try:
                store.copy(f"{past}/{name}", f"{target}/{name}")
            except ObjectGoneError:  # the version before was removed from the store: its content is still here
                pass
            else:
                copied += 1
                continue
        store.put(f"{target}/{name}", file.path)
        sent.append(file)
    return sent, copied


def _send_database(store: ObjectStore, target: str, publication: Publication, files: Iterable[str], folder: Path) -> _File:
    """Put the database of views over the store's URLs, which DuckDB makes by reading each table there; then read it back.

    Raises ``StoreError`` where it or a table cannot be read, or a table has other rows than were published.
    """
    urls: dict[str, list[str]] = {name: [] for name in publication.rows}
    for name in files:
        urls[name.split("/")[1]].append(store.url_of(f"{target}/{name}"))
    database = folder / DATABASE
    try:
        with httpfs.reading(store, folder) as connection:
            write_database(connection, database, urls, publication.descriptions)
            store.put(f"{target}/{DATABASE}", database)
            connection.execute(f"attach {literal(store.url_of(f'{target}/{DATABASE}'))} as uploaded (read_only)")
            views = connection.execute("select view_name from duckdb_views() where database_name = 'uploaded' and not internal")
            wrong = publication.rows.keys() - {name for (name,) in views.fetchall()}
            for name, parts in urls.items():
                metadata = f"parquet_file_metadata({file_list(parts)})"
                if connection.execute(f"select sum(num_rows) from {metadata}").fetchone() != (publication.rows[name],):
                    wrong.add(name)
    except duckdb.Error as error:
        message = store.without_keys(next(iter(str(error).splitlines()), type(error).__name__))
    else:
        if not wrong:
            return _file(database)
        message = f"the number of rows differs in {', '.join(sorted(wrong))}"
    raise StoreError(f"{store.title}: version {publication.version} was uploaded, but cannot be read back: {message}")


def _document(store: ObjectStore, target: str, publication: Publication, files: dict[str, _File], now: datetime) -> bytes:
    values = {
        "version": publication.version,
        "as_of": publication.as_of.isoformat() if publication.as_of else None,
        "published_at": publication.published_at.isoformat(),
        "uploaded_at": now.isoformat(),
        "folder": store.url_of(target),
        "database": store.url_of(f"{target}/{DATABASE}"),
        "rows": publication.rows,
        "parquet_only": {},  # read by releases before 0.2
        "files": {name: {"bytes": file.size, "md5": file.md5} for name, file in files.items()},
    }
    return (json.dumps(values, indent=2) + "\n").encode()


def _remove_old(store: ObjectStore, current: str, now: datetime) -> int:
    """Remove versions beyond the last three that are over an hour old, and unfinished uploads; returns their number."""
    found: dict[str, list[str]] = {}
    for entry in store.objects(VERSIONS):
        found.setdefault(entry.key.split("/")[1], []).append(entry.key)
    others = {name: keys for name, keys in found.items() if NAME.fullmatch(name) and name != current}
    complete = sorted((name for name, keys in others.items() if _manifest(name) in keys), key=_time_of, reverse=True)
    retained = {name for number, name in enumerate(complete, 2) if number <= KEEP_VERSIONS or now - _time_of(name) <= KEEP_FOR}
    expired = [name for name in others if name not in retained]
    for name in expired:
        store.remove(_manifest(name))  # first: after a crash the version counts as unfinished
        for key in others[name]:
            store.remove(key)
    return len(expired)


def _manifest(name: str) -> str:
    return f"{VERSIONS}{name}/{MANIFEST}"


def _time_of(name: str) -> datetime:
    found = NAME.fullmatch(name)
    return datetime.strptime(found[1] if found else "", TIME_FORMAT).replace(tzinfo=UTC)
