"""The versions of reference tables: every row with its validity, and a record of each version that was loaded."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from customer360.lake.atomic import replacing, write_text
from customer360.lake.engine import literal, quoted
from customer360.lake.landing.contracts import KNOWN_SINCE, ReferenceTable
from customer360.lake.reference.reference_rows import LINE_NO, column_names, is_unnumbered, key_values
from customer360.lake.slices import naive
from customer360.settings import Place

NOT_KEPT = ("not_read", "set_aside", "faults", "refused_addresses", "address_faults")  # of a load, in the record of versions
BEGINNING = "timestamp '1970-01-01'"


@dataclass(frozen=True)
class PostgresRead:
    """How far a table of PostgreSQL has been read: the next load continues there.

    ``source`` names table, query and cursor by a hash; ``is_full`` where all ``rows`` were read, not only those that may have
    changed; ``mark`` is the cursor's highest value (none without a cursor); ``full_at`` is when all rows were last read,
    ``read_at`` when any were (ISO 8601, UTC).
    """

    source: str
    rows: int
    is_full: bool
    mark: str | None
    full_at: str
    read_at: str


@dataclass(frozen=True)
class ReferenceLoad:
    """Result of a load: rows in force, rows that opened or closed a validity, and unread columns.

    ``not_read`` says why PostgreSQL could not be read; the rows in force are those of the last good version then.
    ``set_aside`` counts the rows that the quarantine of the table holds, ``faults`` are the first of this load, without values.
    ``refused_addresses`` of the rows that this load read count as none, ``address_faults`` are the first, without the address.
    """

    table: str
    files: int
    rows: int
    opened: int
    closed: int
    version: str
    ignored_columns: list[str]
    postgres: PostgresRead | None = None
    not_read: str = ""
    set_aside: int = 0
    faults: tuple[str, ...] = ()
    refused_addresses: int = 0
    address_faults: tuple[str, ...] = ()


def history_file(place: Place, table: str) -> Path:
    """All versions of all rows: the contract's columns, valid_from, valid_to (empty while in force)."""
    return place.raw / table / "history.parquet"


def versions_file(place: Place, table: str) -> Path:
    """One JSON line per version that was loaded; of a table of PostgreSQL, per load."""
    return place.raw / table / "versions.jsonl"


def last_version(place: Place, table: str) -> dict[str, Any] | None:
    """The record of the newest load, or None before the first."""
    file = versions_file(place, table)
    if not file.exists() or not history_file(place, table).exists():
        return None
    return dict(json.loads(file.read_text(encoding="utf-8").splitlines()[-1]))


def first_loaded_at(place: Place, table: str) -> datetime | None:
    """When the table was first loaded (plain UTC), whose version is valid from the beginning of time; None before that.

    Records of release 0.1.0 do not tell: then it was before the second version, or when the only one was written.
    """
    file, history = versions_file(place, table), history_file(place, table)
    if not file.exists() or not history.exists():
        return None
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    later = [record["valid_from"] for record in records if record["valid_from"] != "beginning"]
    known = [records[0]["loaded_at"]] if "loaded_at" in records[0] else later
    return naive(datetime.fromisoformat(known[0]) if known else datetime.fromtimestamp(history.stat().st_mtime, UTC))


def create_past(connection: duckdb.DuckDBPyConnection, place: Place, contract: ReferenceTable) -> None:
    """A temporary view ``past`` of all versions so far; columns added to the contract later are null in old rows."""
    connection.execute(f"create temp view past as {reference_relation(place, contract)}")


def content_version(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, relation: str) -> tuple[int, str]:
    """How many rows, and a hash of their content in which their order does not matter."""
    rows, version = connection.execute(
        f"select count(*), format('{{:016x}}', coalesce(bit_xor(hash(content)), 0)) "
        f"from (select {column_names(contract)} from {relation}) as content"
    ).fetchone() or (0, "")
    return rows, version


def has_other_lines(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable) -> bool:
    """Whether rows without a line number are of an order and product that has another such row in force.

    Then changed rows alone do not tell whether a line has changed or another one has come: all rows must be read.
    """
    if LINE_NO not in contract.key:
        return False
    contents = (
        f"struct_pack({', '.join(f'{quoted(c.name)} := {relation}.{quoted(c.name)}' for c in contract.columns)})"
        for relation in ("past", "incoming")
    )
    found = connection.execute(
        f"""
        select 1 from incoming inner join past using (order_id, product_id)
        where past.valid_to is null and {is_unnumbered("past.line_no")} and {is_unnumbered("incoming.line_no")}
            and {" is distinct from ".join(contents)}
        limit 1
        """
    ).fetchone()
    return found is not None


def merge(
    connection: duckdb.DuckDBPyConnection,
    place: Place,
    contract: ReferenceTable,
    now: datetime,
    *,
    files: int,
    ignored: list[str],
    postgres: PostgresRead | None = None,
) -> ReferenceLoad:
    """Make ``incoming`` the version in force from ``now`` on, if it differs from the one in ``past``, and record it.

    ``incoming`` is the full table, or where PostgreSQL was asked for changes, the rows that may have changed. A row that was
    set aside is closed either way, since its earlier values (a consent, for example) may no longer hold. ``known_since`` is no
    value that changes: what is loaded now holds for all versions of a customer.
    """
    names = column_names(contract)
    is_restated = any(column.name == KNOWN_SINCE for column in contract.columns) and _restate_known_since(connection)
    history = history_file(place, contract.name)
    # After a clock was set back, no two versions of a row may be valid at one moment.
    changed_at = f"greatest(timestamp '{naive(now)}', (select max(valid_from) from past))"
    is_first = not history.exists()
    stamp = BEGINNING if is_first else changed_at
    is_full = postgres is None or postgres.is_full
    concerned = "" if is_full else f"and ({_has_key(contract, 'incoming')} or {_has_key(contract, 'set_aside')})"
    connection.execute(f"create temp view before as select {names} from past where valid_to is null {concerned}")
    connection.execute(f"create temp table closing as (from before) except (select {names} from incoming)")
    connection.execute(f"create temp table opening as (select {names} from incoming) except (from before)")
    closes = " and ".join(f"past.{quoted(name)} is not distinct from closing.{quoted(name)}" for name in contract.key)
    kept = f"select {names} from past where valid_to is null and not exists (select 1 from closing where {closes})"
    current = "incoming" if is_full else f"({kept} union all from opening)"
    rows, version = content_version(connection, contract, current)
    counted = connection.execute("select (select count(*) from opening), (select count(*) from closing)").fetchone()
    opened, closed = counted or (0, 0)
    load = ReferenceLoad(contract.name, files, rows, opened, closed, version, ignored, postgres)
    is_new = bool(opened or closed or is_first or is_restated)
    if is_new:
        with replacing(history) as temporary:
            connection.execute(
                f"""
                copy (
                    -- a row that opens and closes at one moment, as when a replay's clock stands still, held at none
                    select * from (
                        select {names}, valid_from,
                            case when valid_to is null and exists (select 1 from closing where {closes}) then {stamp}
                                else valid_to end as valid_to
                        from past
                    ) where valid_to is null or valid_to > valid_from
                    union all
                    select {names}, {stamp}, null from opening
                    order by {", ".join(quoted(name) for name in contract.key)}, valid_from
                ) to {literal(str(temporary))} (format parquet, compression zstd)
                """
            )
    if is_new or postgres is not None:
        _record(place, load, now, is_first=is_first, is_new=is_new)
    return load


def _restate_known_since(connection: duckdb.DuckDBPyConnection) -> bool:
    """Give all versions in ``past`` the known_since of ``incoming``; returns whether one has changed."""
    both = "past left join incoming using (customer_id)"
    changes = "incoming.customer_id is not null and past.known_since is distinct from incoming.known_since"
    if connection.execute(f"select 1 from {both} where {changes} limit 1").fetchone() is None:
        return False
    connection.execute(
        f"create temp table restated as select past.* replace (case when {changes} then incoming.known_since "
        f"else past.known_since end as known_since) from {both}"
    )
    connection.execute("create or replace temp view past as from restated")
    return True


def _has_key(contract: ReferenceTable, relation: str) -> str:
    pairs = zip(key_values(contract, "past"), key_values(contract, relation), strict=True)
    return f"exists (select 1 from {relation} where {' and '.join(f'{old} = {new}' for old, new in pairs)})"


def _record(place: Place, load: ReferenceLoad, now: datetime, *, is_first: bool, is_new: bool) -> None:
    """Append the load after its rows are written: a mark ahead of the rows would skip the changes in between."""
    last = last_version(place, load.table)
    valid_from = "beginning" if is_first else now.isoformat() if is_new or last is None else last["valid_from"]
    values = {name: value for name, value in asdict(load).items() if name not in NOT_KEPT and value is not None}
    file = versions_file(place, load.table)
    past = file.read_text(encoding="utf-8") if file.exists() else ""
    write_text(file, past + json.dumps({**values, "valid_from": valid_from, "loaded_at": now.isoformat()}) + "\n")


def reference_relation(place: Place, contract: ReferenceTable) -> str:
    """SQL of all versions of a table, or of no rows with the right types before the first load."""
    history = history_file(place, contract.name)
    typed = ", ".join(f"cast(null as {column.type}) as {quoted(column.name)}" for column in contract.columns)
    empty = f"select {typed}, cast(null as timestamp) as valid_from, cast(null as timestamp) as valid_to where false"
    if not history.exists():
        return empty
    return f"({empty}) union all by name select * from read_parquet({literal(str(history))}, hive_partitioning = false)"
