{#-
    What all tables mean by a session, which is a visit of traffic_sources: the events of a visitor up to visit_gap_minutes() without one.
    A visitor is a visitor_id, and a customer_id where the event has none. The shop's own session_id does not count.

    on time  An event whose arrival slice begins at most session_grace_minutes() after its event slice. On-time events alone say which
             sessions there are, so that the session's id, that of its visitor and first on-time event, follows from the slices that are
             known so long after the session's end, whatever comes in later and in whatever order.
    late     Any other event. It joins the session that it follows by less than the gap, or lies in, else the one that it precedes by
             less than the gap: it never merges two. What then is left makes sessions of its own, the events of one arrival slice together.
             Late events of one event slice and arrival slice stay together.
-#}

{#- Minutes after an event slice until which an arrival slice's events of it are on time; a multiple of every slice's width. -#}
{% macro session_grace_minutes() -%}
    {{ return(24 * 60) }}
{%- endmacro %}


{#- Days before the last slice whose sessions are kept, as long as raw files are: a replay could not make older ones again. -#}
{% macro session_days() -%}
    {{ return(400) }}
{%- endmacro %}


{#- The value of the row with the least time; of several the least value, so that it depends on no order. `value` must not be null. -#}
{% macro first_of(value, moment) -%}
    min_by({{ value }}, cast({{ moment }} as string) || ' ' || {{ value }})
{%- endmacro %}


{#- Who had an event or a session: a browser or device, else the customer. -#}
{% macro visitor_of(row) -%}
    coalesce({{ row }}.visitor_id, {{ row }}.customer_id)
{%- endmacro %}


{#- Days before an order in which a session is a touch of it. -#}
{% macro attribution_days() -%}
    {{ return(30) }}
{%- endmacro %}


{#- A source, its medium and, where it is known, campaign as a step of a path; what parts steps and names is taken out of names. -#}
{% macro channel_name(source, medium, campaign) -%}
    {%- for column in [source, medium] -%}
        replace(replace({{ column }}, ' > ', '>'), ' / ', '/') || {{ "' / ' || " if loop.first }}
    {%- endfor -%}
    case when {{ campaign }} = '(not set)' then '' else ' / ' || replace(replace({{ campaign }}, ' > ', '>'), ' / ', '/') end
{%- endmacro %}


{#- The texts of a group with a separator between them, in the order of a column. -#}
{% macro joined_in_order(text, separator, order_column) -%}
    {{ adapter.dispatch('joined_in_order', 'customer360')(text, separator, order_column) }}
{%- endmacro %}


{% macro duckdb__joined_in_order(text, separator, order_column) -%}
    string_agg({{ text }}, {{ text_literal(separator) }} order by {{ order_column }})
{%- endmacro %}


{#- Not run by the tests here. -#}
{% macro spark__joined_in_order(text, separator, order_column) -%}
    listagg({{ text }}, {{ text_literal(separator) }}) within group (order by {{ order_column }})
{%- endmacro %}


{#- Days of which the paths to orders are kept; their sessions and touches lie within session_days(). -#}
{% macro path_days() -%}
    {{ return(365) }}
{%- endmacro %}
