select
    slice,
    event_slice,
    customer_id,
    visitor_id,
    offer_id,
    decision_id,
    count(*) filter (where event_name = 'view_promotion') as shown,
    count(*) filter (where event_name = 'select_promotion') as clicked

from {{ ref('stg_clicks') }}
where offer_id is not null and event_name in ({{ quoted_list(var('event_names')) }})
group by slice, event_slice, customer_id, visitor_id, offer_id, decision_id
