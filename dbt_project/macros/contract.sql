{#-
    A contract for a table whose columns follow from shop.yaml, as a post-hook: fails the model, before it is committed, unless its
    columns are `before`, those of var('features') and `after`, with these types and in this order. `before` and `after` are lists of
    (name, type).
-#}
{% macro enforce_feature_contract(before, after=[]) -%}
    {%- set declared = before | list -%}
    {%- for feature in var('features') -%}
        {%- do declared.append((feature['name'], feature['type'])) -%}
    {%- endfor -%}
    {%- set expected = [] -%}
    {%- for name, type in declared + after -%}
        {%- do expected.append(name ~ ' ' ~ adapter.dispatch('catalog_type', 'customer360')(type)) -%}
    {%- endfor -%}
    {%- set found = [] -%}
    {%- for column in adapter.get_columns_in_relation(this) -%}
        {%- do found.append(column.name ~ ' ' ~ column.dtype) -%}
    {%- endfor -%}
    {%- if execute and found != expected -%}
        {{ exceptions.raise_compiler_error(
            this.name ~ ' breaks its contract. Missing or of another type or place: '
            ~ (expected | reject('in', found) | join(', ') or 'none') ~ '; not declared: '
            ~ (found | reject('in', expected) | join(', ') or 'none')
            ~ '. Declare columns in customer360/features.py, which features_as_of follows'
        ) }}
    {%- endif -%}
{%- endmacro %}


{#- A type as the engine's catalog names it. -#}
{% macro duckdb__catalog_type(type) -%}
    {{ return({'string': 'VARCHAR'}.get(type, type | upper | replace(', ', ','))) }}
{%- endmacro %}


{#- Not run by the tests here. -#}
{% macro spark__catalog_type(type) -%}
    {{ return(type | replace(', ', ',')) }}
{%- endmacro %}
