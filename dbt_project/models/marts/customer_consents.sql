{{ config(tags=['daily']) }}

with

customers as (

    select customer_id
    from {{ ref('int_known_customers') }}

),

profiles as (

    select *
    from {{ ref('int_customers') }}

),

final as (
    {% for channel in var('channels') %}
    select
        customers.customer_id,
        '{{ channel }}' as channel,
        coalesce(profiles.consent_{{ channel }}, false) as is_allowed

    from customers
    left join profiles on customers.customer_id = profiles.customer_id
    {% if not loop.last %}
    union all
    {% endif %}
    {%- endfor %}

)

select * from final
