-- depends_on: {{ ref('int_touched_event_slices') }}
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
        and {{ is_rewritten() }}
    group by event_slice, offer_id

),

purchases as (

    {{ purchases_by_event_slice('offer_id') }}

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
