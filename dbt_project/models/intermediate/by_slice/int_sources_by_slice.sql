{%- set entry_page = 'substring(' ~ url_without_query('page_url') ~ ', 1, 200)' -%}
{%- set names_a_page = "where page_url <> '' and event_name in (" ~ quoted_list(var('event_names')) ~ ')' -%}
select
    slice,
    event_slice,
    customer_id,
    visitor_id,
    -- free text: 100 characters of it, so that a producer's error cannot fill the warehouse
    substring(utm_source, 1, 100) as utm_source,
    substring(utm_medium, 1, 100) as utm_medium,
    substring(utm_campaign, 1, 100) as utm_campaign,
    substring(device, 1, 100) as device,
    count(*) as events,
    count(*) filter (where event_name in ('page_view', 'view_item')) as views,
    count(*) filter (
        where event_name in ('add_to_cart', 'remove_from_cart', 'begin_checkout', 'purchase', 'select_promotion')
    ) as actions,
    min(event_at) filter (where event_name in ({{ quoted_list(var('event_names')) }})) as first_event_at,
    max(event_at) filter (where event_name in ({{ quoted_list(var('event_names')) }})) as last_event_at,
    min(event_at) filter ({{ names_a_page }}) as entry_page_at,
    {{ first_of(entry_page, 'event_at') }} filter ({{ names_a_page }}) as entry_page

from {{ ref('stg_clicks') }}
group by 1, 2, 3, 4, 5, 6, 7, 8
