{{ config(tags=['daily']) }}

{%- set as_of = as_of_clock(source('ops', 'clock')) %}
{%- set gap = visit_gap_minutes() %}

with

visitors as (

    select
        visitor_id,
        customer_id

    from {{ ref('int_visitor_customers') }}

),

events as (

    select
        a.campaign_id,
        coalesce(a.customer_id, visitors.customer_id) as customer_id,
        a.activity,
        a.session_id,
        a.first_event_at,
        a.last_event_at

    from {{ ref('int_campaign_activity_by_slice') }} as a
    left join visitors on a.visitor_id = visitors.visitor_id
    where a.slice < {{ as_of }}
        and a.event_slice < {{ as_of }}
        and coalesce(a.customer_id, visitors.customer_id) is not null

),

in_sessions as (

    select
        campaign_id,
        customer_id,
        activity,
        min(first_event_at) as event_at

    from events
    where session_id is not null
    group by campaign_id, customer_id, activity, session_id

),

without_session as (

    select
        campaign_id,
        customer_id,
        activity,
        first_event_at,
        max(last_event_at) over (
            partition by campaign_id, customer_id, activity
            order by first_event_at asc nulls last, last_event_at asc nulls last
            rows between unbounded preceding and 1 preceding
        ) as previous_event_at

    from events
    where session_id is null

),

final as (

    select
        campaign_id,
        customer_id,
        activity,
        event_at

    from in_sessions

    union

    select
        campaign_id,
        customer_id,
        activity,
        first_event_at as event_at

    from without_session
    where previous_event_at is null
        or first_event_at >= previous_event_at + interval '{{ gap }}' minute

)

select * from final
