select
    slice,
    event_slice,
    customer_id,
    visitor_id,
    session_id,
    campaign_id,
    case event_name
        when 'campaign_delivered' then 'delivered'
        when 'campaign_opened' then 'opened'
        else 'clicked'
    end as activity,
    min(event_at) as first_event_at,
    max(event_at) as last_event_at

from {{ ref('stg_clicks') }}
where campaign_id is not null
    and event_name in ({{ quoted_list(var('event_names') + var('campaign_event_names')) }})
group by 1, 2, 3, 4, 5, 6, 7
