{#-
    True for the rows of event slices that a run writes again; the first run writes all.

    `before` and `after`: also those up to so many minutes before and after a touched one.
-#}
{% macro is_rewritten(before=0, after=0) -%}
    {%- set touched = touched_event_slices(before, after) -%}
    {%- if is_incremental() -%}
        event_slice in (select event_slice from {{ touched }} as touched)
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
    Activity of the event slices that a run writes again, one row per event slice and value of `item` (a column; none for all
    activity): event_slice, `item`, the sums of `measures` (name: column of `activity`), purchases (distinct orders), revenue (net
    of returns) and visitors (distinct values of the expression `visitor`).
-#}
{% macro activity_by_event_slice(activity, measures, visitor, item=none) -%}
    {%- set keys = ['event_slice', item] if item else ['event_slice'] -%}
    select
        {%- for key in keys %}
        activity.{{ key }},
        {%- endfor %}
        {%- for name in measures %}
        activity.{{ name }},
        {%- endfor %}
        coalesce(purchases.purchases, 0) as purchases,
        cast(coalesce(purchases.revenue, 0) as decimal(18, 2)) as revenue,
        activity.visitors

    from (
        select
            {{ keys | join(', ') }},
            {%- for name, measure in measures.items() %}
            cast(sum({{ measure }}) as bigint) as {{ name }},
            {%- endfor %}
            count(distinct {{ visitor }}) as visitors

        from {{ activity }}
        where {{ is_rewritten() }}
            {%- if item %}
            and {{ item }} is not null
            {%- endif %}
        group by {{ keys | join(', ') }}
    ) as activity
    left join (
        select
            {{ keys | join(', ') }},
            count(distinct case when is_purchase then order_id end) as purchases,
            sum(amount) as revenue

        from {{ ref('int_event_lines') }}
        where {{ is_rewritten() }}
        group by {{ keys | join(', ') }}
    ) as purchases
        on activity.event_slice = purchases.event_slice
        {%- if item %}
        and activity.{{ item }} = purchases.{{ item }}
        {%- endif %}
{%- endmacro %}
