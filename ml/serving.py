"""Scores and reasons of every customer in the warehouse, a batch at a time: memory does not follow the number of customers."""

from __future__ import annotations

import duckdb

from customer360.lake.frames import append_rows, replace_table
from customer360.settings import Shop
from ml.model_store import LoadedModel
from ml.reason_refresh import KEPT_SCHEMA, refresh_reasons
from ml.scoring import SCORE_SCHEMA, score
from ml.serving_tables import Tables

# Vectors of 2,048 rows that are scored at a time: 49,152 customers, whose 110 features take 40 MB.
BATCH = 24


def serve(connection: duckdb.DuckDBPyConnection, loaded: LoadedModel | None, shop: Shop, tables: Tables) -> int:
    """Replace the scores of everyone and refresh the reasons that are due, in one transaction; returns the number of scores.

    Both tables are typed and empty before the first champion.
    """
    reading = connection.cursor()  # sees what was committed before, and can be read while the scores are written
    connection.begin()
    try:
        replace_table(connection, tables.scores, SCORE_SCHEMA.empty_table())
        if loaded is None:
            replace_table(connection, tables.reasons, KEPT_SCHEMA.empty_table())
        else:
            _score_everyone(connection, reading, loaded, tables)
            refresh_reasons(connection, tables, loaded, shop)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    finally:
        reading.close()
    (rows,) = connection.execute(f"select count(*) from {tables.scores}").fetchone() or (0,)
    return int(rows)


def _score_everyone(
    connection: duckdb.DuckDBPyConnection, reading: duckdb.DuckDBPyConnection, loaded: LoadedModel, tables: Tables
) -> None:
    reading.execute(f"from {tables.features} order by customer_id")
    while len(batch := reading.fetch_df_chunk(BATCH)):
        append_rows(connection, tables.scores, score(batch, loaded))


def count_whole(connection: duckdb.DuckDBPyConnection, classes: int, tables: Tables) -> tuple[int, int]:
    """Customers with features, and those whose scores are whole: every one of ``classes`` once, probabilities that sum to 1."""
    (customers,) = connection.execute(f"select count(*) from {tables.features}").fetchone() or (0,)
    (whole,) = connection.execute(
        f"""
        select count(*) from (
            select customer_id from {tables.scores} group by customer_id
            having count(*) = {classes} and count(distinct category_id) = {classes} and abs(sum(probability) - 1) < 1e-6
        )
        """
    ).fetchone() or (0,)
    return int(customers), int(whole)
