{{ config(tags=['daily']) }}

with

orders as (

    select
        customer_id,
        order_id,
        min(purchased_at) as ordered_at

    from {{ ref('int_purchase_lines') }}
    where is_purchase
    group by customer_id, order_id

),

local_orders as (

    select
        orders.customer_id,
        {{ local_timestamp('orders.ordered_at', 'zones.time_zone') }} as local_ordered_at

    from orders
    inner join {{ ref('customer_time_zones') }} as zones on orders.customer_id = zones.customer_id

),

order_times as (

    select
        customer_id,
        cast({{ iso_day_of_week('local_ordered_at') }} as bigint) as day_of_week,
        cast(extract(hour from local_ordered_at) as bigint) as local_hour

    from local_orders

),

final as (

    select
        customer_id,
        day_of_week,
        local_hour,
        count(*) as orders

    from order_times
    group by customer_id, day_of_week, local_hour

)

select * from final
