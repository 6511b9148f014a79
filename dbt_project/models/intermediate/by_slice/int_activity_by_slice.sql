select
    slice,
    event_slice,
    customer_id,
    visitor_id,
    product_id,
    category_id,
    count(*) as events,
    count(*) filter (where event_name = 'page_view') as page_views,
    count(*) filter (where event_name = 'view_item') as views,
    -- decimal, so that sums do not depend on their order; capped, so that a producer's error cannot overflow it
    cast(
        coalesce(
            sum(cast(least(coalesce(dwell_seconds, 0), 1000000000) as decimal(18, 6))) filter (where event_name = 'view_item'),
            0
        ) as decimal(28, 6)
    ) as dwell_seconds,
    count(*) filter (where event_name = 'add_to_cart') as carts,
    count(*) filter (where event_name = 'remove_from_cart') as removals,
    count(*) filter (where event_name = 'begin_checkout') as checkouts,
    count(*) filter (where event_name = 'view_promotion') as offers_shown,
    count(*) filter (where event_name = 'select_promotion') as offers_clicked,
    min(event_at) filter (where event_name in ({{ quoted_list(var('event_names')) }})) as first_event_at,
    max(event_at) filter (where event_name in ({{ quoted_list(var('event_names')) }})) as last_event_at

from {{ ref('stg_clicks') }}
group by slice, event_slice, customer_id, visitor_id, product_id, category_id
