{#-
    The 24 hours before as_of that a moment before it lies in: 0 = [as_of - 24 h, as_of), 1 = the 24 hours before that. A day
    includes its start, as windows do.
-#}
{% macro day_before(moment, as_of) -%}
    cast(ceil({{ seconds_between(moment, as_of) }} / 86400) as bigint) - 1
{%- endmacro %}

