with

touched as (

    select event_slice
    from {{ source('ops', 'touched_event_slices') }}

    union

    select event_slice
    from {{ ref('stg_clicks') }}

),

-- a late source reaches the visits of the 30 minutes after it
touched_visits as (

    {{ event_slices_around('touched', after=visit_gap_minutes() | int) }}

),

lines as (

    select
        event_slice,
        order_id

    from {{ ref('int_purchases_by_slice') }}

    union all

    select
        event_slice,
        order_id

    from {{ source('ops', 'reference_lines') }}

),

-- what an order is in one event slice follows from its lines in all others: which of two events of a line counts, whether a
-- reference row replaces it, and which visit the order counts for
touched_orders as (

    select
        order_id,
        max(case when event_slice in (select event_slice from touched) then 1 else 0 end) as has_touched_line

    from lines
    where event_slice in (select event_slice from touched_visits)
    group by order_id

    union all

    select
        order_id,
        1 as has_touched_line

    from {{ source('ops', 'touched_orders') }}

)

select event_slice
from touched

union

select lines.event_slice
from lines
inner join touched_orders on lines.order_id = touched_orders.order_id
where touched_orders.has_touched_line = 1
    or lines.event_slice not in (select event_slice from touched_visits)
