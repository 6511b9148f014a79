"""A place whose history has the reference density, 201,000 events a slice, made by SQL directly at slice grain.

6,000 customers, each seen in every slice: one product of each of the five categories with 4.7 views a slice in the mean, and 10
events without a product, three of them offers. Half of the customers are known by their visitor's id alone on every second day.
Two rows in a hundred happened in the slice before the one in which they arrived. Purchases stay the simulated ones, and
``ops.click_ids`` holds the ids of the last ``ID_DAYS`` days, since a slice reads those of three. What counts by event slice
stays as it was simulated: a slice reads and writes only the event slices that it touches.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from customer360.lake.slices import naive
from customer360.lake.warehouse.warehouse import open_warehouse
from customer360.settings import Settings

CUSTOMERS = 6_000
EVENTS_PER_SLICE = 201_000
ID_DAYS = 4
ACTIVITY, OFFERS = "intermediate.int_activity_by_slice", "intermediate.int_offer_activity_by_slice"
LINKS, IDS = "intermediate.int_visitor_links_by_slice", "ops.click_ids"


@dataclass(frozen=True)
class Density:
    """What was made: events before aggregation and rows after it."""

    events: int
    activity_rows: int
    offer_rows: int
    link_rows: int


def densify(settings: Settings, days: int, customers: int = CUSTOMERS) -> Density:
    """Replace the slice-grain activity of a loaded history by ``days`` days of dense activity of its customers."""
    width = settings.shop.slice_minutes
    per_day = 24 * 60 // width
    with open_warehouse(settings.place) as connection:
        _who(connection, customers)
        for table in (ACTIVITY, OFFERS, LINKS, IDS):
            connection.execute(f"delete from {table}")
        for day in range(days, 0, -1):
            start = f"timestamp '{naive(settings.shop.slices_start)}' - interval '{day}' day"
            connection.execute(
                f"create or replace temp table slices as select {start} + number * interval '{width}' minute as slice, "
                f"{day} as day from range({per_day}) as numbers (number)"
            )
            _write_day(connection, width)
            if day <= ID_DAYS:
                connection.execute(
                    f"insert into {IDS} select slice, cast(hash(slice, number) >> 1 as bigint) "
                    f"from slices cross join range({EVENTS_PER_SLICE * customers // CUSTOMERS}) as numbers (number)"
                )
        connection.execute("checkpoint")
        events, rows = connection.execute(f"select sum(events), count(*) from {ACTIVITY}").fetchone() or (0, 0)
        (offers,) = connection.execute(f"select count(*) from {OFFERS}").fetchone() or (0,)
        (links,) = connection.execute(f"select count(*) from {LINKS}").fetchone() or (0,)
    return Density(int(events), int(rows), int(offers), int(links))


def _who(connection: duckdb.DuckDBPyConnection, customers: int) -> None:
    """``who``: each customer with a visitor id of its own and a product of each category, and none (page views, offers)."""
    connection.execute(
        f"""
        create or replace temp table people as
        select customer_id, 'v-' || customer_id as visitor_id, row_number() over (order by customer_id) as number
        from raw.customers where valid_to is null order by customer_id limit {customers};
        create or replace temp table who as
        select people.*, product.product_id, 'o' || (1 + people.number % 6) as offer_id
        from people
        cross join (select distinct category_id from raw.products) as categories
        left join lateral (
            select product_id from raw.products
            where products.category_id = categories.category_id
            order by hash(product_id, people.number) limit 1
        ) as product on true
        union all
        select people.*, null, 'o' || (1 + people.number % 6) from people
        order by number, product_id
        """
    )


def _write_day(connection: duckdb.DuckDBPyConnection, width: int) -> None:
    connection.execute(
        f"""
        create or replace temp table dense as
        select slice, slice - interval '{width}' minute * cast(chance % 50 = 0 as integer) as event_slice,
            case when number % 2 = 1 or day % 2 = 1 then customer_id end as customer_id, visitor_id,
            product_id, offer_id, chance
        from (select *, hash(slice, number, product_id) as chance from slices cross join who);
        insert into {ACTIVITY}
            (slice, event_slice, customer_id, visitor_id, product_id, category_id, events, page_views, views, dwell_seconds,
            carts, removals, checkouts, offers_shown, offers_clicked, first_event_at, last_event_at)
        select slice, event_slice, customer_id, visitor_id, product_id, null,
            case when product_id is null then 10 else 4 + cast(chance // 50 % 10 < 7 as integer) end as events,
            case when product_id is null then 7 else 0 end,
            case when product_id is null then 0 else events end,
            case when product_id is null then 0 else cast(chance % 3000 as decimal(18, 6)) / 10 end,
            0, 0, 0, case when product_id is null then 3 else 0 end, 0,
            event_slice + to_milliseconds(cast(chance % 400000 as bigint)),
            event_slice + to_milliseconds(cast(450000 + chance % 450000 as bigint))
        from dense;
        insert into {OFFERS} (slice, event_slice, customer_id, visitor_id, offer_id, shown, clicked)
        select slice, event_slice, customer_id, visitor_id, offer_id, 3, 0 from dense where product_id is null;
        insert into {LINKS} (slice, visitor_id, customer_id)
        select slice, visitor_id, customer_id from dense where product_id is null and customer_id is not null
        """
    )
