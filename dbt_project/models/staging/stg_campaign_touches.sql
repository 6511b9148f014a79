{{ config(tags=['daily']) }}

select
    touch_id,
    campaign_id,
    customer_id,
    touched_at,
    coalesce(is_time_known, true) as is_time_known,
    channel,
    is_converted,
    converted_at,
    valid_from,
    valid_to

from {{ source('raw', 'campaign_touches') }}
