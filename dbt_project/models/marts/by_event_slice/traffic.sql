-- depends_on: {{ ref('int_touched_event_slices') }}
with

activity as (

    select
        event_slice,
        sum(events) as events,
        sum(page_views) + sum(views) as views,
        sum(offers_shown) as offers_shown,
        sum(offers_clicked) as clicks,
        count(distinct case when last_event_at is not null then coalesce(visitor_id, customer_id) end) as visitors

    from {{ ref('int_activity_by_slice') }}
    where {{ is_rewritten() }}
    group by event_slice

),

purchases as (

    {{ purchases_by_event_slice() }}

),

final as (

    select
        activity.event_slice,
        cast(activity.events as bigint) as events,
        cast(activity.views as bigint) as views,
        cast(activity.clicks as bigint) as clicks,
        cast(activity.offers_shown as bigint) as offers_shown,
        coalesce(purchases.purchases, 0) as purchases,
        cast(coalesce(purchases.revenue, 0) as decimal(18, 2)) as revenue,
        activity.visitors,
        cast(activity.clicks as double) / nullif(activity.offers_shown, 0) as click_through

    from activity
    left join purchases on activity.event_slice = purchases.event_slice

)

select * from final
