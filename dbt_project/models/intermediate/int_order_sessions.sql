{{ config(tags=['daily']) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}

with

lines as (

    select
        order_id,
        purchased_at,
        amount,
        is_purchase

    from {{ ref('int_purchase_lines_with_guests') }}

),

orders as (

    select
        order_id,
        coalesce(min(purchased_at) filter (where is_purchase), min(purchased_at)) as ordered_at,
        case when count(*) filter (where is_purchase) > 0 then 1 else 0 end as orders,
        cast(sum(amount) as decimal(18, 2)) as revenue

    from lines
    group by order_id

),

first_events as (

    select
        p.order_id,
        p.slice,
        p.event_slice,
        {{ visitor_of('p') }} as visitor,
        row_number() over (
            partition by p.order_id
            order by p.slice asc nulls last, p.event_key asc nulls last
        ) as place

    from {{ ref('int_purchases_by_slice') }} as p
    where p.slice < {{ as_of }}

),

final as (

    select
        orders.order_id,
        sessions.session_id,
        orders.ordered_at,
        orders.orders,
        orders.revenue

    from orders
    left join first_events
        on orders.order_id = first_events.order_id
        and first_events.place = 1
    left join {{ ref('int_session_slices') }} as sessions
        on first_events.slice = sessions.slice
        and first_events.event_slice = sessions.event_slice
        and first_events.visitor = sessions.visitor

)

select * from final
