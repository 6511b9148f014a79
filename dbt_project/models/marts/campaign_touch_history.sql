{{ config(tags=['daily']) }}

{%- set as_of = as_of_clock(source('ops', 'clock')) %}

with

touches as (

    select
        touch_id,
        campaign_id,
        customer_id,
        channel,
        touched_at,
        is_time_known,
        is_converted,
        converted_at,
        is_control,
        is_randomised,
        expected_conversion

    from {{ ref('stg_campaign_touches') }}
    where valid_from <= {{ as_of }}
        and (valid_to is null or valid_to > {{ as_of }})

),

zones as (

    select
        customer_id,
        time_zone

    from {{ ref('customer_time_zones') }}

),

local_touches as (

    select
        touches.*,
        {{ local_timestamp(
            'touches.touched_at',
            "coalesce(zones.time_zone, " ~ text_literal(var('time_zone')) ~ ")"
        ) }} as local_touched_at

    from touches
    left join zones on touches.customer_id = zones.customer_id

),

final as (

    select
        touch_id,
        campaign_id,
        customer_id,
        channel,
        touched_at,
        is_time_known,
        case when is_time_known then cast(local_touched_at as date) end as local_date,
        case when is_time_known then cast({{ iso_day_of_week('local_touched_at') }} as bigint) end as day_of_week,
        case when is_time_known then cast(extract(hour from local_touched_at) as bigint) end as local_hour,
        is_converted,
        converted_at,
        is_control,
        is_randomised,
        expected_conversion

    from local_touches

)

select * from final
