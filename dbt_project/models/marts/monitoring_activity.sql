{{ config(tags=['daily']) }}
{%- set end_of_time = "cast('9999-12-31 00:00:00' as timestamp)" %}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}

with

customers as (

    select customer_id
    from {{ ref('monitoring_customers') }}

),

-- A visitor belongs to its first customer, from the slice that linked them until a slice links it to a second one.
visitor_links as (

    select
        visitor_id,
        customer_id,
        linked_slice,
        lead(linked_slice) over (
            partition by visitor_id
            order by linked_slice asc nulls last, customer_id asc nulls last
        ) as second_slice,
        row_number() over (
            partition by visitor_id
            order by linked_slice asc nulls last, customer_id asc nulls last
        ) as place

    from (
        select
            visitor_id,
            customer_id,
            min(slice) as linked_slice

        from {{ ref('int_visitor_links_by_slice') }}
        where slice < {{ as_of }}
        group by visitor_id, customer_id
    ) as links

),

visitor_customers as (

    select
        visitor_links.visitor_id,
        visitor_links.customer_id,
        visitor_links.linked_slice,
        -- no null, and no `or` in the joins below: DuckDB 1.5 then compares every row with every other
        coalesce(visitor_links.second_slice, {{ end_of_time }}) as second_slice

    from visitor_links
    inner join customers on visitor_links.customer_id = customers.customer_id
    where visitor_links.place = 1

),

event_lines as (

    {{ first_event_of_each_line(ref('int_purchases_by_slice'), 'slice < ' ~ as_of) }}

),

lines as (

    select
        slice,
        purchased_at,
        customer_id,
        visitor_id,
        product_id,
        category_id,
        order_id,
        order_id as event_order_id,
        line_no,
        amount,
        quantity,
        cast(null as timestamp) as valid_from,
        cast(null as timestamp) as valid_to

    from event_lines

    union all

    select
        cast(null as timestamp) as slice,
        purchased_at,
        customer_id,
        cast(null as string) as visitor_id,
        product_id,
        category_id,
        order_id,
        cast(null as string) as event_order_id,
        line_no,
        amount,
        quantity,
        valid_from,
        valid_to

    from {{ ref('stg_purchases') }}

),

happenings as (

    select
        slice,
        event_slice as happened_at,
        customer_id,
        visitor_id,
        product_id,
        category_id,
        cast(null as string) as order_id,
        cast(null as string) as event_order_id,
        cast(null as bigint) as line_no,
        views,
        dwell_seconds,
        carts,
        cast(0 as bigint) as offers_shown,
        cast(0 as bigint) as offers_clicked,
        cast(0 as decimal(18, 2)) as amount,
        cast(null as timestamp) as valid_from,
        cast(null as timestamp) as valid_to

    from {{ ref('int_activity_by_slice') }}
    where views > 0 or carts > 0

    union all

    select
        slice,
        event_slice as happened_at,
        customer_id,
        visitor_id,
        cast(null as string) as product_id,
        cast(null as string) as category_id,
        cast(null as string) as order_id,
        cast(null as string) as event_order_id,
        cast(null as bigint) as line_no,
        cast(0 as bigint) as views,
        cast(0 as decimal(28, 6)) as dwell_seconds,
        cast(0 as bigint) as carts,
        shown as offers_shown,
        clicked as offers_clicked,
        cast(0 as decimal(18, 2)) as amount,
        cast(null as timestamp) as valid_from,
        cast(null as timestamp) as valid_to

    from {{ ref('int_offer_activity_by_slice') }}

    union all

    select
        slice,
        purchased_at as happened_at,
        customer_id,
        visitor_id,
        product_id,
        category_id,
        case when {{ is_purchase_line() }} then order_id end as order_id,
        event_order_id,
        line_no,
        cast(0 as bigint) as views,
        cast(0 as decimal(28, 6)) as dwell_seconds,
        cast(0 as bigint) as carts,
        cast(0 as bigint) as offers_shown,
        cast(0 as bigint) as offers_clicked,
        amount,
        valid_from,
        valid_to

    from lines

),

-- Day 0 is [as_of - 24 h, as_of), day 1 the 24 hours before it. A day includes its start.
by_day as (

    select
        *,
        cast(ceil({{ seconds_between('happened_at', as_of) }} / 86400) as bigint) - 1 as day_no

    from happenings
    where happened_at < {{ as_of }}
        and happened_at >= {{ as_of }} - interval '{{ var("monitored_days") }}' day

),

by_day_end as (

    select
        *,
        {{ as_of }} - day_no * interval '24' hour as day_end

    from by_day

),

-- What the end of the day knew: arrival slices before it, reference rows in force at it.
known_then as (

    select *
    from by_day_end
    where slice < day_end
        or (valid_from <= day_end and (valid_to is null or valid_to > day_end))

),

-- The visitor's customer is that of the end of the day too. A reference row replaces the events of its line. They are matched
-- by event_order_id: of a left join with a condition on the left side alone DuckDB makes a nested loop.
of_customers as (

    select
        k.day_no,
        k.day_end,
        c.customer_id,
        k.product_id,
        k.category_id,
        k.order_id,
        sum(k.views) as views,
        sum(k.dwell_seconds) as dwell_seconds,
        sum(k.carts) as carts,
        sum(k.offers_shown) as offers_shown,
        sum(k.offers_clicked) as offers_clicked,
        sum(k.amount) as amount

    from known_then as k
    left join visitor_customers as v
        on k.visitor_id = v.visitor_id
        and k.day_end > v.linked_slice
        and k.day_end <= v.second_slice
    inner join customers as c on coalesce(k.customer_id, v.customer_id) = c.customer_id
    left join {{ ref('stg_purchases') }} as r
        on k.event_order_id = r.order_id
        and k.product_id = r.product_id
        and k.line_no = r.line_no
        and k.day_end >= r.valid_from
        and k.day_end < coalesce(r.valid_to, {{ end_of_time }})
    where r.order_id is null
    group by k.day_no, k.day_end, c.customer_id, k.product_id, k.category_id, k.order_id

),

with_category as (

    select
        a.day_no,
        a.day_end,
        a.customer_id,
        coalesce({{ shop_category('a.category_id', 'p.category_id', 'a.product_id') }}, '(none)') as category_id,
        a.order_id,
        a.views,
        a.dwell_seconds,
        a.carts,
        a.offers_shown,
        a.offers_clicked,
        a.amount

    from of_customers as a
    left join {{ ref('stg_products') }} as p
        on a.product_id = p.product_id
        and a.day_end >= p.valid_from
        and a.day_end < coalesce(p.valid_to, {{ end_of_time }})

),

final as (

    select
        day_no,
        day_end,
        customer_id,
        category_id,
        cast(sum(views) as bigint) as views,
        cast(sum(dwell_seconds) as double) as dwell_seconds,
        cast(sum(carts) as bigint) as carts,
        count(distinct order_id) as orders,
        cast(sum(amount) as decimal(18, 2)) as spend,
        cast(sum(offers_shown) as bigint) as offers_shown,
        cast(sum(offers_clicked) as bigint) as offers_clicked

    from with_category
    group by day_no, day_end, customer_id, category_id

)

select *
from final
where views > 0 or carts > 0 or orders > 0 or spend <> 0 or offers_shown > 0 or offers_clicked > 0
