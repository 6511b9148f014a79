{{ config(tags=['daily']) }}

with

lines as (

    select
        customer_id,
        order_id,
        purchased_at,
        amount

    from {{ ref('int_purchase_lines') }}

),

final as (

    select
        customer_id,
        order_id,
        coalesce(min(purchased_at) filter (where amount >= 0), min(purchased_at)) as ordered_at,
        cast(sum(amount) as decimal(18, 2)) as amount,
        count(*) filter (where amount >= 0) as lines,
        {{ as_of_clock(source('ops', 'clock')) }} as as_of

    from lines
    group by customer_id, order_id

)

select * from final
