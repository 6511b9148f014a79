{#-
    Orders and revenue of int_order_sessions are those of the shop, those of sessions that have one are in sessions, and funnel_daily and
    conversion_paths have as many. Of sessions and paths only the days that they are kept count.
-#}
{{ config(tags=['daily']) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}
{%- set orders, sessions = ref('int_order_sessions'), ref('sessions') %}
{%- set funnel, paths = ref('funnel_daily'), ref('conversion_paths') %}
{%- set everyone = "utm_source = '(all)' and device = '(all)' and category_id = '(all)'" %}
{%- set in_sessions = 'session_id in (select session_id from ' ~ sessions ~ ' as kept)' %}
{%- set in_paths = 'ordered_at >= ' ~ as_of ~ " - interval '" ~ path_days() ~ "' day" %}
{#- Of each sum: relation, column and condition; relation, column and condition of what it has to be. -#}
{%- set sums = [
    (orders, 'revenue', 'true', ref('orders_daily'), 'revenue', 'true'),
    (orders, 'orders', 'true', ref('orders_daily'), 'orders', 'true'),
    (sessions, 'revenue', 'true', orders, 'revenue', in_sessions),
    (sessions, 'orders', 'true', orders, 'orders', in_sessions),
    (paths, 'revenue', 'true', orders, 'revenue', in_paths),
    (paths, 'orders', 'true', orders, 'orders', in_paths),
    (funnel, 'sessions', everyone, sessions, '1', 'true'),
    (funnel, 'sessions_with_order', everyone, sessions, '1', 'orders > 0'),
    (funnel, 'sessions', "utm_source <> '(all)' and device <> '(all)' and category_id = '(all)'", sessions, '1', 'true'),
] %}

with

sums as (
    {% for relation, column, condition, expected_relation, expected, expected_condition in sums %}
    select
        {{ text_literal(relation.identifier ~ ', ' ~ column ~ ', ' ~ condition) }} as sum_name,
        (
            select coalesce(sum({{ column }}), 0)
            from {{ relation }}
            where {{ condition }}
        ) as total,
        (
            select coalesce(sum({{ expected }}), 0)
            from {{ expected_relation }}
            where {{ expected_condition }}
        ) as expected
    {% if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}

)

select *
from sums
where total <> expected
