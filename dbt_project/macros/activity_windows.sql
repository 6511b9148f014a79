{#- The windows of the near-real-time activity tables: suffix and SQL interval, shortest first. -#}
{% macro activity_windows() -%}
    {{ return([
        ('15m', "interval '15' minute"),
        ('1h', "interval '1' hour"),
        ('24h', "interval '24' hour"),
        ('30d', "interval '30' day"),
    ]) }}
{%- endmacro %}
