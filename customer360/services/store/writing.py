"""The store made from the published version and the consents in force: anew, or by the rows that changed since its version.

What changed is found by DuckDB, which compares a 64-bit hash of each row with those of the store's version; these lie in one
Parquet file beside the environment. A refresh is one write transaction: readers keep their snapshot, and a process that is
killed leaves the store of before. The hashes of a version are on disk before its transaction begins, so that they fit
whatever version the store has. A build goes into another folder, in transactions of bounded size, and is swapped in whole.

Equal rows give equal bytes, whichever way they came into the store.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import lmdb
import msgspec

from customer360.lake.atomic import TEMPORARY_PREFIX, exclusive, fsync_path, replacing
from customer360.lake.disk import explaining_full_disk
from customer360.lake.engine import file_literal, literal, quoted, row_count
from customer360.lake.publishing.profiles import PROFILES as PROFILES_TABLE
from customer360.lake.publishing.publications import VISITORS as VISITORS_TABLE
from customer360.lake.reference.customer_queries import personalised_query
from customer360.services.store.layout import (
    LONG_KEY,
    LONGEST_KEY,
    MAP_SIZE,
    META,
    META_KEY,
    PROFILES,
    SCHEMA,
    VISITORS,
    Meta,
    StoredProfile,
    StoreError,
    attributes,
    categories,
    open_environment,
    store_folder,
)
from customer360.settings import Shop, slug
from customer360.snapshot import Snapshot

if TYPE_CHECKING:
    from lmdb import _Database as Database

BATCH = 20_000  # rows in memory, and in a transaction of a build
REFRESHED_AT_MOST = (
    250_000  # changed rows of one transaction, whose pages are held in memory: beyond it the store is built anew
)
SPARE_BYTES = 64 * 1024 * 1024
Row = tuple[Any, ...]
_encoder = msgspec.msgpack.Encoder()


@dataclass(frozen=True)
class Refresh:
    """What a refresh did. ``bytes``: size of the store on disk. ``version``, ``as_of``: of the published version.

    ``built_because``: why the store was built, empty where only the changed rows were written.
    """

    version: int
    as_of: datetime
    built_because: str
    changed: int
    removed: int
    rows: dict[str, int]
    bytes: int


class _MustBuild(Exception):  # noqa: N818 (no error: what to do)
    """The store cannot be brought to the version by its changed rows; the message says why."""


@dataclass(frozen=True)
class _Table:
    """A table of the store: a query on the published ``source`` whose rows begin with their key, and the value of a row."""

    name: str
    source: str
    query: str
    value: Callable[[Row], bytes]


def refresh_store(snapshot: Snapshot, *, anew: bool = False) -> Refresh:
    """Bring the store to the snapshot's version; ``anew`` builds it whatever it holds.

    A store that is missing, damaged or laid out otherwise is built, and so is one of which most rows changed. One writer at
    a time; others wait.
    """
    root = store_folder(snapshot.place)
    with explaining_full_disk(snapshot.place.root), exclusive(root / ".lock"):
        _remove_leftovers(root)
        consented = personalised_query(snapshot.place, snapshot.shop)
        snapshot.connection.execute(f"create or replace temp table consented as {consented}")
        tables = [table for table in _tables(snapshot.shop) if snapshot.has(table.source)]
        if anew:
            return _build(snapshot, root, tables, "asked for")
        try:
            return _refresh_in_place(snapshot, root, tables)
        except _MustBuild as reason:
            return _build(snapshot, root, tables, str(reason))
        except (lmdb.Error, StoreError, msgspec.DecodeError, FileNotFoundError) as error:
            return _build(snapshot, root, tables, f"it could not be read or written: {type(error).__name__}")


def _refresh_in_place(snapshot: Snapshot, root: Path, tables: list[_Table]) -> Refresh:
    """The changed rows in one transaction. Raises ``_MustBuild``."""
    if not (root / "current").exists():
        raise _MustBuild("there was none")
    folder = (root / "current").resolve()
    connection = snapshot.connection
    with _environment(folder) as environment:
        environment.reader_check()  # killed readers keep no page
        past = _read_meta(environment)
        digests = _digests_file(folder, past.version)
        if not past.has_layout_of(snapshot.shop) or not digests.exists():
            raise _MustBuild("values are laid out otherwise")
        changed, removed = _find_changes(connection, tables, digests)
        if changed > max(BATCH, min(REFRESHED_AT_MOST, sum(past.rows.values()) // 2)):
            raise _MustBuild(f"{changed:,} rows changed")
        meta = _meta(snapshot, tables)
        if changed or removed or meta != past:
            target = _digests_file(folder, meta.version)
            _keep_changed_digests(connection, tables, digests, target)
            _write_changes(environment, connection, tables, meta)
            if target != digests:
                digests.unlink()
        if _wasted_bytes(environment) > SPARE_BYTES + _size(folder) // 2:
            folder = _compact(environment, root, folder)
    return Refresh(meta.version, meta.as_of, "", changed, removed, meta.rows, _size(folder))


def _build(snapshot: Snapshot, root: Path, tables: list[_Table], because: str) -> Refresh:
    """The store of all rows, in another folder that is swapped in when it is complete."""
    meta = _meta(snapshot, tables)
    with _new_folder(root) as draft:
        with _environment(draft, sync=False) as environment:
            databases = _databases(environment)
            for table in tables:
                rows = snapshot.connection.execute(f"from ({table.query}) order by key")
                while batch := rows.fetchmany(BATCH):
                    _in_transaction(environment, partial(_append, databases[table.name], table, batch))
            _in_transaction(environment, partial(_put_meta, databases[META], meta))
            environment.sync(True)
        digests = " union all ".join(f"select {literal(t.name)} as name, key, digest from ({_digested(t)})" for t in tables)
        _copy(snapshot.connection, digests, _digests_file(draft, meta.version))
        folder = _swap_in(root, draft)
    return Refresh(meta.version, meta.as_of, because, sum(meta.rows.values()), 0, meta.rows, _size(folder))


def _tables(shop: Shop) -> tuple[_Table, ...]:
    probabilities = ", ".join(quoted(f"probability_{slug(category)}") for category in categories(shop))
    own = "".join(f", {quoted(name)}" for name in attributes(shop))
    profiles = f"""
        select {_key_column("customer_id")} as key, customer_id, consented.customer_id is not null as may_personalise,
            segment, recency_days, frequency, cast(monetary as double) as monetary, label,
            case when model_version is null then [] else [{probabilities}] end as probabilities, model_version,
            purchase_probability, expected_spend, churn_probability, top_category_id,
            list_filter([reason_1, reason_2, reason_3], lambda reason: reason is not null) as reasons,
            {_text_of_time("reasons_as_of")}, {_text_of_time("last_activity_at")}{own}
        from {PROFILES_TABLE} left join consented using (customer_id)
    """
    visitors = (
        f"select {_key_column('visitor_id')} as key, customer_id from {VISITORS_TABLE} semi join consented using (customer_id)"
    )
    fixed = len(StoredProfile.__struct_fields__) - 1  # columns before the attributes, which are one list

    def profile(row: Row) -> bytes:
        return _encoder.encode((*row[1 : fixed + 1], row[fixed + 1 :]))

    return (
        _Table(PROFILES, PROFILES_TABLE, profiles, profile),
        _Table(VISITORS, VISITORS_TABLE, visitors, lambda row: str(row[1]).encode("utf-8", "surrogatepass")),
    )


def _key_column(name: str) -> str:
    """SQL of the key of an id, as ``layout.key_of`` gives it."""
    return f"case when strlen({name}) <= {LONGEST_KEY} then {name} else {literal(LONG_KEY)} || sha256({name}) end"


def _key(row: Row) -> bytes:
    return str(row[0]).encode("utf-8", "surrogatepass")


def _text_of_time(name: str) -> str:
    return f"strftime({name}, '%Y-%m-%dT%H:%M:%S.%gZ') as {name}"


def _digested(table: _Table) -> str:
    return f"select entry.*, hash(entry) as digest from ({table.query}) as entry"


def _find_changes(connection: duckdb.DuckDBPyConnection, tables: list[_Table], digests: Path) -> tuple[int, int]:
    """The temporary tables ``changed_<table>`` of new and changed rows with their digests, and ``removed`` (name, key).

    Returns how many there are of each. A published table is read once, and its key a second time.
    """
    connection.execute(f"create or replace temp view past as from read_parquet({file_literal(digests)})")
    present = " union all ".join(f"select {literal(t.name)} as name, key from ({t.query})" for t in tables)
    connection.execute(
        f"create or replace temp table removed as select name, key from past anti join ({present}) using (name, key)"
    )
    changed = 0
    for table in tables:
        connection.execute(
            f"create or replace temp table changed_{table.name} as select entry.* from ({_digested(table)}) as entry "
            f"left join (select key, digest from past where name = {literal(table.name)}) as before using (key) "
            "where before.digest is distinct from entry.digest"
        )
        changed += row_count(connection, f"changed_{table.name}")
    return changed, row_count(connection, "removed")


def _keep_changed_digests(connection: duckdb.DuckDBPyConnection, tables: list[_Table], past: Path, target: Path) -> None:
    """The digests of the version that is written next: those of before but for what changed or went."""
    changed = " union all ".join(f"select {literal(t.name)} as name, key, digest from changed_{t.name}" for t in tables)
    gone = f"select name, key from ({changed}) union all from removed"
    kept = f"select name, key, digest from read_parquet({file_literal(past)}) anti join ({gone}) using (name, key)"
    _copy(connection, f"{kept} union all {changed}", target)


def _copy(connection: duckdb.DuckDBPyConnection, query: str, target: Path) -> None:
    with replacing(target) as temporary:
        connection.execute(f"copy ({query}) to {literal(str(temporary))} (format parquet, compression zstd)")


def _write_changes(
    environment: lmdb.Environment, connection: duckdb.DuckDBPyConnection, tables: list[_Table], meta: Meta
) -> None:
    databases = _databases(environment)

    def write(transaction: lmdb.Transaction) -> None:
        for name, key in connection.execute("from removed").fetchall():
            transaction.delete(str(key).encode("utf-8", "surrogatepass"), db=databases[name])
        for table in tables:
            rows = connection.execute(f"select * exclude (digest) from changed_{table.name} order by key")
            while batch := rows.fetchmany(BATCH):
                for row in batch:
                    transaction.put(_key(row), table.value(row), db=databases[table.name])
        _put_meta(databases[META], meta, transaction)

    _in_transaction(environment, write)


def _append(database: Database, table: _Table, rows: list[Row], transaction: lmdb.Transaction) -> None:
    """Rows whose keys follow all of those that are there: pages are filled one after the other."""
    with transaction.cursor(db=database) as cursor:
        cursor.putmulti([(_key(row), table.value(row)) for row in rows], append=True)


def _put_meta(database: Database, meta: Meta, transaction: lmdb.Transaction) -> None:
    transaction.put(META_KEY, _encoder.encode(meta), db=database)


def _in_transaction(environment: lmdb.Environment, write: Callable[[lmdb.Transaction], None]) -> None:
    """One write transaction; where the map is full, it is doubled and the transaction made again."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                return write(transaction)
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])


@contextmanager
def _environment(folder: Path, *, sync: bool = True) -> Iterator[lmdb.Environment]:
    environment = open_environment(folder, map_size=MAP_SIZE, sync=sync)
    try:
        yield environment
    finally:
        environment.close()


def _databases(environment: lmdb.Environment) -> dict[str, Database]:
    return {name: environment.open_db(name.encode()) for name in (META, PROFILES, VISITORS)}


def _read_meta(environment: lmdb.Environment) -> Meta:
    """What the store holds. Raises ``_MustBuild`` where that is not known."""
    database = environment.open_db(META.encode())
    with environment.begin() as transaction:
        value = transaction.get(META_KEY, db=database)
    if value is None:
        raise _MustBuild("it was half-written")
    return msgspec.msgpack.decode(value, type=Meta)


def _meta(snapshot: Snapshot, tables: list[_Table]) -> Meta:
    rows = {table.name: row_count(snapshot.connection, f"({table.query})") for table in tables}
    number, shop = snapshot.version.publication.version, snapshot.shop
    named = "select category_id, name from categories where name is not null order by category_id"
    titles = dict(snapshot.connection.execute(named).fetchall()) if snapshot.has("categories") else {}
    return Meta(SCHEMA, number, snapshot.as_of, categories(shop), attributes(shop), rows, titles)


def _digests_file(folder: Path, version: int) -> Path:
    """The digests of a version's rows; another release of DuckDB may compute others."""
    return folder / f"digests-{version:08d}-{duckdb.__version__}.parquet"


def _wasted_bytes(environment: lmdb.Environment) -> int:
    """Bytes of pages that hold nothing: they are used again, but the file does not shrink."""
    used, databases = 2, _databases(environment).values()
    with environment.begin() as transaction:
        for found in (environment.stat(), *(transaction.stat(database) for database in databases)):
            used += found["branch_pages"] + found["leaf_pages"] + found["overflow_pages"]
    return (environment.info()["last_pgno"] + 1 - used) * environment.stat()["psize"]


def _compact(environment: lmdb.Environment, root: Path, folder: Path) -> Path:
    """A copy of the store without pages that hold nothing, swapped in."""
    with _new_folder(root) as draft:
        environment.copy(str(draft), compact=True)
        for digests in folder.glob("digests-*.parquet"):
            (draft / digests.name).hardlink_to(digests)
        return _swap_in(root, draft)


@contextmanager
def _new_folder(root: Path) -> Iterator[Path]:
    draft = root / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    draft.mkdir(parents=True)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _swap_in(root: Path, draft: Path) -> Path:
    """Give the folder its number and point ``current`` at it; readers of the one before keep what they have open."""
    for path in (*draft.iterdir(), draft):
        fsync_path(path)
    numbers = [int(path.name) for path in root.iterdir() if path.name.isdigit()]
    folder = root / f"{max(numbers, default=0) + 1:08d}"
    draft.rename(folder)
    link = root / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    link.symlink_to(folder.name)
    link.replace(root / "current")
    fsync_path(root)
    _remove_leftovers(root)
    return folder


def _remove_leftovers(root: Path) -> None:
    """Remove what a killed writer left, and the folders that ``current`` does not name any more."""
    current = (root / "current").resolve().name
    for path in root.iterdir():
        if path.is_symlink() and path.name.startswith(TEMPORARY_PREFIX):
            path.unlink()
        elif path.is_dir() and not path.is_symlink() and path.name != current:
            shutil.rmtree(path, ignore_errors=True)
    for file in (root / current).glob(f"{TEMPORARY_PREFIX}*"):
        file.unlink()


def _size(folder: Path) -> int:
    """Bytes that a folder takes on disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())
