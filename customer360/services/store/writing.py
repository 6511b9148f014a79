"""The store made from the published version and the consents in force: anew, or by the rows that changed since its version.

What changed is found by DuckDB, which compares a 64-bit hash of each key's rows with that of the store's version; these lie in
a Parquet file for each table beside the environment. A table whose published files are those that it was made of is passed
over. A refresh is one write transaction: readers keep their snapshot, and a process that is killed leaves the store of before.
The hashes of a version are on disk before its transaction begins, so that they fit whatever version the store has. A build
goes into another folder, in transactions of bounded size, and is swapped in whole.

Equal rows give equal bytes, whichever way they came into the store.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb
import lmdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from customer360.campaigns.ledger import known_salt
from customer360.lake.atomic import TEMPORARY_PREFIX, exclusive, fsync_path, replacing
from customer360.lake.disk import explaining_full_disk
from customer360.lake.engine import file_literal, literal, row_count
from customer360.lake.publishing.version import parquet_files
from customer360.lake.reference.customer_queries import personalised_query
from customer360.offers.decisions import draw_key
from customer360.offers.inputs import read_contents
from customer360.offers.policy import read_state
from customer360.services.store.layout import (
    MAP_SIZE,
    META,
    META_KEY,
    SCHEMA,
    Meta,
    OfferState,
    StoreError,
    TableState,
    open_environment,
    shop_layout,
    store_folder,
)
from customer360.services.store.reading import StoreReader
from customer360.services.store.tables import CONSENTED, TABLES, StoreTable
from customer360.settings import Settings
from customer360.snapshot import Snapshot, open_snapshot

if TYPE_CHECKING:
    from lmdb import _Database as Database

BATCH = 20_000  # rows in memory, and in a transaction of a build
REFRESHED_AT_MOST = (
    250_000  # changed keys of one transaction, whose pages are held in memory: beyond it the store is built anew
)
SPARE_BYTES = 64 * 1024 * 1024
NOTHING = "select null::varchar as key, null::ubigint as digest where false"
Pairs = list[tuple[bytes, bytes]]
Result = TypeVar("Result")
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


def refresh_store(snapshot: Snapshot, *, anew: bool = False) -> Refresh:
    """Bring the store to the snapshot's version; ``anew`` builds it whatever it holds.

    A store that is missing, damaged or laid out otherwise is built, and so is one of which most rows changed. One writer at
    a time; others wait.
    """
    root = store_folder(snapshot.place)
    with explaining_full_disk(snapshot.place.root), exclusive(root / ".lock"):
        _remove_leftovers(root)
        consented = personalised_query(snapshot.place, snapshot.shop)
        snapshot.connection.execute(f"create or replace temp table {CONSENTED} as {consented}")
        if anew:
            return _build(snapshot, root, "asked for")
        try:
            return _refresh_in_place(snapshot, root)
        except _MustBuild as reason:
            return _build(snapshot, root, str(reason))
        except (lmdb.Error, StoreError, msgspec.DecodeError, FileNotFoundError) as error:
            return _build(snapshot, root, f"it could not be read or written: {type(error).__name__}")


def remake_store(settings: Settings) -> Refresh | None:
    """Build the store of the published version where services of this release cannot read it, as after an upgrade.

    None where they can, where the shop has no store, and before the first publication. Raises ``duckdb.Error`` where the
    version is of a release whose tables are others: the next slice publishes them.
    """
    reader = StoreReader(store_folder(settings.place))
    try:
        with reader.view() as view:
            is_readable = view.meta.has_layout_of(settings.shop)
    except StoreError:
        is_readable = False
    finally:
        reader.close()
    if is_readable or not settings.shop.serving:
        return None
    try:
        with open_snapshot(settings) as snapshot:
            return refresh_store(snapshot)
    except FileNotFoundError:
        return None


def _refresh_in_place(snapshot: Snapshot, root: Path) -> Refresh:
    """The changed rows in one transaction. Raises ``_MustBuild``."""
    if not (root / "current").exists():
        raise _MustBuild("there was none")
    folder = (root / "current").resolve()
    with _environment(folder) as environment:
        environment.reader_check()  # killed readers keep no page
        past = _read_meta(environment)
        files = {table.name: _digests_file(folder, table, past.tables[table.name].digests) for table in TABLES}
        if not past.has_layout_of(snapshot.shop) or not all(file.exists() for file in files.values()):
            raise _MustBuild("values are laid out otherwise")
        _remove_digests(folder, keep=files.values())
        sources = _sources(snapshot)
        differ = [table for table in TABLES if sources[table.name] != past.tables[table.name].sources]
        found = {table: _find_changes(snapshot, table, files[table.name]) for table in differ}
        touched = [table for table in differ if any(found[table])]
        changed, removed = (sum(counts[place] for counts in found.values()) for place in (0, 1))
        if changed > max(BATCH, min(REFRESHED_AT_MOST, sum(past.rows.values()) // 2)):
            raise _MustBuild(f"{changed:,} rows changed")
        written = {table.name: snapshot.version.publication.version for table in touched}
        meta = _meta(snapshot, {n: TableState(sources[n], written.get(n, past.tables[n].digests)) for n in sources}, past.rows)
        if meta != past:
            for table in touched:
                _keep_digests(snapshot, table, files[table.name], _digests_file(folder, table, meta.version))
            meta = _write_changes(environment, snapshot, touched, meta)
            _remove_digests(folder, keep=[_digests_file(folder, t, meta.tables[t.name].digests) for t in TABLES])
        if _wasted_bytes(environment) > SPARE_BYTES + _size(folder) // 3:
            folder = _compact(environment, root, folder)
    return Refresh(meta.version, meta.as_of, "", changed, removed, meta.rows, _size(folder))


def _build(snapshot: Snapshot, root: Path, because: str) -> Refresh:
    """The store of all rows, in another folder that is swapped in when it is complete."""
    version = snapshot.version.publication.version
    meta = _meta(snapshot, {name: TableState(sources, version) for name, sources in _sources(snapshot).items()}, {})
    with _new_folder(root) as draft:
        with _environment(draft, sync=False) as environment:
            databases = _databases(environment)
            for table in TABLES:
                if _is_published(snapshot, table):
                    for pairs in _pairs(snapshot, table, f"({table.rows_of(snapshot.shop)})"):
                        _in_transaction(environment, partial(_append, databases[table.name], pairs))
                _copy(snapshot, _digested(snapshot, table), _digests_file(draft, table, version))
            meta = _in_transaction(environment, partial(_put_meta, databases, meta))
            environment.sync(True)
        folder = _swap_in(root, draft)
    return Refresh(meta.version, meta.as_of, because, sum(meta.rows.values()), 0, meta.rows, _size(folder))


def _is_published(snapshot: Snapshot, table: StoreTable) -> bool:
    return all(map(snapshot.has, table.sources))


def _sources(snapshot: Snapshot) -> dict[str, str]:
    """By table a hash of what it is made of. Files that a version took over are those of the version before: hard links."""
    query = f"select count(*), coalesce(bit_xor(hash(customer_id)), 0) from {CONSENTED}"
    consents = snapshot.connection.execute(query).fetchone()
    sources = {}
    for table in TABLES:
        paths = [file for name in table.sources for file in parquet_files(snapshot.version.folder, name)]
        states = [
            (path.parent.name, status.st_ino, status.st_mtime_ns, status.st_size) for path in paths for status in [path.stat()]
        ]
        inputs = (states, consents if CONSENTED in table.rows else None)
        sources[table.name] = hashlib.sha256(repr(inputs).encode()).hexdigest()[:32]
    return sources


def _pairs(snapshot: Snapshot, table: StoreTable, rows: str) -> Iterator[Pairs]:
    """Keys with their values in the order of the keys, a batch at a time. A key's rows may lie in two batches."""
    order = f"key, {table.order}" if table.order else "key"
    query = f"select encode(key) as key, encode({table.value_of(snapshot.shop)}) as value from {rows} order by {order}"
    before: list[tuple[bytes, list[bytes]]] = []
    for batch in snapshot.connection.execute(query).to_arrow_reader(BATCH):
        texts: list[Any] = batch.column("value").to_pylist()
        if not table.order:
            keys: list[Any] = batch.column("key").to_pylist()
            yield list(zip(keys, texts, strict=True))
            continue
        starts, keys = _runs(batch.column("key"))
        runs = [(key, texts[start:end]) for key, start, end in zip(keys, starts, [*starts[1:], len(texts)], strict=True)]
        if before and before[0][0] == runs[0][0]:
            runs[0] = (runs[0][0], before[0][1] + runs[0][1])
        else:
            runs = before + runs
        before = [runs.pop()]
        yield _listed(runs)
    yield _listed(before)


def _runs(keys: pa.Array[Any]) -> tuple[list[int], list[Any]]:
    """Where each run of equal keys starts, and its key."""
    starts = np.append(0, pc.indices_nonzero(pc.not_equal(keys[1:], keys[:-1])).to_numpy().astype(np.int64) + 1)
    return starts.tolist(), keys.take(pa.array(starts)).to_pylist()


def _listed(runs: list[tuple[bytes, list[bytes]]]) -> Pairs:
    return [(key, b"[" + b",".join(texts) + b"]") for key, texts in runs]


def _digested(snapshot: Snapshot, table: StoreTable) -> str:
    """SQL of the digest of each key's rows."""
    if not _is_published(snapshot, table):
        return NOTHING
    rows = table.rows_of(snapshot.shop)
    if table.order:
        return f"select key, bit_xor(hash(entry)) as digest from ({rows}) as entry group by key"
    return f"select key, hash(entry) as digest from ({rows}) as entry"


def _find_changes(snapshot: Snapshot, table: StoreTable, digests: Path) -> tuple[int, int]:
    """The temporary table ``changed_<table>`` of new, changed and removed keys; the digest of a removed one is null.

    Returns how many are new or changed, and how many are removed.
    """
    connection, name = snapshot.connection, f"changed_{table.name}"
    connection.execute(
        f"create or replace temp table {name} as select key, entry.digest "
        f"from read_parquet({file_literal(digests)}) as past full join ({_digested(snapshot, table)}) as entry using (key) "
        "where past.digest is distinct from entry.digest"
    )
    removed = row_count(connection, f"(from {name} where digest is null)")
    return row_count(connection, name) - removed, removed


def _keep_digests(snapshot: Snapshot, table: StoreTable, past: Path, target: Path) -> None:
    """The digests of the version that is written next: those of before but for what changed or went."""
    changed = f"changed_{table.name}"
    kept = f"select key, digest from read_parquet({file_literal(past)}) anti join {changed} using (key)"
    _copy(snapshot, f"{kept} union all from {changed} where digest is not null", target)


def _copy(snapshot: Snapshot, query: str, target: Path) -> None:
    with replacing(target) as temporary:
        snapshot.connection.execute(f"copy ({query}) to {literal(str(temporary))} (format parquet, compression zstd)")


def _write_changes(environment: lmdb.Environment, snapshot: Snapshot, tables: Sequence[StoreTable], meta: Meta) -> Meta:
    """Write the changes and the record in one transaction; returns the record with its rows counted."""
    databases = _databases(environment)

    def write(transaction: lmdb.Transaction) -> Meta:
        for table in tables:
            changed, database = f"changed_{table.name}", databases[table.name]
            gone = snapshot.connection.execute(f"select encode(key) from {changed} where digest is null").fetchall()
            for (key,) in gone:
                transaction.delete(key, db=database)
            if not _is_published(snapshot, table):
                continue
            rows = f"(from ({table.rows_of(snapshot.shop)}) semi join {changed} using (key))"
            for pairs in _pairs(snapshot, table, rows):
                for key, value in pairs:
                    transaction.put(key, value, db=database)
        return _put_meta(databases, meta, transaction)

    return _in_transaction(environment, write)


def _append(database: Database, pairs: Pairs, transaction: lmdb.Transaction) -> None:
    """Pairs whose keys follow all of those that are there: pages are filled one after the other."""
    with transaction.cursor(db=database) as cursor:
        cursor.putmulti(pairs, append=True)


def _put_meta(databases: dict[str, Database], meta: Meta, transaction: lmdb.Transaction) -> Meta:
    rows = {table.name: transaction.stat(databases[table.name])["entries"] for table in TABLES}
    counted = msgspec.structs.replace(meta, rows=rows)
    transaction.put(META_KEY, _encoder.encode(counted), db=databases[META])
    return counted


def _in_transaction(environment: lmdb.Environment, write: Callable[[lmdb.Transaction], Result]) -> Result:
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
    return {name: environment.open_db(name.encode()) for name in (META, *(table.name for table in TABLES))}


def _read_meta(environment: lmdb.Environment) -> Meta:
    """What the store holds. Raises ``_MustBuild`` where that is not known."""
    database = environment.open_db(META.encode())
    with environment.begin() as transaction:
        value = transaction.get(META_KEY, db=database)
    if value is None:
        raise _MustBuild("it was half-written")
    return msgspec.msgpack.decode(value, type=Meta)


def _meta(snapshot: Snapshot, tables: dict[str, TableState], rows: dict[str, int]) -> Meta:
    named = "select category_id, name from categories where name is not null order by category_id"
    titles = dict(snapshot.connection.execute(named).fetchall()) if snapshot.has("categories") else {}
    version = snapshot.version.publication.version
    return Meta(SCHEMA, shop_layout(snapshot.shop), version, snapshot.as_of, rows, titles, _offers(snapshot), tables)


def _offers(snapshot: Snapshot) -> OfferState | None:
    relations = {"offers": "offers", "products": "products", "activity": "offer_activity"}
    if not all(map(snapshot.has, relations.values())):
        return None
    salt = known_salt(snapshot.place, snapshot.shop.campaigns.global_holdout_salt)
    contents = read_contents(snapshot.connection, snapshot.shop, **relations)
    query = "select distinct basis from offer_inputs limit 2"
    bases = snapshot.connection.execute(query).fetchall() if snapshot.has("offer_inputs") else []
    return OfferState(contents, bases[0][0] if len(bases) == 1 else None, draw_key(salt).hex(), read_state(snapshot.place))


def _digests_file(folder: Path, table: StoreTable, version: int) -> Path:
    """The digests of a table as a version changed it last; another release of DuckDB may compute others."""
    return folder / f"digests-{table.name}-{version:08d}-{duckdb.__version__}.parquet"


def _remove_digests(folder: Path, keep: Iterable[Path]) -> None:
    """Remove the digests of other versions, and what a killed writer left of them."""
    kept = {*keep}
    for file in folder.glob("digests-*.parquet"):
        if file not in kept:
            file.unlink()


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
