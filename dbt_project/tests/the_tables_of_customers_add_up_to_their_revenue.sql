{#-
    The tables of customers have the revenue that revenue_by_day gives to customers: all of it in customer_orders, that of the RFM
    window in customer_features and rfm_segments. customer_category_activity has that of customer_features but for lines with
    neither a category nor a product, and customer_features that of the lines in each window.
-#}
{{ config(tags=['daily']) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}

with

of_customers as (

    select
        coalesce(sum(revenue_of_customers), 0) as revenue,
        coalesce(sum(case
            when {{ days_between('local_date', shop_date(as_of)) }} < {{ var('rfm_window_days') }} then revenue_of_customers
        end), 0) as rfm_revenue

    from {{ ref('revenue_by_day') }}

),

sums as (

    select
        'customer_orders' as table_name,
        coalesce(sum(amount), 0) as revenue,
        (select revenue from of_customers) as expected

    from {{ ref('customer_orders') }}

    union all

    select
        'customer_features' as table_name,
        coalesce(sum(monetary), 0) as revenue,
        (select rfm_revenue from of_customers) as expected

    from {{ ref('customer_features') }}

    union all

    select
        'rfm_segments' as table_name,
        coalesce(sum(monetary), 0) as revenue,
        (select rfm_revenue from of_customers) as expected

    from {{ ref('rfm_segments') }}
    {%- for days in var('windows_days') %}
    {%- set window = "purchased_at >= " ~ as_of ~ " - interval '" ~ days ~ "' day" %}

    union all

    select
        'customer_features, {{ days }} days' as table_name,
        coalesce(sum(spend_{{ days }}d), 0) as revenue,
        (
            select coalesce(sum(amount), 0)
            from {{ ref('int_purchase_lines') }}
            where {{ window }}
        ) as expected

    from {{ ref('customer_features') }}

    union all

    select
        'customer_category_activity, {{ days }} days' as table_name,
        coalesce(sum(spend), 0) as revenue,
        (
            select coalesce(sum(amount), 0)
            from {{ ref('int_purchase_lines') }}
            where {{ window }} and category_id is not null
        ) as expected

    from {{ ref('customer_category_activity') }}
    where window_days = {{ days }}
    {%- endfor %}

)

select *
from sums
where revenue <> expected
