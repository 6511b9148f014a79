{#-
    The as_of of `clock`, a relation or subquery of one row, as an SQL expression; null where the clock is empty. A run reads it
    first and writes the value itself: engines then skip what lies outside a window and filter before they join. With a subquery
    instead DuckDB 1.5 joined the whole history with the visitors first. Unit tests have no relation to read, so they get the
    subquery.
-#}
{% macro as_of_clock(clock) -%}
    {%- if execute and model['resource_type'] == 'model' -%}
        {%- set found = run_query('select as_of from ' ~ clock ~ ' as clock') -%}
        {%- set moment = found.columns[0].values()[0] if found.rows else none -%}
        {{ return("cast('" ~ moment ~ "' as timestamp)" if moment is not none else 'cast(null as timestamp)') }}
    {%- endif -%}
    {{ return('(select as_of from ' ~ clock ~ ' as clock)') }}
{%- endmacro %}
