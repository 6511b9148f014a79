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
    coalesce(is_control, false) as is_control,
    coalesce(is_randomised, false) as is_randomised,
    expected_conversion,
    valid_from,
    valid_to

from {{ source('raw', 'campaign_touches') }}
