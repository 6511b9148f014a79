"""Backup and restore of a whole place, with the databases in PostgreSQL that its services use.

A backup is a folder ``<time>/`` with ``data/`` (files of the place), ``shop/``, ``dagster/`` where the Dagster home lies
elsewhere, ``databases/*.dump`` (``pg_dump``), and ``backup.json``, which is written last: without it a backup is not whole.
Slices may run meanwhile. Files of a place appear by rename and do not change, so they are copied in an order in which what is
copied later may be newer, but never lacks what an earlier part relies on; SQLite's files are copied by its backup interface.
A file that the backup before has too, of the same size and time, is a hard link to it.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import Error as PostgresDriverError
from psycopg import connect as connect_postgres
from psycopg.conninfo import make_conninfo
from sqlalchemy import update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from customer360.errors import OperatorError
from customer360.lake.atomic import TEMPORARY_PREFIX, write_text
from customer360.lake.publishing.version import current_folder, in_use
from customer360.mail.queue import URL_VARIABLE
from customer360.mail.queue.tables import FACTS, queue_engine
from customer360.place_format import format_values, noted_format
from customer360.settings import Place, Settings

MANIFEST = "backup.json"
TIME_FORMAT = "%Y%m%dT%H%M%SZ"
DESK_VARIABLE, DAGSTER_VARIABLES = "CUSTOMER360_DESK_DATABASE_URL", "DAGSTER_PG_"
# Made again from what is backed up, or of no use elsewhere.
LEFT_OUT = ("warehouse.", "nightly", "dbt", "published", "logs", "start.log", ".")
SERVING_LEFT_OUT = ("store", "sessions", "metrics")
# Copied first, in this order: what the spool gives away is in landing by then, and what the ledger lacks is in the mail queue.
FIRST, LAST = ("models", "raw", "serving", "campaigns"), "mail"
SQLITE = b"SQLite format 3\0"
SQLITE_COMPANIONS = ("-wal", "-shm", "-journal")


class BackupError(OperatorError, RuntimeError):
    """A backup or restore was refused or failed. The message names the remedy, and no password."""


@dataclass(frozen=True)
class Backup:
    """A whole backup: its folder, files, bytes, how many files are links to the backup before, and the databases in it."""

    folder: Path
    files: int
    bytes: int
    linked: int
    databases: list[str]


def back_up(settings: Settings, target: Path, home: Path, now: datetime, environment: Mapping[str, str]) -> Backup:
    """Make a backup in a new folder of ``target``. ``home``: the Dagster home. Raises ``BackupError``.

    A backup that was interrupted leaves a folder under a temporary name, which the next one removes.
    """
    place = settings.place
    if not place.root.is_dir():
        raise BackupError(f"{place.root} does not exist: there is nothing to back up")
    if target.resolve().is_relative_to(place.root.resolve()):
        raise BackupError(f"{target} lies in the place itself; name a folder on another disk")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for leftover in target.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(leftover)
    folder = target / f"{now:{TIME_FORMAT}}"
    if folder.exists():
        raise BackupError(f"{folder} exists already")
    before = max((path.parent for path in target.glob(f"*/{MANIFEST}")), default=None)
    made = target / f"{TEMPORARY_PREFIX}{folder.name}"
    made.mkdir(mode=0o700)  # it holds customers' data and keys
    copier = _Copier(made, before)
    copier.published(place)
    for entry in _ordered(place):
        copier.tree(entry, Path("data") / entry.name)
    copier.tree(settings.shop_folder, Path("shop"))
    if home.is_dir() and not home.resolve().is_relative_to(place.root.resolve()):
        copier.tree(home, Path("dagster"))
    databases = _databases(environment)
    for name, url in databases.items():
        _dump(name, url, made / "databases" / f"{name}.dump", settings)
    os.sync()
    manifest = {**format_values(), "shop": settings.shop.name, "made_at": now.isoformat(), "files": copier.sizes}
    write_text(made / MANIFEST, json.dumps({**manifest, "databases": sorted(databases)}, indent=1) + "\n")
    made.rename(folder)
    return Backup(folder, len(copier.sizes), sum(copier.sizes.values()), copier.linked, sorted(databases))


def restore(backup: Path, place: Place, environment: Mapping[str, str]) -> dict[str, Any]:
    """Make the place from a backup, with its databases where the environment names them; returns what ``backup.json`` says.

    The mail queue is closed afterwards, until it was compared with what was sent. Raises ``BackupError`` where the backup is
    not whole, the place or a database is not empty, or a database is not named; a place is then not made.
    """
    manifest = _checked(backup)
    if place.root.exists() and any(place.root.iterdir()):
        raise BackupError(f"{place.root} is not empty; name a folder that does not exist, or move this one away")
    databases = _databases(environment)
    for name in manifest["databases"]:
        if name not in databases:
            raise BackupError(f"the backup has the database {name}: set {_variable(name)} to an empty database in PostgreSQL")
        _refuse_filled(name, databases[name])
    place.root.parent.mkdir(parents=True, exist_ok=True)
    made = place.root.with_name(f"{TEMPORARY_PREFIX}{place.root.name}")
    if made.exists():
        shutil.rmtree(made)
    shutil.copytree(backup / "data", made, symlinks=True)
    _mark_restored(made)
    for name in manifest["databases"]:
        _load(name, databases[name], backup / "databases" / f"{name}.dump")
    queue = databases.get("mail") or f"sqlite:///{made / 'mail' / 'mail.sqlite3'}"
    if "mail" in manifest["databases"] or (made / "mail" / "mail.sqlite3").exists():
        _close_queue(queue)
    os.sync()
    if place.root.exists():
        place.root.rmdir()
    made.rename(place.root)
    return manifest


class _Copier:
    """Copies into a backup, and counts what it has copied."""

    def __init__(self, made: Path, before: Path | None) -> None:
        self.made, self.before = made, before
        self.sizes: dict[str, int] = {}
        self.linked = 0

    def published(self, place: Place) -> None:
        """The version that is published now, with the notes beside it."""
        link = current_folder(place)
        if not link.exists():
            return
        folder = link.resolve()
        with in_use(folder):
            self.tree(folder, Path("data") / "published" / "versions" / folder.name)
        (self.made / "data" / "published" / "current").symlink_to(Path("versions") / folder.name)
        for note in place.published.glob("*.json"):
            self.file(note, Path("data") / "published" / note.name)

    def tree(self, source: Path, target: Path) -> None:
        """A file or a folder; small files that point at others come before those."""
        if source.is_file() and not source.is_symlink():
            self.file(source, target)
            return
        for root, folders, files in os.walk(source):
            below = target / Path(root).relative_to(source)
            folders[:] = sorted(name for name in folders if self._is_kept(below, name))
            (self.made / below).mkdir(parents=True, exist_ok=True)
            for name in sorted(files):
                if self._is_kept(below, name) and not name.endswith(SQLITE_COMPANIONS):
                    self.file(Path(root) / name, below / name)

    @staticmethod
    def _is_kept(below: Path, name: str) -> bool:
        is_remade = below == Path("data/serving") and name in SERVING_LEFT_OUT
        return not (is_remade or name.startswith(TEMPORARY_PREFIX))

    def file(self, source: Path, target: Path) -> None:
        """A file, with its time to the nanosecond; one that has gone meanwhile is left out."""
        copy = self.made / target
        copy.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if _is_sqlite(source):
                _copy_sqlite(source, copy)
            elif self._link(source, target, copy):
                self.linked += 1
            else:
                shutil.copy2(source, copy, follow_symlinks=False)
            self.sizes[target.as_posix()] = copy.lstat().st_size

    def _link(self, source: Path, target: Path, copy: Path) -> bool:
        if self.before is None:
            return False
        earlier = self.before / target
        with suppress(FileNotFoundError):
            old, new = earlier.lstat(), source.lstat()
            if (old.st_size, old.st_mtime_ns, old.st_mode) == (new.st_size, new.st_mtime_ns, new.st_mode):
                copy.hardlink_to(earlier)
                return True
        return False


def _ordered(place: Place) -> list[Path]:
    """Entries of the place that are backed up, in the order in which they are."""
    entries = {path.name: path for path in place.root.iterdir() if not path.name.startswith(LEFT_OUT)}
    first = [entries.pop(name) for name in FIRST if name in entries]
    last = [entries.pop(LAST)] if LAST in entries else []
    return [*first, *(entries[name] for name in sorted(entries)), *last]


def _is_sqlite(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(SQLITE)) == SQLITE


def _copy_sqlite(source: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=60)) as database,
        closing(sqlite3.connect(target)) as copy,
    ):
        database.backup(copy)
    shutil.copymode(source, target)


def _databases(environment: Mapping[str, str]) -> dict[str, str]:
    """Connection strings of the databases in PostgreSQL that the services use, by what they hold."""
    found = {"desk": environment.get(DESK_VARIABLE, ""), "mail": environment.get(URL_VARIABLE, "")}
    host, user, password, name = (
        environment.get(f"{DAGSTER_VARIABLES}{part}", "") for part in ("HOST", "USERNAME", "PASSWORD", "DB")
    )
    if host:
        found["dagster"] = URL.create("postgresql", user, password, host, None, name).render_as_string(hide_password=False)
    return {name: url for name, url in found.items() if url.startswith("postgres")}


def _variable(name: str) -> str:
    return {"desk": DESK_VARIABLE, "mail": URL_VARIABLE}.get(name, f"{DAGSTER_VARIABLES}HOST and its like")


def _reached(name: str, url: str) -> tuple[str, dict[str, str]]:
    """The connection string without its password, and the environment that holds that: command lines are no secret."""
    with suppress(ArgumentError):
        found = make_url(url)
        options = {key: value if isinstance(value, str) else value[-1] for key, value in found.query.items()}
        parts: dict[str, Any] = {
            "host": found.host,
            "port": found.port,
            "user": found.username,
            "dbname": found.database,
            **options,
        }
        password = found.password or os.environ.get("PGPASSWORD", "")
        return make_conninfo(**parts), {**os.environ, "PGPASSWORD": password}
    raise BackupError(f"{_variable(name)} is not the URL of a database")


def _dump(name: str, url: str, target: Path, settings: Settings) -> None:
    """All of the database but the published tables, which come back with the next publication."""
    reached, environment = _reached(name, url)
    target.parent.mkdir(exist_ok=True)
    options = ["--format=custom", "--no-owner", "--no-privileges", f"--file={target}"]
    if publish_to := settings.shop.publish_to:
        schema = publish_to.postgres.db_schema
        options += [f"--exclude-schema={schema}", f"--exclude-schema={schema}_parts"]
    _run(name, ["pg_dump", *options, f"--dbname={reached}"], environment)


def _load(name: str, url: str, dump: Path) -> None:
    reached, environment = _reached(name, url)
    options = ["--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error", f"--dbname={reached}"]
    _run(name, ["pg_restore", *options, str(dump)], environment)


def _run(name: str, command: list[str], environment: dict[str, str]) -> None:
    try:
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  of PostgreSQL
    except FileNotFoundError as error:
        raise BackupError(f"{command[0]} is not installed: apt-get install postgresql-client") from error
    if ran.returncode:
        reason = (ran.stderr.strip().splitlines() or ["no message"])[0]
        raise BackupError(f"the database {name} ({_variable(name)}): {reason}")


def _refuse_filled(name: str, url: str) -> None:
    reached, environment = _reached(name, url)
    tables = "select count(*) from pg_tables where schemaname = 'public'"
    try:
        with connect_postgres(reached, password=environment["PGPASSWORD"] or None, connect_timeout=10) as connection:
            (count,) = connection.execute(tables).fetchone() or (0,)
    except PostgresDriverError as error:
        raise BackupError(f"the database {name} ({_variable(name)}) cannot be reached ({type(error).__name__})") from error
    if count:
        raise BackupError(f"the database {name} ({_variable(name)}) is not empty: create a new one, and name that")


def _checked(backup: Path) -> dict[str, Any]:
    file = backup / MANIFEST
    if not file.exists():
        newest = max((path.parent.name for path in backup.glob(f"*/{MANIFEST}")), default="")
        remedy = f"; name one of its folders, such as {backup / newest}" if newest else ""
        raise BackupError(f"{backup} is no whole backup: it has no {MANIFEST}{remedy}")
    noted_format(file)
    manifest = json.loads(file.read_text(encoding="utf-8"))
    wrong = [name for name, size in manifest["files"].items() if _size(backup / name) != size]
    if wrong:
        raise BackupError(f"{backup} is damaged: {wrong[0]} and {len(wrong) - 1} other files are missing or of another size")
    return dict(manifest)


def _size(file: Path) -> int:
    return file.lstat().st_size if os.path.lexists(file) else -1


def _mark_restored(root: Path) -> None:
    """Have the numbers of versions go on above those that were published since the backup."""
    note = root / "last_version.json"
    if note.exists():
        values = json.loads(note.read_text(encoding="utf-8"))
        write_text(note, json.dumps({**values, "is_restored": True}))


def _close_queue(url: str) -> None:
    """Whatever numbers the files get: a queue that was restored is no longer where it was made."""
    engine = queue_engine(url)
    with engine.begin() as connection:
        connection.execute(update(FACTS).where(FACTS.c.name == "identity").values(value="restored"))
    engine.dispose()
