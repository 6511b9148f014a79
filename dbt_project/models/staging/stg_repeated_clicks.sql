{{ config(materialized='table') }}

select distinct
    clicks.slice,
    clicks.event_key

from {{ source('raw', 'clicks_pending') }} as clicks
inner join {{ source('ops', 'click_ids') }} as ids
    on clicks.event_key = ids.event_key
    and clicks.slice > ids.slice
    and clicks.slice - interval '3' day <= ids.slice
where clicks.slice in (select slice from {{ source('ops', 'pending_slices') }})
