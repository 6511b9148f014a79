"""The audience of a campaign: a filter as text over what is published of customers, run as SQL that holds nothing of the text.

``segment in ('Champions', 'Loyal') and age >= 25 and not (probability_fitness < 0.2)``, or ``everyone``. It becomes a tree of
known columns and values (``audience_text``); its SQL is made of quoted names from the list of columns and of ``?``, to which
the values are bound. What is empty satisfies no comparison, nor the opposite of one: ``not (age < 25)`` leaves out those whose
age is not known. Ask for them with ``age is empty``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pandas as pd

from customer360.campaigns.audience_columns import FEATURES, SCORES, SEGMENTS, VALUE, Column, audience_columns
from customer360.campaigns.audience_text import (
    AudienceError,
    Comparison,
    Empty,
    Everyone,
    Node,
    Not,
    OneOf,
    Several,
    Value,
    parse,
)
from customer360.lake.engine import quoted
from customer360.settings import Shop

__all__ = ["AudienceError", "Filter", "members", "parse_audience"]

PUBLISHED = {name: name for name in (FEATURES, SEGMENTS, VALUE, SCORES)}


@dataclass(frozen=True)
class Filter:
    """A parsed audience."""

    node: Node

    def columns(self) -> list[Column]:
        """Every column that it asks for, once each, in the order in which they stand there."""
        return list(dict.fromkeys(_columns(self.node)))

    def condition(self) -> tuple[str, list[Value]]:
        """SQL of the condition over the published tables by their names, and the values of its ``?`` in order."""
        values: list[Value] = []
        return _sql(self.node, values), values


def parse_audience(text: str, shop: Shop) -> Filter:
    """The filter that ``text`` says. Raises ``AudienceError`` that names the position, what is wrong there and the remedy."""
    return Filter(parse(text, audience_columns(shop)))


def members(
    connection: duckdb.DuckDBPyConnection, text: str, shop: Shop, tables: Mapping[str, str] = PUBLISHED
) -> pd.Index[str]:
    """Ids of the customers of an audience, sorted. ``tables``: where the published tables are, by their published names.

    Raises ``AudienceError`` when the text is no filter, or asks for a table that is not there yet.
    """
    found = parse_audience(text, shop)
    condition, values = found.condition()
    relation, bound = _relation(found.columns(), tables)
    query = f"select {quoted(FEATURES)}.customer_id from {relation} where {condition} order by 1"
    try:
        rows = connection.execute(query, [*bound, *values]).fetchnumpy()["customer_id"]
    except duckdb.CatalogException as error:
        missing = next((name for name in tables if f"{name} does not exist" in str(error)), "a table")
        asked = ", ".join(column.name for column in found.columns() if column.table == missing) or "that it asks for"
        raise AudienceError(
            f"{missing} is not published yet, which has {asked}", "train the models and run a slice, or ask for other columns"
        ) from error
    return pd.Index(rows, dtype="str")


def _relation(columns: list[Column], tables: Mapping[str, str]) -> tuple[str, list[Value]]:
    """The tables that hold these columns, one row a customer, each under its published name."""
    used = {column.table for column in columns}
    parts = [f"{tables[FEATURES]} as {quoted(FEATURES)}"]
    parts += [f"left join {tables[name]} as {quoted(name)} using (customer_id)" for name in (SEGMENTS, VALUE) if name in used]
    values: list[Value] = []
    if SCORES in used:
        wanted = ["max(category_id) filter (is_label) as label"]
        for column in columns:
            if column.category is not None:
                wanted.append(f"max(probability) filter (category_id = ?) as {quoted(column.name)}")
                values.append(column.category)
        wide = f"select customer_id, {', '.join(wanted)} from {tables[SCORES]} group by customer_id"
        parts.append(f"left join ({wide}) as {quoted(SCORES)} using (customer_id)")
    return " ".join(parts), values


def _sql(node: Node, values: list[Value]) -> str:
    match node:
        case Everyone():
            return "true"
        case Several(word, parts):
            return f"({f' {word} '.join(_sql(part, values) for part in parts)})"
        case Not(one):
            return f"(not {_sql(one, values)})"
        case Comparison(column, sign, value):
            values.append(value)
            return f"({_name(column)} {sign} ?)"
        case OneOf(column, several):
            values.extend(several)
            return f"({_name(column)} in ({', '.join('?' * len(several))}))"
        case Empty(column):
            return f"({_name(column)} is null)"


def _columns(node: Node) -> list[Column]:
    match node:
        case Everyone():
            return []
        case Several(_, parts):
            return [column for part in parts for column in _columns(part)]
        case Not(one):
            return _columns(one)
        case Comparison(column=column) | OneOf(column=column) | Empty(column=column):
            return [column]


def _name(column: Column) -> str:
    return f"{quoted(column.table)}.{quoted(column.name)}"
