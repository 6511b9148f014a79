"""The engine work of a slice and nothing else: read the landed lines with DuckDB's own JSON reader and aggregate them."""

from __future__ import annotations

import sys

import duckdb


def main() -> None:
    """Aggregate the files below the folder given as the argument."""
    with duckdb.connect() as connection:
        connection.execute(
            f"""
            create table activity as
            select customer_id, visitor_id, product_id, count(*) as events,
                count(*) filter (where event_name = 'view_item') as views, sum(dwell_seconds) as dwell_seconds,
                count(*) filter (where event_name = 'add_to_cart') as carts, max(event_at) as last_event_at
            from read_json('{sys.argv[1]}/**/*.jsonl*', format = 'newline_delimited', union_by_name = true)
            group by all
            """
        )


if __name__ == "__main__":
    main()
