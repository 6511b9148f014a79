{{ config(materialized='table') }}

with

clicks as (

    select
        event_id,
        event_name,
        event_at,
        customer_id,
        visitor_id,
        session_id,
        product_id,
        category_id,
        offer_id,
        campaign_id,
        dwell_seconds,
        order_id,
        line_no,
        quantity,
        amount,
        currency,
        page_url,
        referrer,
        utm_source,
        utm_medium,
        utm_campaign,
        device,
        slice,
        event_key,
        {{ event_slice('event_at') }} as event_slice

    from {{ source('raw', 'clicks_pending') }}
    where slice in (select slice from {{ source('ops', 'pending_slices') }})

),

seen_before as (

    select distinct
        clicks.slice,
        clicks.event_key

    from clicks
    inner join {{ source('ops', 'click_ids') }} as ids
        on clicks.event_key = ids.event_key
        and clicks.slice > ids.slice
        and clicks.slice - interval '3' day <= ids.slice

),

final as (

    select clicks.*

    from clicks
    left join seen_before
        on clicks.slice = seen_before.slice
        and clicks.event_key = seen_before.event_key
    where seen_before.event_key is null

)

select * from final
