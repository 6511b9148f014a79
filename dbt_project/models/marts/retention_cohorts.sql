{{ config(tags=['daily']) }}
{%- set today = shop_date(as_of_clock(source('ops', 'clock'))) %}

with

orders as (

    select
        customer_id,
        order_no,
        {{ month_of(shop_date('ordered_at')) }} as month

    from {{ ref('int_orders') }}
    where order_no is not null

),

first_orders as (

    select
        customer_id,
        month as cohort_month

    from orders
    where order_no = 1

),

cohorts as (

    select
        cohort_month,
        count(*) as customers

    from first_orders
    group by cohort_month

),

months as (

    select distinct {{ month_of('local_date') }} as month
    from {{ ref('int_days') }}
    where local_date <= {{ today }}

),

orders_by_month as (

    select
        first_orders.cohort_month,
        orders.month,
        count(distinct orders.customer_id) as active_customers,
        count(*) as orders

    from orders
    inner join first_orders on orders.customer_id = first_orders.customer_id
    group by first_orders.cohort_month, orders.month

),

lines_by_month as (

    select
        customer_id,
        {{ month_of(shop_date('purchased_at')) }} as month,
        amount

    from {{ ref('int_purchase_lines_with_guests') }}

),

revenue_by_month as (

    select
        first_orders.cohort_month,
        lines.month,
        sum(lines.amount) as revenue

    from lines_by_month as lines
    inner join first_orders on lines.customer_id = first_orders.customer_id
    group by first_orders.cohort_month, lines.month

),

final as (

    select
        cohorts.cohort_month,
        months.month,
        {{ months_between('cohorts.cohort_month', 'months.month') }} as months_since,
        cohorts.customers,
        coalesce(orders.active_customers, 0) as active_customers,
        coalesce(orders.orders, 0) as orders,
        cast(coalesce(revenue.revenue, 0) as decimal(18, 2)) as revenue,
        cast(months.month + interval '1' month as date) <= {{ today }} as is_complete

    from cohorts
    inner join months on cohorts.cohort_month <= months.month
    left join orders_by_month as orders
        on cohorts.cohort_month = orders.cohort_month
        and months.month = orders.month
    left join revenue_by_month as revenue
        on cohorts.cohort_month = revenue.cohort_month
        and months.month = revenue.month

)

select * from final
