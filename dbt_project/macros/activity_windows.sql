{#- The windows of the near-real-time activity tables: suffix and minutes, shortest first. -#}
{% macro activity_windows() -%}
    {{ return([('15m', 15), ('1h', 60), ('24h', 24 * 60), ('30d', 30 * 24 * 60)]) }}
{%- endmacro %}


{#- Minutes of every window that a table has, of activity_windows and of shop.yaml, shortest first. -#}
{% macro all_windows() -%}
    {%- set minutes = activity_windows() | map(attribute=1) | list -%}
    {%- for days in var('windows_days') -%}
        {%- do minutes.append(days * 24 * 60) -%}
    {%- endfor -%}
    {{ return(minutes | unique | sort) }}
{%- endmacro %}


{#-
    Minutes of the shortest window before `as_of` that holds a moment which at least the longest one holds. A window includes its
    start. Rows are summed by it first: nearly all lie in the longest window alone and take part in no other one's sums.
-#}
{% macro shortest_window(moment, as_of) -%}
    cast(
        case
            {%- for minutes in all_windows()[:-1] %}
            when {{ moment }} >= {{ as_of }} - interval '{{ minutes }}' minute then {{ minutes }}
            {%- endfor %}
            else {{ all_windows() | last }}
        end as bigint
    )
{%- endmacro %}
