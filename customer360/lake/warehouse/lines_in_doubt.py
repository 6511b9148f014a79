"""Purchase lines without a number that may be another one sent again: alike in order, product and amount. All are counted."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import duckdb

from customer360.lake.reference.reference_rows import is_unnumbered


@dataclass(frozen=True)
class LinesInDoubt:
    """How many lines are like another one of their order, and their amounts in all, returns as positive numbers.

    ``amount`` is in the shop's currency: what revenue would be too high, or returns too many, if all of them were repeats.
    """

    lines: int
    amount: Decimal


def lines_in_doubt(connection: duckdb.DuckDBPyConnection) -> LinesInDoubt:
    """Of all purchase events, whoever made them, and the reference rows in force; a row without a number replaces events."""
    lines, amount = connection.execute(
        f"""
        with reference_lines as (
            select order_id, product_id, line_no, amount from raw.purchases
            where valid_to is null and {is_unnumbered("line_no")}
        ),
        events as (
            select distinct event_key, order_id, product_id, unnumbered_amount as amount
            from intermediate.int_purchases_by_slice as events
            where unnumbered_amount is not null and not exists (
                select 1 from reference_lines as lines
                where lines.order_id = events.order_id and lines.product_id = events.product_id
            )
        ),
        alike as (
            select amount, count(*) - 1 as copies
            from (
                select order_id, product_id, amount from events
                union all
                select order_id, product_id, amount from reference_lines
            )
            group by order_id, product_id, amount having count(*) > 1
        )
        select coalesce(sum(copies), 0)::bigint, coalesce(sum(copies * abs(amount)), 0)::decimal(18, 2) from alike
        """
    ).fetchone() or (0, Decimal(0))
    return LinesInDoubt(lines, amount)
