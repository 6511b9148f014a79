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
    {{ return('(' ~ event_slices_around(ref('int_touched_event_slices'), before, after) ~ ')') }}
{%- endmacro %}


{#- The event slices of a relation, and those up to `before` minutes before and `after` minutes after each of them. -#}
{% macro event_slices_around(relation, before=0, after=0) -%}
    {%- for minutes in range(-before, after + 1, var('event_slice_minutes')) %}
    select event_slice + interval '{{ minutes }}' minute as event_slice
    from {{ relation }}
    {%- if not loop.last %}

    union
    {% endif %}
    {%- endfor %}
{%- endmacro %}


{#-
    Minutes without an event after which a visit has ended, as in GA4; a visit's events count for the source that it came from.
    A multiple of every grain that event slices can have.
-#}
{% macro visit_gap_minutes() -%}
    {{ return(30) }}
{%- endmacro %}


{#-
    Activity and orders of the event slices that a run writes again, one row per event slice and value of `item` (a column; none for
    the shop): event_slice, `item`, the sums of `measures` (name: column of `activity`), visitors (distinct values of the expression
    `visitor`), purchases (distinct orders), purchases_in_visits (those of which an event is known) and revenue (net of returns).
    Events without an item are left out; lines without one are those of `no_item`, or left out too.
-#}
{% macro activity_by_event_slice(activity, measures, visitor, item=none, no_item=none) -%}
    {%- set keys = ['event_slice', item] if item else ['event_slice'] -%}
    select
        {%- for key in keys %}
        coalesce(activity.{{ key }}, purchases.{{ key }}) as {{ key }},
        {%- endfor %}
        {%- for name in measures %}
        coalesce(activity.{{ name }}, 0) as {{ name }},
        {%- endfor %}
        coalesce(purchases.purchases, 0) as purchases,
        coalesce(purchases.purchases_in_visits, 0) as purchases_in_visits,
        cast(coalesce(purchases.revenue, 0) as decimal(18, 2)) as revenue,
        coalesce(activity.visitors, 0) as visitors

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
    full outer join (
        select
            {{ keys | join(', ') }},
            count(distinct case when is_purchase then order_id end) as purchases,
            count(distinct case when is_purchase and visit_slice is not null then order_id end) as purchases_in_visits,
            sum(amount) as revenue

        from (
            select
                event_slice,
                {%- if item %}
                {{ 'coalesce(' ~ item ~ ', ' ~ text_literal(no_item) ~ ')' if no_item else item }} as {{ item }},
                {%- endif %}
                order_id,
                visit_slice,
                amount,
                is_purchase

            from {{ ref('int_shop_lines') }}
            where {{ is_rewritten() }}
        ) as lines
        {%- if item %}
        where {{ item }} is not null
        {%- endif %}
        group by {{ keys | join(', ') }}
    ) as purchases
        on activity.event_slice = purchases.event_slice
        {%- if item %}
        and activity.{{ item }} = purchases.{{ item }}
        {%- endif %}
{%- endmacro %}
