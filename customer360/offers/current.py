"""``current_offers``: the decision about every known customer as of the last slice, in the warehouse.

Where the shop is served, ``offer_inputs`` beside it holds what each decision was made of: a service decides on the same.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

import duckdb
import pyarrow as pa

from customer360.campaigns.ledger import known_salt
from customer360.lake.engine import literal, quoted, registered, transaction
from customer360.lake.publishing.tables import TABLES
from customer360.lake.reference.customer_queries import personalised_query
from customer360.lake.slices import naive
from customer360.lake.warehouse.frames import append_rows
from customer360.offers.conditions import SEPARATOR
from customer360.offers.customer import Customer, encode
from customer360.offers.decisions import (
    HOUR,
    Decision,
    Policy,
    PriorityList,
    decide,
    draw_key,
    uniform,
    version_of,
    with_listed,
)
from customer360.offers.inputs import BATCH, Plans, customer_digests, customer_rows, customers_of, read_book
from customer360.offers.offers import Book
from customer360.settings import Settings

CURRENT, INPUTS, DIGESTS = "current_offers", "offer_inputs", "offer_digests"
TABLE, REMEMBERED = f"predictions.{CURRENT}", f"predictions.{DIGESTS}"
COLUMNS = [name for name in Decision.__struct_fields__ if name in TABLES[CURRENT].duckdb_types]


def decide_everyone(
    connection: duckdb.DuckDBPyConnection, settings: Settings, policy: Policy, as_of: datetime
) -> tuple[Book, Counter[tuple[str, str]]]:
    """Bring both tables up in one transaction; returns the offers, and customers by offer and basis.

    Customers are decided anew where what is known of them has changed, and where another draw is due; all of them where
    anything else has changed that decides. The tables are those that deciding everyone makes.

    ``as_of``: the end of the last slice (aware), the moment of the decisions.
    """
    shop = settings.shop
    salt = known_salt(settings.place, shop.campaigns.global_holdout_salt)
    key = draw_key(salt)
    with closing(connection.cursor()) as reading, transaction(connection):  # ``reading`` sees what was committed before
        book = read_book(reading, shop, as_of.astimezone(shop.zone).date())
        plans = Plans(reading, settings, book, salt)
        reading.execute(f"create temp table known as {_digests(settings, book)}")
        basis = _Basis(_epoch(settings, book, policy, plans), Draws(book, policy, key, as_of))
        everyone = not _find_due(reading, basis)
        _make_room(connection, reading, basis, everyone=everyone)
        among = "" if everyone else "semi join due using (customer_id)"
        refusing = _refusing(reading, settings)
        cursor = reading.execute(f"{customer_rows(settings.place, book, among)} order by customer_id")
        customers = _as_served(customers_of(cursor, plans), refusing) if book.default else iter(())
        customers = (with_listed(book, customer) for customer in customers) if shop.serving else customers
        while batch := list(islice(customers, BATCH)):
            _append(connection, [found for each in batch if (found := decide(book, each, policy, key, as_of))], as_of)
            if shop.serving:
                _append_inputs(connection, batch, book.basis)
        counted = connection.execute(f"select offer_id, basis, count(*) from {TABLE} group by all").fetchall()
        counts = Counter({(offer, basis): int(customers) for offer, basis, customers in counted})
        reading.execute("drop table known; drop table due")
    return book, counts


def _digests(settings: Settings, book: Book) -> str:
    """SQL of (customer_id, digest) of every customer: equal digests mean that the same is known and may be used."""
    digests = customer_digests(settings.place, book)
    if not settings.shop.serving:
        return digests
    consented = personalised_query(settings.place, settings.shop)
    return f"""
        select customer_id, hash((digest, consented.customer_id is not null)) as digest
        from ({digests}) as digests left join ({consented}) as consented using (customer_id)
    """


def _refusing(reading: duckdb.DuckDBPyConnection, settings: Settings) -> frozenset[str]:
    """The customers to be decided on who do not consent to personalisation; nobody where the shop is not served."""
    if not settings.shop.serving:
        return frozenset()
    consented = personalised_query(settings.place, settings.shop)
    rows = reading.execute(f"select customer_id from due anti join ({consented}) as consented using (customer_id)").fetchall()
    return frozenset(customer for (customer,) in rows)


def _as_served(customers: Iterator[Customer], refusing: Container[str]) -> Iterator[Customer]:
    """The customers as a service may see them: of those who refuse, their holdouts alone."""
    for customer in customers:
        name = customer.customer_id
        is_bare = name in refusing
        yield Customer(name, is_held_out=customer.is_held_out, withheld=customer.withheld) if is_bare else customer


@dataclass(frozen=True)
class Draws:
    """What a draw depends on beside the customer."""

    book: Book
    policy: Policy
    key: bytes
    at: datetime

    @property
    def hour(self) -> int:
        """Draws of one hour are the same."""
        return int(self.at.timestamp()) // HOUR

    def is_new(self, customer_id: str) -> bool:
        """Whether a customer whose draw did not explore before may see another offer by the draw of this hour."""
        if not isinstance(self.policy, PriorityList):
            return True
        return uniform(self.key, customer_id, self.at, version_of(self.policy, self.book)) < self.book.rules.exploration_share


@dataclass(frozen=True)
class _Basis:
    """What all decisions rest on: ``epoch``, a hash of all but the customers and the hour, and the draws of the hour."""

    epoch: str
    draws: Draws


def _epoch(settings: Settings, book: Book, policy: Policy, plans: Plans) -> str:
    """All that decides beside the customers and the hour, and the code that does, as a hash."""
    code = [file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py"))]
    offers = [offer.offer_id for offer in book.available]
    parts = (version_of(policy, book), book.names, book.day, offers, settings.shop.serving, plans.content, code)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _find_due(reading: duckdb.DuckDBPyConnection, basis: _Basis) -> bool:
    """The temp table ``due``: customers to be decided anew. Returns False where these are all, since something else changed."""
    reading.execute("create temp table due (customer_id varchar)")
    tables = "select count(*) from duckdb_tables() where schema_name = 'predictions' and table_name in (?, ?, ?)"
    is_there = reading.execute(tables, [CURRENT, INPUTS, DIGESTS]).fetchone() == (3,)
    past = reading.execute(f"select epoch, hour from {REMEMBERED} limit 1").fetchone() if is_there else None
    if past is None or past[0] != basis.epoch:
        reading.execute("insert into due select customer_id from known")
        return False
    reading.execute(
        f"insert into due select customer_id from known left join {REMEMBERED} as past using (customer_id) "
        "where past.digest is distinct from known.digest"
    )
    if past[1] != basis.draws.hour:  # who explored until now, and who might see another offer by the new draw
        others = reading.execute("select customer_id from known anti join due using (customer_id)").fetchall()
        drawn = [customer for (customer,) in others if basis.draws.is_new(customer)]
        reading.execute("create temp table drawn as select unnest(?::varchar[]) as customer_id", [drawn])
        reading.execute(f"insert into drawn select customer_id from {TABLE} where basis = 'exploration'")
        reading.execute("insert into due select distinct customer_id from drawn anti join due using (customer_id)")
        reading.execute("drop table drawn")
    return True


def _make_room(
    connection: duckdb.DuckDBPyConnection, reading: duckdb.DuckDBPyConnection, basis: _Basis, *, everyone: bool
) -> None:
    """Take out the rows of those who are decided anew or are not known any more, and remember what all rest on."""
    for name in (CURRENT, INPUTS):
        columns = ", ".join(f"{quoted(column)} {kind}" for column, kind in TABLES[name].duckdb_types.items())
        connection.execute(f"create {'or replace table' if everyone else 'table if not exists'} predictions.{name} ({columns})")
    if not everyone:
        kept = reading.execute("select customer_id from known anti join due using (customer_id)").to_arrow_table()
        with registered(connection, "kept", kept):
            for name in (CURRENT, INPUTS):
                connection.execute(f"delete from predictions.{name} where customer_id not in (select customer_id from kept)")
        connection.execute(f"update {TABLE} set as_of = ?", [naive(basis.draws.at)])
    columns = "customer_id varchar, digest ubigint, epoch varchar, hour bigint"
    connection.execute(f"create or replace table {REMEMBERED} ({columns})")
    marks = f"{literal(basis.epoch)} as epoch, {basis.draws.hour} as hour"
    append_rows(connection, REMEMBERED, reading.execute(f"select customer_id, digest, {marks} from known").to_arrow_table())


def _append_inputs(connection: duckdb.DuckDBPyConnection, customers: list[Customer], basis: str) -> None:
    columns = {"customer_id": [c.customer_id for c in customers], "inputs": [encode(c).decode() for c in customers]}
    append_rows(connection, f"predictions.{INPUTS}", pa.table({**columns, "basis": [basis] * len(customers)}))


def _append(connection: duckdb.DuckDBPyConnection, decisions: list[Decision], as_of: datetime) -> None:
    columns = {name: [getattr(decision, name) for decision in decisions] for name in COLUMNS}
    columns["candidates"] = [SEPARATOR.join(candidates) for candidates in columns["candidates"]]
    columns["as_of"] = [naive(as_of)] * len(decisions)
    append_rows(connection, f"predictions.{CURRENT}", pa.table(columns))
