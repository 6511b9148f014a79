{{ config(tags=['daily']) }}

with

lines as (

    select
        customer_id,
        order_id,
        purchased_at,
        amount,
        is_purchase

    from {{ ref('int_purchase_lines') }}

),

final as (

    select
        customer_id,
        order_id,
        coalesce(min(purchased_at) filter (where is_purchase), min(purchased_at)) as ordered_at,
        cast(sum(amount) as decimal(18, 2)) as amount,
        count(*) filter (where is_purchase) as lines,
        {{ as_of_clock(source('ops', 'clock')) }} as as_of

    from lines
    group by customer_id, order_id

)

select * from final
