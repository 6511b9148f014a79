{#-
    The as_of of `clock`, a relation or subquery of one row, as an SQL expression; null where the clock is empty. A run reads it
    first and writes the value itself: engines then skip what lies outside a window and filter before they join. With a subquery
    instead DuckDB 1.5 joined the whole history with the visitors first. Unit tests and `dbt compile` have no relation to read, so
    they get the subquery.
-#}
{% macro as_of_clock(clock) -%}
    {{ return(control_value(clock, 'as_of', 'timestamp')) }}
{%- endmacro %}


{#- The one value of `column` in `relation`, which a run reads first and writes itself; see as_of_clock. -#}
{% macro control_value(relation, column, type) -%}
    {%- if execute and flags.WHICH in ('build', 'run') and model['resource_type'] == 'model' -%}
        {%- set found = run_query('select ' ~ column ~ ' from ' ~ relation ~ ' as control') -%}
        {%- set value = found.columns[0].values()[0] if found.rows else none -%}
        {{ return("cast('" ~ value ~ "' as " ~ type ~ ")" if value is not none else 'cast(null as ' ~ type ~ ')') }}
    {%- endif -%}
    {{ return('(select ' ~ column ~ ' from ' ~ relation ~ ' as control)') }}
{%- endmacro %}
