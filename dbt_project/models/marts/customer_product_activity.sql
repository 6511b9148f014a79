with

events as (

    select
        coalesce(activity.customer_id, visitors.customer_id) as customer_id,
        activity.product_id,
        activity.event_slice as happened_at,
        activity.views,
        activity.carts,
        cast(0 as bigint) as orders

    from {{ ref('int_activity_by_slice') }} as activity
    left join {{ ref('int_visitor_customers') }} as visitors on activity.visitor_id = visitors.visitor_id
    where activity.slice < (select as_of from {{ source('ops', 'clock') }})
        and activity.event_slice < (select as_of from {{ source('ops', 'clock') }})
        and activity.event_slice >= (select as_of - interval '30' day from {{ source('ops', 'clock') }})
        and activity.product_id is not null
        and (activity.views > 0 or activity.carts > 0)

),

orders as (

    select
        customer_id,
        product_id,
        max(purchased_at) as happened_at,
        cast(0 as bigint) as views,
        cast(0 as bigint) as carts,
        cast(1 as bigint) as orders

    from {{ ref('int_purchase_lines') }}
    where purchased_at >= (select as_of - interval '30' day from {{ source('ops', 'clock') }})
        and product_id is not null
    group by customer_id, product_id, order_id

),

measures as (

    select
        customer_id,
        product_id,
        happened_at,
        views,
        carts,
        orders,
        (select as_of from {{ source('ops', 'clock') }}) as as_of

    from (
        select * from events
        union all
        select * from orders
    ) as events_and_orders
    where customer_id is not null

),

-- nearly all rows lie in the longest window alone: three sums for them, not one for each measure and window
by_shortest_window as (

    select
        customer_id,
        product_id,
        case
            {%- for suffix, width in activity_windows()[:-1] %}
            when happened_at >= as_of - {{ width }} then {{ loop.index }}
            {%- endfor %}
            else {{ activity_windows() | length }}
        end as shortest_window,
        as_of,
        sum(views) as views,
        sum(carts) as carts,
        sum(orders) as orders

    from measures
    group by 1, 2, 3, 4

),

final as (

    select
        customer_id,
        product_id,
        {%- for suffix, _ in activity_windows() %}
        {%- set number = loop.index %}
        {%- for measure in ['views', 'carts', 'orders'] %}
        cast(
            coalesce(sum({{ measure }}) filter (where shortest_window <= {{ number }}), 0) as bigint
        ) as {{ measure }}_{{ suffix }},
        {%- endfor %}
        {%- endfor %}
        max(as_of) as as_of

    from by_shortest_window
    group by customer_id, product_id

)

select * from final
