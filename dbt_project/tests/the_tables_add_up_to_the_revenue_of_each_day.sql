{#-
    Every table of the shop's totals has the revenue of orders_daily, day by day, and product_performance month by month. What lies
    after as_of, as an event may by an hour, is left out. Gross revenue less returns is revenue, and that of customers and guests.
-#}
{{ config(tags=['daily']) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}

with

months as (

    select
        {{ month_of('local_date') }} as local_month,
        sum(revenue) as revenue

    from {{ ref('orders_daily') }}
    group by 1

),

product_months as (

    select
        starts_on as local_month,
        sum(revenue) as revenue

    from {{ ref('product_performance') }}
    where period = 'month'
    group by 1

)

{% for table in ['traffic', 'traffic_sources', 'product_activity'] -%}
select
    '{{ table }}' as table_name,
    coalesce(totals.local_date, days.local_date) as local_date,
    totals.revenue,
    days.revenue as revenue_of_day

from (
    select
        {{ shop_date('event_slice') }} as local_date,
        sum(revenue) as revenue

    from {{ ref(table) }}
    where event_slice < {{ as_of }}
    group by 1
) as totals
full outer join {{ ref('orders_daily') }} as days on totals.local_date = days.local_date
where coalesce(totals.revenue, 0) <> coalesce(days.revenue, 0)

union all

{% endfor -%}
select
    'product_performance' as table_name,
    coalesce(totals.local_month, months.local_month) as local_date,
    totals.revenue,
    months.revenue as revenue_of_day

from product_months as totals
full outer join months on totals.local_month = months.local_month
where coalesce(totals.revenue, 0) <> coalesce(months.revenue, 0)

union all

select
    'orders_daily' as table_name,
    local_date,
    gross_revenue - returned_amount as revenue,
    revenue as revenue_of_day

from {{ ref('orders_daily') }}
where gross_revenue - returned_amount <> revenue
    or revenue_of_customers + revenue_of_guests <> revenue
