{#-
    Every table of the shop's totals has the revenue of revenue_by_day, day by day. What lies after as_of, as an event may by an hour,
    is left out.
-#}
{{ config(tags=['daily']) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}

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
full outer join {{ ref('revenue_by_day') }} as days on totals.local_date = days.local_date
where coalesce(totals.revenue, 0) <> coalesce(days.revenue, 0)
{%- if not loop.last %}

union all

{% endif %}
{%- endfor %}
