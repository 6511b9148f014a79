{% if var('attributes') %}
with

long as (
    {% for attribute in var('attributes') %}
    select
        customer_id,
        '{{ attribute["name"] }}' as attribute_name,
        cast({{ attribute['name'] }} as string) as value

    from {{ ref('int_customers') }}
    {% if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}

)

select
    customer_id,
    attribute_name,
    value

from long
where value is not null
{% else %}
select
    customer_id,
    cast(null as string) as attribute_name,
    cast(null as string) as value

from {{ ref('int_customers') }}
where 1 = 0
{% endif %}
