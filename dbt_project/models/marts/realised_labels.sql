{{ config(tags=['daily']) }}

{%- set cutoff_numbers = range(1, var('matured_cutoffs') + 1) %}

with

purchase_lines as (

    {{ purchase_lines_whenever_known(
        ref('int_visitor_links_by_slice'), ref('int_purchases_by_slice'), ref('stg_purchases'), ref('stg_products')
    ) }}

),

customers as (

    {{ customers_as_of(ref('stg_customers'), source('ops', 'clock')) }}

),

-- Scores of customers whom the shop did not know yet, by what its table says now: what they bought does not judge them.
too_early as (

    select
        cutoffs.as_of,
        customers.customer_id

    from {{ source('ops', 'matured_cutoffs') }} as cutoffs
    inner join customers on cutoffs.as_of < customers.known_since

),
{% for number in cutoff_numbers %}
{%- set clock = '(select as_of from ' ~ source('ops', 'matured_cutoffs') ~ ' where cutoff_no = ' ~ number ~ ')' %}
labels_{{ number }} as (

    {{ labels_as_of('purchase_lines', clock) }}

),
{% endfor %}
labels as (
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

),

final as (

    select
        coalesce(labels.as_of, too_early.as_of) as as_of,
        coalesce(labels.customer_id, too_early.customer_id) as customer_id,
        case when too_early.customer_id is null then labels.label end as label

    from labels
    full outer join too_early on labels.as_of = too_early.as_of and labels.customer_id = too_early.customer_id

)

select * from final
