{#-
    Sums that differ from what they should be. Each of `sums` is a relation, an expression over its rows and a condition, then
    the same of what the sum should be.
-#}
{%- macro unequal_sums(sums) -%}
with

sums as (
    {% for relation, column, condition, expected_relation, expected, expected_condition in sums %}
    select
        {{ text_literal(relation.identifier ~ ', ' ~ column ~ ', ' ~ condition) }} as sum_name,
        (
            select coalesce(sum({{ column }}), 0)
            from {{ relation }}
            where {{ condition }}
        ) as total,
        (
            select coalesce(sum({{ expected }}), 0)
            from {{ expected_relation }}
            where {{ expected_condition }}
        ) as expected
    {% if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}

)

select *
from sums
where total <> expected
{%- endmacro %}
