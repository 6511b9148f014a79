{{ config(tags=['daily']) }}

select
    customer_id,
    order_id,
    ordered_at,
    revenue as amount,
    lines,
    {{ as_of_clock(source('ops', 'clock')) }} as as_of

from {{ ref('int_orders') }}
where customer_id is not null
