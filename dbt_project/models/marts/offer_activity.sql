-- depends_on: {{ ref('int_touched_event_slices') }}
{{ config(
    materialized='incremental',
    incremental_strategy='rewrite_slices',
    unique_key='event_slice',
    full_refresh=false,
    on_schema_change='append_new_columns'
) }}

with

activity as (

    select
        event_slice,
        offer_id,
        sum(shown) as views,
        sum(clicked) as clicks,
        count(distinct coalesce(visitor_id, customer_id)) as visitors

    from {{ ref('int_offer_activity_by_slice') }}
    where offer_id is not null
        {% if is_incremental() -%}
        and event_slice in (select event_slice from {{ ref('int_touched_event_slices') }})
        {%- endif %}
    group by event_slice, offer_id

),

lines as (

    select
        event_slice,
        offer_id,
        order_id,
        amount,
        row_number() over (
            partition by event_slice, offer_id, order_id, product_id, line_no
            order by slice, event_key
        ) as occurrence

    from {{ ref('int_purchases_by_slice') }}
    where offer_id is not null
        {% if is_incremental() -%}
        and event_slice in (select event_slice from {{ ref('int_touched_event_slices') }})
        {%- endif %}

),

purchases as (

    select
        event_slice,
        offer_id,
        count(distinct order_id) as purchases,
        sum(amount) as revenue

    from lines
    where occurrence = 1
    group by event_slice, offer_id

),

final as (

    select
        activity.event_slice,
        activity.offer_id,
        cast(activity.views as bigint) as views,
        cast(activity.clicks as bigint) as clicks,
        coalesce(purchases.purchases, 0) as purchases,
        cast(coalesce(purchases.revenue, 0) as decimal(18, 2)) as revenue,
        activity.visitors,
        cast(activity.clicks as double) / nullif(activity.views, 0) as click_through

    from activity
    left join purchases
        on activity.event_slice = purchases.event_slice
        and activity.offer_id = purchases.offer_id

)

select * from final
