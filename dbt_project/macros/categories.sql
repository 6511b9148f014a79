{#-
    The shop's category of an event or purchase line: its own category, else its product's; "other" when that is not one of
    shop.yaml's or when only the product is known; null when there is neither a product nor a category, and for categories and
    products that shop.yaml excludes.
-#}
{% macro shop_category(category_id, product_category_id, product_id) -%}
    case
        {%- if var('excluded_categories', []) %}
        when coalesce({{ category_id }}, {{ product_category_id }}) in ({{ quoted_list(var('excluded_categories')) }}) then null
        {%- endif %}
        {%- if var('excluded_products', []) %}
        when {{ product_id }} in ({{ quoted_list(var('excluded_products')) }}) then null
        {%- endif %}
        when coalesce({{ category_id }}, {{ product_category_id }}) in ({{ quoted_list(var('categories') | map(attribute='id')) }})
            then coalesce({{ category_id }}, {{ product_category_id }})
        when coalesce({{ category_id }}, {{ product_id }}) is not null then 'other'
    end
{%- endmacro %}


{#- Values as a list of SQL text literals. -#}
{% macro quoted_list(values) -%}
    {%- for value in values -%}
        {{ text_literal(value) }}{{ ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}


{#- A value as an SQL text literal. -#}
{% macro text_literal(value) -%}
    {{ dbt.string_literal(dbt.escape_single_quotes(value)) }}
{%- endmacro %}
