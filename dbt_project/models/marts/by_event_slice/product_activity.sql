-- depends_on: {{ ref('int_touched_event_slices') }}
with

activity as (

    select
        event_slice,
        product_id,
        sum(events) as events,
        sum(views) as views,
        sum(carts) as clicks,
        count(distinct case when last_event_at is not null then coalesce(visitor_id, customer_id) end) as visitors

    from {{ ref('int_activity_by_slice') }}
    where product_id is not null
        and {{ is_rewritten() }}
    group by event_slice, product_id

),

purchases as (

    {{ purchases_by_event_slice('product_id') }}

),

final as (

    select
        activity.event_slice,
        activity.product_id,
        cast(activity.events as bigint) as events,
        cast(activity.views as bigint) as views,
        cast(activity.clicks as bigint) as clicks,
        coalesce(purchases.purchases, 0) as purchases,
        cast(coalesce(purchases.revenue, 0) as decimal(18, 2)) as revenue,
        activity.visitors,
        cast(activity.clicks as double) / nullif(activity.views, 0) as click_through

    from activity
    left join purchases
        on activity.event_slice = purchases.event_slice
        and activity.product_id = purchases.product_id

)

select * from final
