select
    slice,
    event_slice,
    customer_id,
    visitor_id,
    -- free text: 100 characters of it, so that a producer's error cannot fill the warehouse
    substring(utm_source, 1, 100) as utm_source,
    substring(utm_medium, 1, 100) as utm_medium,
    substring(device, 1, 100) as device,
    count(*) as events,
    count(*) filter (where event_name in ('page_view', 'view_item')) as views,
    min(event_at) filter (where event_name in ({{ quoted_list(var('event_names')) }})) as first_event_at,
    max(event_at) filter (where event_name in ({{ quoted_list(var('event_names')) }})) as last_event_at

from {{ ref('stg_clicks') }}
group by 1, 2, 3, 4, 5, 6, 7
