{{ config(tags=['daily']) }}

{%- set cutoff_numbers = range(1, var('matured_cutoffs') + 1) %}

with

purchase_lines as (

    {{ purchase_lines_whenever_known(
        ref('int_visitor_links_by_slice'), ref('int_purchases_by_slice'), ref('stg_purchases'), ref('stg_products')
    ) }}

),
{% for number in cutoff_numbers %}
{%- set clock = '(select as_of from ' ~ source('ops', 'matured_cutoffs') ~ ' where cutoff_no = ' ~ number ~ ')' %}
labels_{{ number }} as (

    {{ labels_as_of('purchase_lines', clock) }}

),
{% endfor %}
final as (
    {% for number in cutoff_numbers %}
    select
        cutoffs.as_of,
        labels.customer_id,
        labels.label

    from labels_{{ number }} as labels
    inner join {{ source('ops', 'matured_cutoffs') }} as cutoffs on cutoffs.cutoff_no = {{ number }}
    {% if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}

)

select * from final
