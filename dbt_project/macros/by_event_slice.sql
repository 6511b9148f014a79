{#-
    True for the rows of event slices that a run writes again; the first run writes all. Models that call it name
    int_touched_event_slices in a `depends_on` comment, since dbt does not see the reference when it parses.

    `before` and `after`: also those up to so many minutes before and after a touched one.
-#}
{% macro is_rewritten(before=0, after=0) -%}
    {%- if is_incremental() -%}
        event_slice in (select event_slice from {{ touched_event_slices(before, after) }} as touched)
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{#- int_touched_event_slices as a relation, with those up to `before` minutes before and `after` minutes after each of them. -#}
{% macro touched_event_slices(before=0, after=0) -%}
    {%- set touched = ref('int_touched_event_slices') -%}
    {%- if not before and not after -%}
        {{ return(touched) }}
    {%- endif -%}
    (
        {%- for minutes in range(-before, after + 1, event_slice_minutes() | int) %}
        select event_slice + interval '{{ minutes }}' minute as event_slice
        from {{ touched }}
        {%- if not loop.last %}

        union
        {% endif %}
        {%- endfor %}
    )
{%- endmacro %}


{#-
    Minutes without an event after which a visit has ended, as in GA4; a visit's events count for the source that it came from.
    A multiple of every grain that event slices can have.
-#}
{% macro visit_gap_minutes() -%}
    {{ return(30) }}
{%- endmacro %}


{#-
    Distinct orders and net revenue of purchase events, one row per event slice and value of `dimension` (a column, or none for
    all).
-#}
{% macro purchases_by_event_slice(dimension=none) -%}
    {%- set columns = 'event_slice' ~ (', ' ~ dimension if dimension else '') -%}
    select
        {{ columns }},
        count(distinct order_id) as purchases,
        sum(amount) as revenue

    from (

        {{ purchase_lines_by_event_slice(dimension) }}

    ) as lines
    where occurrence = 1
    group by {{ columns }}
{%- endmacro %}


{#-
    Purchase lines of event slices that a run writes again: event_slice, `dimension`, order_id, amount, visitor, occurrence. A line
    that came twice, with different event ids, counts once: occurrence 1.
-#}
{% macro purchase_lines_by_event_slice(dimension=none, after=0) -%}
    {%- set columns = 'event_slice' ~ (', ' ~ dimension if dimension else '') -%}
    {%- set line = columns ~ ', order_id' ~ (', product_id' if dimension != 'product_id' else '') ~ ', line_no' -%}
    select
        {{ columns }},
        order_id,
        amount,
        coalesce(visitor_id, customer_id) as visitor,
        row_number() over (partition by {{ line }} order by slice, event_key) as occurrence

    from {{ ref('int_purchases_by_slice') }}
    where {{ is_rewritten(after=after) }}
        {% if dimension -%}
        and {{ dimension }} is not null
        {%- endif %}
{%- endmacro %}
