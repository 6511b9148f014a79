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

{{ unequal_sums(sums) }}
