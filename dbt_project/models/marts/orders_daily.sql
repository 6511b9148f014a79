{{ config(tags=['daily']) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}

with

orders as (

    select
        {{ shop_date('ordered_at') }} as local_date,
        customer_id,
        order_no,
        counts_in_totals,
        has_visit

    from {{ ref('int_orders') }}
    where lines > 0

),

orders_by_day as (

    select
        local_date,
        count(*) filter (where counts_in_totals) as orders,
        count(distinct customer_id) as customers,
        count(*) filter (where order_no = 1) as new_customers,
        count(*) filter (where counts_in_totals and order_no > 1) as repeat_orders,
        count(*) filter (where counts_in_totals and customer_id is null) as guest_orders,
        count(*) filter (where counts_in_totals and not has_visit) as orders_without_visit

    from orders
    group by local_date

),

visited as (

    select distinct order_id
    from {{ ref('int_orders') }}
    where has_visit

),

lines as (

    select
        {{ shop_date('lines.purchased_at') }} as local_date,
        lines.customer_id,
        lines.amount,
        lines.is_purchase,
        visited.order_id is not null as has_visit

    from {{ ref('int_purchase_lines_with_guests') }} as lines
    left join visited on lines.order_id = visited.order_id

),

amounts_by_day as (

    select
        local_date,
        coalesce(sum(amount) filter (where is_purchase), 0) as gross_revenue,
        coalesce(sum(-amount) filter (where not is_purchase), 0) as returned_amount,
        sum(amount) as revenue,
        coalesce(sum(amount) filter (where customer_id is not null), 0) as revenue_of_customers,
        coalesce(sum(amount) filter (where customer_id is null), 0) as revenue_of_guests,
        coalesce(sum(amount) filter (where is_purchase and not has_visit), 0) as gross_revenue_without_visit,
        coalesce(sum(-amount) filter (where not is_purchase and not has_visit), 0) as returned_amount_without_visit

    from lines
    group by local_date

),

-- an order is dated by one of its lines: a day with orders has amounts
final as (

    select
        amounts.local_date,
        coalesce(orders.orders, 0) as orders,
        coalesce(orders.customers, 0) as customers,
        coalesce(orders.new_customers, 0) as new_customers,
        coalesce(orders.customers - orders.new_customers, 0) as returning_customers,
        coalesce(orders.repeat_orders, 0) as repeat_orders,
        coalesce(orders.guest_orders, 0) as guest_orders,
        cast(amounts.gross_revenue as decimal(18, 2)) as gross_revenue,
        cast(amounts.returned_amount as decimal(18, 2)) as returned_amount,
        cast(amounts.revenue as decimal(18, 2)) as revenue,
        cast(amounts.revenue_of_customers as decimal(18, 2)) as revenue_of_customers,
        cast(amounts.revenue_of_guests as decimal(18, 2)) as revenue_of_guests,
        coalesce(orders.orders_without_visit, 0) as orders_without_visit,
        cast(amounts.gross_revenue_without_visit as decimal(18, 2)) as gross_revenue_without_visit,
        cast(amounts.returned_amount_without_visit as decimal(18, 2)) as returned_amount_without_visit,
        cast(amounts.gross_revenue as double) / nullif(orders.orders, 0) as average_order_value,
        amounts.local_date < {{ shop_date(as_of) }} as is_complete

    from amounts_by_day as amounts
    left join orders_by_day as orders on amounts.local_date = orders.local_date

)

select * from final
