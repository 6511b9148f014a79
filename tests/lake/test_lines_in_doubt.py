"""Lines without a number that are alike: how many there are, and how much money stands on them."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import pytest

from customer360.lake.reference.reference_rows import UNNUMBERED
from customer360.lake.warehouse.lines_in_doubt import LinesInDoubt, lines_in_doubt

Events = list[tuple[int, str, str | None, float | None]]  # event_key, order, product, amount where the line has no number
Rows = list[tuple[str, str, int | None, float, bool]]  # order, product, line_no, amount, whether it is in force


@pytest.mark.parametrize(
    ("events", "rows", "lines", "amount"),
    [
        ([(1, "o", "p", 10), (2, "o", "p", 10), (3, "o", "p", 10), (4, "o", "p", 12)], [], 2, "20.00"),
        ([(1, "o", "p", 10), (1, "o", "p", 10), (2, "o", "q", 10), (3, "n", "p", 10)], [], 0, "0.00"),  # one event twice
        ([(1, "o", "p", None), (2, "o", "p", None)], [], 0, "0.00"),  # with numbers
        ([(1, "o", None, -4), (2, "o", None, -4)], [], 1, "4.00"),  # returns, without a product
        ([], [("o", "p", None, 7.5, True), ("o", "p", UNNUMBERED - 1, 7.5, True), ("o", "p", 1, 7.5, True)], 1, "7.50"),
        ([], [("o", "p", None, 7.5, True), ("o", "p", UNNUMBERED - 1, 7.5, False)], 0, "0.00"),
        ([(1, "o", "p", 10), (2, "o", "p", 10)], [("o", "p", None, 20, True)], 0, "0.00"),  # the row replaces the events
        ([(1, "o", "p", 10), (2, "o", "p", 10)], [("o", "p", 1, 20, True)], 1, "10.00"),
    ],
)
def test_lines_in_doubt_are_those_without_a_number_that_are_like_another_one(
    events: Events, rows: Rows, lines: int, amount: str
) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            """
            create schema raw; create schema intermediate;
            create table intermediate.int_purchases_by_slice (
                event_key bigint, order_id varchar, product_id varchar, unnumbered_amount decimal(18, 2)
            );
            create table raw.purchases (
                order_id varchar, product_id varchar, line_no bigint, amount decimal(18, 2), valid_to timestamp
            )
            """
        )
        for event in events:
            connection.execute("insert into intermediate.int_purchases_by_slice values (?, ?, ?, ?)", event)
        for *row, is_in_force in rows:
            end = None if is_in_force else "2026-05-01"
            connection.execute("insert into raw.purchases values (?, ?, ?, ?, ?)", [*row, end])
        assert lines_in_doubt(connection) == LinesInDoubt(lines, Decimal(amount))
