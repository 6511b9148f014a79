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
        decision_id,
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

final as (

    select clicks.*

    from clicks
    left join {{ ref('stg_repeated_clicks') }} as repeated
        on clicks.slice = repeated.slice
        and clicks.event_key = repeated.event_key
    where repeated.event_key is null

)

select * from final
