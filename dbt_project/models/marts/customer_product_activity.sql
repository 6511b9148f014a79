{%- set as_of = as_of_clock(source('ops', 'clock')) %}

with

events as (

    select
        customer_id,
        product_id,
        window_minutes,
        views,
        carts,
        cast(0 as bigint) as orders

    from {{ ref('int_product_windows') }}
    where product_id is not null
        and window_minutes <= {{ (activity_windows() | last)[1] }}

),

orders as (

    select
        customer_id,
        product_id,
        {{ shortest_window('max(purchased_at)', as_of) }} as window_minutes,
        cast(0 as bigint) as views,
        cast(0 as bigint) as carts,
        cast(1 as bigint) as orders

    from {{ ref('int_purchase_lines') }}
    where purchased_at >= {{ as_of }} - interval '30' day
        and product_id is not null
        and is_purchase
    group by customer_id, product_id, order_id

),

events_and_orders as (

    select * from events
    union all
    select * from orders

),

final as (

    select
        customer_id,
        product_id,
        {%- for suffix, minutes in activity_windows() %}
        {%- for measure in ['views', 'carts', 'orders'] %}
        cast(
            coalesce(sum({{ measure }}) filter (where window_minutes <= {{ minutes }}), 0) as bigint
        ) as {{ measure }}_{{ suffix }},
        {%- endfor %}
        {%- endfor %}
        max({{ as_of }}) as as_of

    from events_and_orders
    group by customer_id, product_id

)

select * from final
