"""``current_offers``: the decision about every known customer as of the last slice, in the warehouse."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import fields
from datetime import datetime

import duckdb
import pyarrow as pa

from customer360.campaigns.ledger import known_salt
from customer360.lake.engine import quoted, transaction
from customer360.lake.publishing.tables import TABLES
from customer360.lake.slices import naive
from customer360.lake.warehouse.frames import append_rows
from customer360.offers.conditions import SEPARATOR
from customer360.offers.decisions import Decision, Policy, decide, draw_key
from customer360.offers.inputs import BATCH, read_book, read_customers
from customer360.offers.offers import Book
from customer360.settings import Settings

CURRENT = TABLES["current_offers"]
TABLE = "predictions.current_offers"
COLUMNS = [field.name for field in fields(Decision) if field.name in CURRENT.duckdb_types]


def decide_everyone(
    connection: duckdb.DuckDBPyConnection, settings: Settings, policy: Policy, as_of: datetime
) -> tuple[Book, Counter[tuple[str, str]]]:
    """Replace ``predictions.current_offers`` in one transaction; returns the offers, and customers by offer and basis.

    ``as_of``: the end of the last slice (aware), the moment of the decisions.
    """
    shop = settings.shop
    salt = known_salt(settings.place, shop.campaigns.global_holdout_salt)
    key, counts = draw_key(salt), Counter[tuple[str, str]]()
    with closing(connection.cursor()) as reading, transaction(connection):  # ``reading`` sees what was committed before
        columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in CURRENT.duckdb_types.items())
        connection.execute(f"create or replace table {TABLE} ({columns})")
        book = read_book(reading, shop, as_of.astimezone(shop.zone).date())
        decisions: list[Decision] = []
        for customer in read_customers(reading, settings, book, salt) if book.default else ():
            decision = decide(book, customer, policy, key, as_of)
            if decision is not None:
                decisions.append(decision)
                counts[decision.offer_id, decision.basis] += 1
            if len(decisions) == BATCH:
                _append(connection, decisions, as_of)
                decisions = []
        _append(connection, decisions, as_of)
    return book, counts


def _append(connection: duckdb.DuckDBPyConnection, decisions: list[Decision], as_of: datetime) -> None:
    columns = {name: [getattr(decision, name) for decision in decisions] for name in COLUMNS}
    columns["candidates"] = [SEPARATOR.join(candidates) for candidates in columns["candidates"]]
    columns["as_of"] = [naive(as_of)] * len(decisions)
    append_rows(connection, TABLE, pa.table(columns))
