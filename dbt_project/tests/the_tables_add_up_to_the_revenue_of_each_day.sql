{#-
    Every table of the shop's totals has the revenue of revenue_by_day, day by day. What lies after as_of, as an event may by an hour,
    is left out.
-#}
{{ config(tags=['daily']) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}

with

{% for table in ['traffic', 'traffic_sources', 'product_activity'] -%}
{{ table }}_by_day as (

    select
        '{{ table }}' as table_name,
        {{ shop_date('event_slice') }} as local_date,
        sum(revenue) as revenue

    from {{ ref(table) }}
    where event_slice < {{ as_of }}
    group by 1, 2

),

{% endfor -%}
days as (

    {% for table in ['traffic', 'traffic_sources', 'product_activity'] -%}
    select
        '{{ table }}' as table_name,
        local_date,
        revenue

    from {{ ref('revenue_by_day') }}
    {%- if not loop.last %}

    union all

    {% endif %}
    {%- endfor %}

),

tables as (

    {% for table in ['traffic', 'traffic_sources', 'product_activity'] -%}
    select *
    from {{ table }}_by_day
    {%- if not loop.last %}

    union all

    {% endif %}
    {%- endfor %}

)

select
    coalesce(tables.table_name, days.table_name) as table_name,
    coalesce(tables.local_date, days.local_date) as local_date,
    tables.revenue,
    days.revenue as revenue_of_day

from tables
full outer join days
    on tables.table_name = days.table_name
    and tables.local_date = days.local_date
where coalesce(tables.revenue, 0) <> coalesce(days.revenue, 0)
