{#- Event time floored to the finest grain at which every window that ends at a slice end is exact: gcd(slice, 15) minutes. -#}
{% macro event_slice(timestamp_column) -%}
    {{ adapter.dispatch('floor_to_minutes', 'customer360')(timestamp_column, var('event_slice_minutes')) }}
{%- endmacro %}


{% macro duckdb__floor_to_minutes(timestamp_column, minutes) -%}
    time_bucket(interval '{{ minutes }}' minute, {{ timestamp_column }}, timestamp '1970-01-01 00:00:00')
{%- endmacro %}


{#- Not run by the tests here. -#}
{% macro spark__floor_to_minutes(timestamp_column, minutes) -%}
    {%- set seconds = minutes * 60 -%}
    cast(timestamp_seconds(floor(unix_timestamp({{ timestamp_column }}) / {{ seconds }}) * {{ seconds }}) as timestamp)
{%- endmacro %}


{#- A UTC timestamp as wall-clock time in an IANA zone; `zone` is an SQL expression. -#}
{% macro local_timestamp(timestamp_column, zone) -%}
    {{ adapter.dispatch('local_timestamp', 'customer360')(timestamp_column, zone) }}
{%- endmacro %}


{% macro duckdb__local_timestamp(timestamp_column, zone) -%}
    timezone({{ zone }}, timezone('UTC', {{ timestamp_column }}))
{%- endmacro %}


{#- Not run by the tests here. -#}
{% macro spark__local_timestamp(timestamp_column, zone) -%}
    convert_timezone('UTC', {{ zone }}, {{ timestamp_column }})
{%- endmacro %}


{#- A UTC timestamp as a date of the shop. -#}
{% macro shop_date(timestamp_column) -%}
    cast({{ local_timestamp(timestamp_column, "'" ~ var('time_zone') ~ "'") }} as date)
{%- endmacro %}


{#- Seconds from one timestamp to a later one, with fractions. -#}
{% macro seconds_between(earlier, later) -%}
    {{ adapter.dispatch('seconds_between', 'customer360')(earlier, later) }}
{%- endmacro %}


{% macro duckdb__seconds_between(earlier, later) -%}
    (epoch_us({{ later }}) - epoch_us({{ earlier }})) / 1000000.0
{%- endmacro %}


{#- Not run by the tests here. -#}
{% macro spark__seconds_between(earlier, later) -%}
    (unix_micros(cast({{ later }} as timestamp_ltz)) - unix_micros(cast({{ earlier }} as timestamp_ltz))) / 1000000.0
{%- endmacro %}


{#- Whole days from one date to a later one. -#}
{% macro days_between(earlier, later) -%}
    {{ adapter.dispatch('days_between', 'customer360')(earlier, later) }}
{%- endmacro %}


{% macro duckdb__days_between(earlier, later) -%}
    date_diff('day', {{ earlier }}, {{ later }})
{%- endmacro %}


{#- Not run by the tests here. -#}
{% macro spark__days_between(earlier, later) -%}
    cast(datediff({{ later }}, {{ earlier }}) as bigint)
{%- endmacro %}


{#- Day of the week of a date or timestamp, 1 = Monday to 7 = Sunday. -#}
{% macro iso_day_of_week(column) -%}
    {{ adapter.dispatch('iso_day_of_week', 'customer360')(column) }}
{%- endmacro %}


{% macro duckdb__iso_day_of_week(column) -%}
    isodow({{ column }})
{%- endmacro %}


{#- Not run by the tests here. -#}
{% macro spark__iso_day_of_week(column) -%}
    weekday({{ column }}) + 1
{%- endmacro %}


{#- Names of the time zones that the engine can convert to, as a subquery with the column `name`. -#}
{% macro known_time_zones() -%}
    {{ adapter.dispatch('known_time_zones', 'customer360')() }}
{%- endmacro %}


{% macro duckdb__known_time_zones() -%}
    (select distinct name from pg_timezone_names())
{%- endmacro %}


{#- Spark has no list of zones; customers there must carry zones that it knows. Not run by the tests here. -#}
{% macro spark__known_time_zones() -%}
    (select distinct time_zone as name from {{ ref('stg_customers') }})
{%- endmacro %}


{#- The first day of a date's month. -#}
{% macro month_of(date) -%}
    cast(date_trunc('month', {{ date }}) as date)
{%- endmacro %}


{#- Months from the first day of a month to that of a later one. -#}
{% macro months_between(earlier, later) -%}
    cast(
        12 * (extract(year from {{ later }}) - extract(year from {{ earlier }}))
        + extract(month from {{ later }}) - extract(month from {{ earlier }}) as bigint
    )
{%- endmacro %}
