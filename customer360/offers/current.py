"""``current_offers``: the decision about every known customer as of the last slice, in the warehouse.

Where the shop is served, ``offer_inputs`` beside it holds what each decision was made of: a service decides on the same.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import fields
from datetime import datetime
from itertools import islice

import duckdb
import pyarrow as pa

from customer360.campaigns.ledger import known_salt
from customer360.lake.engine import quoted, transaction
from customer360.lake.publishing.tables import TABLES
from customer360.lake.slices import naive
from customer360.lake.warehouse.frames import append_rows
from customer360.offers.conditions import SEPARATOR
from customer360.offers.customer import Customer, encode
from customer360.offers.decisions import Decision, Policy, decide, draw_key
from customer360.offers.inputs import BATCH, read_book, read_customers
from customer360.offers.offers import Book
from customer360.settings import Settings

CURRENT, INPUTS = "current_offers", "offer_inputs"
COLUMNS = [field.name for field in fields(Decision) if field.name in TABLES[CURRENT].duckdb_types]


def decide_everyone(
    connection: duckdb.DuckDBPyConnection, settings: Settings, policy: Policy, as_of: datetime
) -> tuple[Book, Counter[tuple[str, str]]]:
    """Replace both tables in one transaction; returns the offers, and customers by offer and basis.

    ``as_of``: the end of the last slice (aware), the moment of the decisions.
    """
    shop = settings.shop
    salt = known_salt(settings.place, shop.campaigns.global_holdout_salt)
    key, counts = draw_key(salt), Counter[tuple[str, str]]()
    with closing(connection.cursor()) as reading, transaction(connection):  # ``reading`` sees what was committed before
        for name in (CURRENT, INPUTS):
            columns = ", ".join(f"{quoted(column)} {kind}" for column, kind in TABLES[name].duckdb_types.items())
            connection.execute(f"create or replace table predictions.{name} ({columns})")
        book = read_book(reading, shop, as_of.astimezone(shop.zone).date())
        customers = read_customers(reading, settings, book, salt) if book.default else iter(())
        while batch := list(islice(customers, BATCH)):
            decisions = [found for customer in batch if (found := decide(book, customer, policy, key, as_of))]
            counts.update((decision.offer_id, decision.basis) for decision in decisions)
            _append(connection, decisions, as_of)
            if shop.serving:
                _append_inputs(connection, batch)
    return book, counts


def _append_inputs(connection: duckdb.DuckDBPyConnection, customers: list[Customer]) -> None:
    columns = {"customer_id": [c.customer_id for c in customers], "inputs": [encode(c).decode() for c in customers]}
    append_rows(connection, f"predictions.{INPUTS}", pa.table(columns))


def _append(connection: duckdb.DuckDBPyConnection, decisions: list[Decision], as_of: datetime) -> None:
    columns = {name: [getattr(decision, name) for decision in decisions] for name in COLUMNS}
    columns["candidates"] = [SEPARATOR.join(candidates) for candidates in columns["candidates"]]
    columns["as_of"] = [naive(as_of)] * len(decisions)
    append_rows(connection, f"predictions.{CURRENT}", pa.table(columns))
