"""Scores, value and reasons of every customer in the warehouse, a batch at a time, so that memory stays bounded."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import duckdb

from customer360.lake.engine import literal, row_count, transaction
from customer360.lake.warehouse.frames import append_rows, replace_table
from customer360.settings import NONE, Shop
from ml.fitting.class_model import Batch
from ml.serving.customer_value import VALUE_SCHEMA, Serving, customer_value
from ml.serving.reason_refresh import KEPT_SCHEMA, refresh_reasons
from ml.serving.scoring import SCORE_SCHEMA, served_matrix, to_table
from ml.serving.serving_tables import Tables

# Vectors of 2,048 rows that are scored at a time: 49,152 customers, whose 110 features take 40 MB.
BATCH = 24


@dataclass(frozen=True)
class Served:
    """How many rows there are now, and what the value adds up to (None where there is none)."""

    scores: int
    customers: int
    mean_purchase_probability: float | None
    total_expected_spend: float | None


def serve(connection: duckdb.DuckDBPyConnection, serving: Serving, shop: Shop, tables: Tables) -> Served:
    """Replace the scores and the value of everyone and refresh the reasons that are due, in one transaction.

    All three tables are typed before the first champion. Scores and reasons are empty then; everyone has a row of value, with
    nulls where a model is missing.
    """
    with closing(connection.cursor()) as reading, transaction(connection):  # ``reading`` sees what was committed before
        replace_table(connection, tables.scores, SCORE_SCHEMA.empty_table())
        replace_table(connection, tables.value, VALUE_SCHEMA.empty_table())
        _score_everyone(connection, reading, serving, tables)
        if serving.affinity is None:
            replace_table(connection, tables.reasons, KEPT_SCHEMA.empty_table())
        else:
            refresh_reasons(connection, tables, serving.affinity, shop)
    scores = row_count(connection, tables.scores)
    value = connection.execute(
        f"select count(*), avg(purchase_probability), sum(expected_spend) from {tables.value}"
    ).fetchone()
    return Served(int(scores), *(value or (0, None, None)))


def _score_everyone(
    connection: duckdb.DuckDBPyConnection, reading: duckdb.DuckDBPyConnection, serving: Serving, tables: Tables
) -> None:
    """Features are made ready once for each batch, whichever models read them."""
    reading.execute(f"from {tables.features} order by customer_id")
    while len(batch := reading.fetch_df_chunk(BATCH)):
        rows = Batch(served_matrix(batch, serving.features))
        affinity = None
        if serving.affinity:
            affinity = serving.affinity.model.probabilities(rows)
            append_rows(connection, tables.scores, to_table(batch, serving.affinity, affinity))
        append_rows(connection, tables.value, customer_value(batch, rows, serving, affinity))


def count_consistent(connection: duckdb.DuckDBPyConnection, tables: Tables) -> tuple[int, int]:
    """Customers with features, and those with one row of value that is consistent.

    Probabilities lie in [0, 1] and expected spend is no less than 0, where they are not null; and the purchase probability is
    1 less that of "none" in the scores, where there are scores.
    """
    customers = row_count(connection, tables.features)
    (consistent,) = connection.execute(
        f"""
        select count(*) from (
            select value.customer_id from {tables.value} as value
            inner join {tables.features} as features using (customer_id)
            left join (select customer_id, probability from {tables.scores} where category_id = {literal(NONE)}) as none
                using (customer_id)
            group by value.customer_id
            having count(*) = 1 and bool_and(
                coalesce(purchase_probability between 0 and 1, true) and coalesce(churn_probability between 0 and 1, true)
                and coalesce(expected_spend >= 0 and isfinite(expected_spend), true)
                and purchase_probability is not distinct from 1 - none.probability
            )
        )
        """
    ).fetchone() or (0,)
    return int(customers), int(consistent)


def count_complete(connection: duckdb.DuckDBPyConnection, classes: int, tables: Tables) -> tuple[int, int]:
    """Customers with features, and those with complete scores: every one of ``classes`` once, probabilities that sum to 1."""
    customers = row_count(connection, tables.features)
    (complete,) = connection.execute(
        f"""
        select count(*) from (
            select customer_id from {tables.scores} group by customer_id
            having count(*) = {classes} and count(distinct category_id) = {classes} and abs(sum(probability) - 1) < 1e-6
        )
        """
    ).fetchone() or (0,)
    return int(customers), int(complete)
