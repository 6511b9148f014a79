select distinct
    slice,
    visitor_id,
    customer_id

from {{ ref('stg_clicks') }}
where visitor_id is not null and customer_id is not null and event_name in ({{ quoted_list(var('event_names')) }})
