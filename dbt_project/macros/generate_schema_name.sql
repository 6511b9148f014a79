{#- Schemas are exactly staging, intermediate, marts and seeds, whatever the target is called. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
