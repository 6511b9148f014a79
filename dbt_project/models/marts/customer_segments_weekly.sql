{{ config(tags=['daily']) }}

with
{% for week in range(1, 5) %}
{%- set clock = "(select as_of - interval '" ~ 7 * week ~ "' day as as_of from " ~ source('ops', 'clock') ~ ' as now)' %}
visitor_customers_{{ week }} as (

    {{ visitor_customers_as_of(ref('int_visitor_links_by_slice'), clock) }}

),

purchase_lines_{{ week }} as (

    {{ purchase_lines_as_of(
        ref('int_purchases_by_slice'), ref('stg_purchases'), ref('stg_products'), 'visitor_customers_' ~ week, clock
    ) }}

),

customers_{{ week }} as (

    {{ customers_known_then(ref('stg_customers'), ref('int_activity_by_slice'), ref('stg_purchases'), clock) }}

),

rfm_{{ week }} as (

    {{ rfm_as_of('purchase_lines_' ~ week, clock) }}

),

segments_{{ week }} as (

    {{ rfm_segments_as_of('customers_' ~ week, 'rfm_' ~ week, ref('segment_grids'), clock) }}

),
{% endfor %}
final as (

    select
        as_of,
        customer_id,
        segment,
        monetary

    from {{ ref('rfm_segments') }}
    {%- for week in range(1, 5) %}

    union all

    select
        as_of,
        customer_id,
        segment,
        monetary

    from segments_{{ week }}
    {%- endfor %}

)

select * from final
