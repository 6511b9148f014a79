{{ config(tags=['daily']) }}

with

lines as (

    select
        order_id,
        customer_id,
        purchased_at,
        amount,
        is_purchase

    from {{ ref('int_purchase_lines_with_guests') }}

),

by_order as (

    select
        order_id,
        customer_id,
        coalesce(min(purchased_at) filter (where is_purchase), min(purchased_at)) as ordered_at,
        count(*) filter (where is_purchase) as lines,
        cast(coalesce(sum(amount) filter (where is_purchase), 0) as decimal(18, 2)) as gross_revenue,
        cast(coalesce(sum(-amount) filter (where not is_purchase), 0) as decimal(18, 2)) as returned_amount,
        cast(sum(amount) as decimal(18, 2)) as revenue

    from lines
    group by order_id, customer_id

),

visited as (

    select distinct order_id
    from {{ ref('int_purchases_by_slice') }}

),

numbered as (

    select
        by_order.*,
        visited.order_id is not null as has_visit,
        row_number() over (
            partition by by_order.customer_id, case when by_order.lines > 0 then 1 else 0 end
            order by by_order.ordered_at asc nulls last, by_order.order_id asc nulls last
        ) as place,
        row_number() over (
            partition by by_order.order_id, case when by_order.lines > 0 then 1 else 0 end
            order by by_order.customer_id asc nulls last
        ) as place_in_order

    from by_order
    left join visited on by_order.order_id = visited.order_id

),

final as (

    select
        order_id,
        customer_id,
        ordered_at,
        lines,
        case when lines > 0 and customer_id is not null then place end as order_no,
        lines > 0 and place_in_order = 1 as counts_in_totals,
        has_visit,
        gross_revenue,
        returned_amount,
        revenue

    from numbered

)

select * from final
