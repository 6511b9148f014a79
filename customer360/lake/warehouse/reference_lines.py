"""The reference purchases that the shop's totals count, kept in the warehouse so that a load touches only what it changes.

Tables by event slice are written again slice by slice. Which slices a load of ``purchases`` concerns follows from the rows in
force before and after it: new rows, late ones, corrected ones and those that are gone.
"""

from __future__ import annotations

from math import gcd

import duckdb

from customer360.lake.reference.reference_history import history_file
from customer360.settings import Settings

FINEST_MINUTES = 15  # of event slices, see event_slice_minutes of the dbt project


def create_reference_lines(connection: duckdb.DuckDBPyConnection) -> None:
    """``ops.reference_lines``, one row per line of an order, and the fingerprint of the state that it was made from."""
    connection.execute(
        """
        create table if not exists ops.reference_lines (
            event_slice timestamp, order_id varchar, product_id varchar, line_no bigint, quantity double, amount decimal(18, 2)
        );
        create table if not exists ops.reference_lines_state (fingerprint varchar);
        """
    )


def take_reference_lines(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Bring ``ops.reference_lines`` up to ``raw.purchases`` as of ``ops.clock``, and note the event slices that change with it.

    In force are the rows whose validity holds the clock and that were bought before it. Called in the transaction of a plan.
    Where neither the table nor what the clock lets through has changed, three columns of times are read and nothing is written.
    """
    minutes = gcd(settings.shop.slice_minutes, FINEST_MINUTES)
    fingerprint = f"{minutes} {_state(connection, settings)}"
    if connection.execute("from ops.reference_lines_state where fingerprint = ?", [fingerprint]).fetchone():
        return
    connection.execute(
        f"""
        create or replace temp table incoming_lines as
        select time_bucket(interval '{minutes} minutes', purchased_at, timestamp '1970-01-01') as event_slice,
            order_id, product_id, coalesce(line_no, 0) as line_no, quantity, amount
        from raw.purchases, ops.clock
        where valid_from <= as_of and (valid_to is null or valid_to > as_of) and purchased_at < as_of
        order by event_slice, order_id
        """
    )
    before, after = (
        f"(select event_slice, count(*), bit_xor(hash(lines)) from {relation} as lines group by event_slice)"
        for relation in ("ops.reference_lines", "incoming_lines")
    )
    connection.execute(
        f"""
        create or replace temp table changed_event_slices as
        select distinct event_slice from (({before} except {after}) union all ({after} except {before}))
        """
    )
    connection.execute("insert into ops.touched_event_slices from changed_event_slices")
    # The events of an order whose row is gone count again. The orders of rows that came are found by their event slices.
    connection.execute(
        "insert into ops.touched_orders "
        "select distinct order_id from ops.reference_lines semi join changed_event_slices using (event_slice)"
    )
    connection.execute("delete from ops.reference_lines; insert into ops.reference_lines from incoming_lines")
    connection.execute("delete from ops.reference_lines_state; insert into ops.reference_lines_state values (?)", [fingerprint])
    connection.execute("drop table incoming_lines")


def _state(connection: duckdb.DuckDBPyConnection, settings: Settings) -> str:
    """What tells two states apart: the history's file, and how many rows began, ended or were bought before the clock."""
    file = history_file(settings.place, "purchases")
    if not file.exists():
        return "none"
    counts = connection.execute(
        """
        select count(*) filter (valid_from <= as_of), count(*) filter (valid_to <= as_of),
            count(*) filter (purchased_at < as_of)
        from raw.purchases, ops.clock
        """
    ).fetchone()
    return f"{file.stat().st_mtime_ns}.{file.stat().st_size}.{counts}"
