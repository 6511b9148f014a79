{#-
    True for the rows of event slices that a run writes again; the first run writes all. Models that call it name
    int_touched_event_slices in a `depends_on` comment, since dbt does not see the reference when it parses.
-#}
{% macro is_rewritten() -%}
    {%- if is_incremental() -%}
        event_slice in (select event_slice from {{ ref('int_touched_event_slices') }})
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{#-
    Distinct orders and net revenue of purchase events, one row per event slice and value of `dimension` (a column, or none for
    all). A line that came twice, with different event ids, counts once: the first occurrence.
-#}
{% macro purchases_by_event_slice(dimension=none) -%}
    {%- set columns = 'event_slice' ~ (', ' ~ dimension if dimension else '') -%}
    {%- set line = columns ~ ', order_id' ~ (', product_id' if dimension != 'product_id' else '') ~ ', line_no' -%}
    select
        {{ columns }},
        count(distinct order_id) as purchases,
        sum(amount) as revenue

    from (

        select
            {{ columns }},
            order_id,
            amount,
            row_number() over (partition by {{ line }} order by slice, event_key) as occurrence

        from {{ ref('int_purchases_by_slice') }}
        where {{ is_rewritten() }}
            {% if dimension -%}
            and {{ dimension }} is not null
            {%- endif %}

    ) as lines
    where occurrence = 1
    group by {{ columns }}
{%- endmacro %}
