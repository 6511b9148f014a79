{#- A column holds only what shop.yaml lists: the values of a dbt variable (or of one key of its entries), or `or_value`. -#}
{% test in_shop(model, column_name, variable, key=none, or_value=none) %}
{%- set listed = var(variable) | map(attribute=key) | list if key else var(variable) -%}
select {{ column_name }}
from {{ model }}
where cast({{ column_name }} as string) not in ({{ quoted_list((listed + ([or_value] if or_value else [])) | map('string') | list or ['']) }})
{% endtest %}
