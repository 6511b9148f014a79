"""How large an audience is, whom of it each channel may reach, what they are expected to spend, and how two overlap.

Counts are those of the planner (``ml.planning``) before it looks at days and values: customers who have a segment and whom the
shop knew at the snapshot's time, with consents and suppressions as last loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock

from customer360.campaigns.audience import (
    FEATURES,
    SEGMENTS,
    VALUE,
    Column,
    audience_columns,
    audience_relation,
    audience_tree,
    naming_missing_tables,
)
from customer360.campaigns.conditions import Value, conditions_of, sql_of
from customer360.campaigns.sending import READ_AGAIN
from customer360.kept import file_state
from customer360.lake.engine import quoted
from customer360.lake.reference.customer_queries import contact_rules_query, suppressed_channels_query
from customer360.lake.reference.reference_history import history_file
from customer360.settings import Shop
from customer360.snapshot import Snapshot

STATED = ("stops.parquet", "opt_ins.parquet")  # consents and stops that customers stated themselves
_MAKING = Lock()


@dataclass(frozen=True)
class Reach:
    """Customers of an audience who consent to a channel, who are suppressed for it, and who may be contacted through it.

    ``expected_spend``: of those who may be contacted, in the shop's currency; None without a spend model.
    """

    channel: str
    consenting: int
    suppressed: int
    reachable: int
    expected_spend: float | None


@dataclass(frozen=True)
class AudienceSize:
    """An audience. ``suppressed`` and ``without_consent``: left out by these rules of a plan that uses all of ``channels``.

    ``expected_spend``: of all its customers within the label horizon, in the shop's currency; None without a spend model.
    """

    customers: int
    suppressed: int
    without_consent: int
    expected_spend: float | None
    channels: tuple[Reach, ...]

    @property
    def reachable(self) -> int:
        """Customers whom at least one of the channels may reach."""
        return self.customers - self.left_out

    @property
    def left_out(self) -> int:
        """Customers whom none of the channels may reach."""
        return self.suppressed + self.without_consent


@dataclass(frozen=True)
class Overlap:
    """Customers of two audiences: of the first alone, of the second alone, and of both."""

    first: int
    second: int
    both: int


def audience_size(snapshot: Snapshot, text: str, channels: Sequence[str] = ()) -> AudienceSize:
    """Count an audience for a campaign through ``channels`` (default: all of the shop's). Raises ``AudienceError``."""
    names = list(channels or snapshot.shop.channels)
    is_allowed = [quoted(f"_allowed_{name}") for name in names]
    is_suppressed = [quoted(f"_suppressed_{name}") for name in names]
    pairs = list(zip(is_allowed, is_suppressed, strict=True))
    is_barred = " and ".join(is_suppressed)
    is_reached = " or ".join(f"{allowed} and not {barred}" for allowed, barred in pairs)
    counted = ["count(*)", f"count(*) filter ({is_barred})", f"count(*) filter (not ({is_barred}) and not ({is_reached}))"]
    counted.append("sum(_spend)")
    for allowed, barred in pairs:
        reached = f"filter ({allowed} and not {barred})"
        counted += [f"count(*) filter ({allowed})", f"count(*) filter ({barred})"]
        counted += [f"count(*) {reached}", f"sum(_spend) {reached}"]
    with naming_missing_tables(text, snapshot.shop):
        chosen, values, columns = _condition(snapshot.shop, text)
        query = f"select {', '.join(counted)} from (from {_people(snapshot, columns)}) as people where _is_known and ({chosen})"
        row = _one(snapshot, query, values)
    of_channels = [row[4 + 4 * place : 8 + 4 * place] for place in range(len(names))]
    reaches = tuple(Reach(name, *counts) for name, counts in zip(names, of_channels, strict=True))
    return AudienceSize(row[0], row[1], row[2], row[3], reaches)


def overlap(snapshot: Snapshot, first: str, second: str) -> Overlap:
    """How many customers two audiences share, as ``audience_size`` counts them. Raises ``AudienceError``."""
    shop = snapshot.shop
    (one, values, columns), (other, more, further) = _condition(shop, first), _condition(shop, second)
    with naming_missing_tables(f"({first}) or ({second})", shop):
        query = f"""
            with asked as (
                select ({one}) is true as is_first, ({other}) is true as is_second
                from (from {_people(snapshot, dict.fromkeys([*columns, *further]))}) as people where _is_known
            )
            select
                count(*) filter (is_first and not is_second),
                count(*) filter (is_second and not is_first),
                count(*) filter (is_first and is_second)
            from asked
        """
        return Overlap(*_one(snapshot, query, [*values, *more]))


def _condition(shop: Shop, text: str) -> tuple[str, list[Value], list[Column]]:
    """SQL of an audience over a relation ``people``, the values of its ``?``, and the columns that ``people`` has to have."""
    tree, known = audience_tree(text, shop), audience_columns(shop)
    conditions = list(conditions_of(tree))
    names = dict.fromkeys(condition.column for condition in conditions)
    values = [value for condition in conditions for value in condition.values]
    return sql_of(tree, dict.fromkeys(names, "people")), values, [known[name] for name in names]


def kept_column(snapshot: Snapshot, column: Column) -> str:
    """The table that holds a column's value of each customer of customer_features, in its order, in memory.

    Raises DuckDB's ``CatalogException`` where the column's table is not published.
    """
    with _MAKING:
        return _kept_column(snapshot, _kept_people(snapshot), column)


def _people(snapshot: Snapshot, columns: Iterable[Column]) -> str:
    """SQL of every customer with these columns, of whom an audience may have those with ``_is_known``; the text after ``from``.

    Consents, suppressions and worth, and each column, are tables in the memory of the version's connection from the first
    question on, in the order of customer_features, so that a question joins nothing: of a million customers it takes some 20
    processor milliseconds, of the files .8 seconds. They are made anew where consents or suppressions are loaded meanwhile.
    """
    with _MAKING:
        people = _kept_people(snapshot)
        tables = [people, *(_kept_column(snapshot, people, column) for column in columns)]
    return " positional join ".join(map(quoted, tables))


def _kept_people(snapshot: Snapshot) -> str:
    place, shop = snapshot.place, snapshot.shop
    files = [*(history_file(place, name) for name in READ_AGAIN), *(place.campaigns / name for name in STATED)]
    states = [file_state(file) for file in files if file.exists()]
    people = f"people_{hashlib.sha256(repr(states).encode()).hexdigest()[:16]}"
    flags = [f"coalesce(rules.{quoted(name)}, false) as {quoted(f'_allowed_{name}')}" for name in shop.channels]
    flags += [f"coalesce(barred.{quoted(name)}, false) as {quoted(f'_suppressed_{name}')}" for name in shop.channels]
    worth = f"left join (select customer_id, expected_spend from {VALUE}) as worth using (customer_id)"
    has_value = snapshot.has(VALUE)
    query = f"""
        select customer_id as _customer_id, _place, {", ".join(flags)},
            known.is_known is true and rules.is_known_later is distinct from true as _is_known,
            {"expected_spend" if has_value else "null::double"} as _spend
        from (select customer_id, row_number() over () as _place from {FEATURES}) as everybody
        left join (select customer_id, true as is_known from {SEGMENTS}) as known using (customer_id)
        left join ({contact_rules_query(place, shop, snapshot.as_of)}) as rules using (customer_id)
        left join ({suppressed_channels_query(place, shop)}) as barred using (customer_id)
        {worth if has_value else ""}
        order by _place
    """
    return _made(snapshot, people, query, [])


def _kept_column(snapshot: Snapshot, people: str, column: Column) -> str:
    name = f"{people}_{column.name}"
    if column.table == FEATURES:
        return _made(snapshot, name, f"select {quoted(column.name)} from {FEATURES}", [])
    relation, bound = audience_relation([column])
    found = f"select {FEATURES}.customer_id, {column.table}.{quoted(column.name)} as value from {relation}"
    joined = f"{people} left join ({found}) as found on found.customer_id = _customer_id"
    return _made(snapshot, name, f"select value as {quoted(column.name)} from {joined} order by _place", bound)


def _made(snapshot: Snapshot, table: str, query: str, values: Sequence[Value]) -> str:
    """The table of the connection's database, made once."""
    made = snapshot.connection.execute("select true from duckdb_tables() where table_name = ?", [table]).fetchone()
    if not made:
        snapshot.connection.execute(f"create table {quoted(table)} as {query}", values or None)
    return table


def _one(snapshot: Snapshot, query: str, values: list[Value]) -> tuple[int, ...]:
    row = snapshot.connection.execute(query, values).fetchone()
    if row is None:
        raise RuntimeError("a query of counts has one row")
    return tuple(row)
