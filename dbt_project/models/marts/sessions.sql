{{ config(tags=['daily']) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}
{%- set final_after = visit_gap_minutes() | int + session_grace_minutes() | int + var('slice_minutes') %}

with

activity as (

    select
        sessions.session_id,
        s.customer_id,
        s.visitor_id,
        s.events,
        s.views,
        -- null, as the page, in the rows of slices that a version before 0.2.0 wrote and whose raw files retention has removed
        coalesce(s.actions, 0) as actions,
        s.entry_page,
        s.entry_page_at,
        -- only events of the contract make a visitor, and say where it comes from and by what device
        case when s.last_event_at is not null then coalesce(s.first_event_at, s.event_slice) end as first_event_at,
        s.last_event_at,
        case when s.last_event_at is not null then s.device end as device,
        case when s.last_event_at is not null then coalesce(s.utm_source, s.utm_medium) end as names_source,
        coalesce(s.utm_source, '(not set)') as utm_source,
        coalesce(s.utm_medium, '(not set)') as utm_medium,
        coalesce(s.utm_campaign, '(not set)') as utm_campaign

    from {{ ref('int_sources_by_slice') }} as s
    inner join {{ ref('int_session_slices') }} as sessions
        on s.slice = sessions.slice
        and s.event_slice = sessions.event_slice
        and {{ visitor_of('s') }} = sessions.visitor

),

keyed as (

    select
        *,
        cast(first_event_at as string) || ' ' || utm_source || ' ' || utm_medium || ' ' || utm_campaign as source_key

    from activity

),

by_session as (

    select
        session_id,
        min(customer_id) as customer_id,
        max(customer_id) as last_customer_id,
        max(visitor_id) as visitor_id,
        min(first_event_at) as started_at,
        max(last_event_at) as ended_at,
        {{ first_of('entry_page', 'entry_page_at') }} filter (where entry_page is not null) as entry_page,
        min_by(utm_source, source_key) filter (where names_source is not null) as utm_source,
        min_by(utm_medium, source_key) filter (where names_source is not null) as utm_medium,
        min_by(utm_campaign, source_key) filter (where names_source is not null) as utm_campaign,
        {{ first_of('device', 'first_event_at') }} filter (where device is not null) as device,
        sum(views) as views,
        sum(actions) as actions,
        sum(events) as events

    from keyed
    group by session_id

),

orders as (

    select
        session_id,
        {{ first_of('order_id', 'ordered_at') }} filter (where orders > 0) as order_id,
        sum(orders) as orders,
        sum(revenue) as revenue

    from {{ ref('int_order_sessions') }}
    where session_id is not null
    group by session_id

),

final as (

    select
        s.session_id,
        s.visitor_id,
        case
            when s.customer_id is null then v.customer_id
            when s.customer_id = s.last_customer_id then s.customer_id
        end as customer_id,
        s.started_at,
        s.ended_at,
        {{ shop_date('s.started_at') }} as local_date,
        coalesce(s.entry_page, '(not set)') as entry_page,
        coalesce(s.utm_source, '(direct)') as utm_source,
        coalesce(s.utm_medium, '(none)') as utm_medium,
        coalesce(s.utm_campaign, '(not set)') as utm_campaign,
        coalesce(s.device, '(not set)') as device,
        cast(s.views as bigint) as page_and_product_views,
        cast(s.events as bigint) as events,
        s.views <= 1 and s.actions = 0 and coalesce(orders.orders, 0) = 0 as is_bounced,
        orders.order_id,
        cast(coalesce(orders.orders, 0) as bigint) as orders,
        cast(coalesce(orders.revenue, 0) as decimal(18, 2)) as revenue,
        s.ended_at + interval '{{ final_after }}' minute <= {{ as_of }} as is_final,
        {{ as_of }} as as_of

    from by_session as s
    left join orders on s.session_id = orders.session_id
    left join {{ ref('int_visitor_customers') }} as v on s.visitor_id = v.visitor_id
    where s.started_at >= {{ as_of }} - interval '{{ session_days() | int }}' day

)

select * from final
