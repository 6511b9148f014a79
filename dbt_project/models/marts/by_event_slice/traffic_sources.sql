{%- set gap = visit_gap_minutes() | int %}
{{ config(meta={'carries_minutes': gap}) }}

with

activity as (

    select
        event_slice,
        coalesce(visitor_id, customer_id) as visitor,
        utm_source,
        utm_medium,
        device,
        events,
        views,
        -- null in the rows of slices that a version before 0.1.0 wrote and whose raw files retention has removed
        case when last_event_at is not null then coalesce(first_event_at, event_slice) end as first_event_at,
        last_event_at

    from {{ ref('int_sources_by_slice') }}
    where {{ is_rewritten(before=gap, after=gap) }}

),

visitor_slices as (

    select
        event_slice,
        visitor,
        -- a visitor is one browser; who has no visitor_id may use two
        min(case when last_event_at is not null then device end) as device,
        sum(events) as events,
        sum(views) as views,
        min(first_event_at) as first_event_at,
        max(max(last_event_at)) over (
            partition by visitor
            order by event_slice asc nulls last
            rows between unbounded preceding and 1 preceding
        ) as previous_event_at

    from activity
    group by event_slice, visitor

),

named_sources as (

    select
        event_slice,
        visitor,
        utm_source,
        utm_medium,
        row_number() over (
            partition by event_slice, visitor
            order by last_event_at desc nulls last, utm_source asc nulls last, utm_medium asc nulls last, device asc nulls last
        ) as occurrence

    from activity
    where last_event_at is not null
        and (utm_source is not null or utm_medium is not null)

),

visits as (

    select
        v.event_slice,
        v.visitor,
        coalesce(v.device, '(not set)') as device,
        v.events,
        v.views,
        case
            when s.event_slice is null then '(direct)'
            else coalesce(s.utm_source, '(not set)')
        end as utm_source,
        case
            when s.event_slice is null then '(none)'
            else coalesce(s.utm_medium, '(not set)')
        end as utm_medium,
        case when v.first_event_at is not null then 1 else 0 end as visitors,
        case
            when v.first_event_at is null then 0
            when v.first_event_at < v.previous_event_at + interval '{{ gap }}' minute then 0
            else 1
        end as visits,
        row_number() over (
            partition by v.event_slice, v.visitor
            order by s.event_slice desc nulls last
        ) as recency

    from visitor_slices as v
    left join named_sources as s
        on v.visitor = s.visitor
        and v.event_slice >= s.event_slice
        and v.event_slice - interval '{{ gap }}' minute <= s.event_slice
        and s.occurrence = 1

),

visits_of_run as (

    select *
    from visits
    where recency = 1
        and {{ is_rewritten(after=gap) }}

),

-- Free text: what a slice has beyond these is named (other), so that a slice has at most 51 x 11 rows whatever is sent.
kept_sources as (

    select
        event_slice,
        utm_source,
        utm_medium,
        row_number() over (
            partition by event_slice
            order by
                case when utm_source = '(direct)' then 0 else 1 end asc nulls last,
                sum(visitors) desc nulls last,
                sum(events) desc nulls last,
                utm_source asc nulls last,
                utm_medium asc nulls last
        ) as place

    from visits_of_run
    group by event_slice, utm_source, utm_medium

),

kept_devices as (

    select
        event_slice,
        device,
        row_number() over (
            partition by event_slice
            order by sum(visitors) desc nulls last, sum(events) desc nulls last, device asc nulls last
        ) as place

    from visits_of_run
    group by event_slice, device

),

named as (

    select
        v.event_slice,
        v.visitor,
        case when s.place <= 50 then v.utm_source else '(other)' end as utm_source,
        case when s.place <= 50 then v.utm_medium else '(other)' end as utm_medium,
        case when d.place <= 10 then v.device else '(other)' end as device,
        v.visitors,
        v.visits,
        v.events,
        v.views

    from visits_of_run as v
    inner join kept_sources as s
        on v.event_slice = s.event_slice
        and v.utm_source = s.utm_source
        and v.utm_medium = s.utm_medium
    inner join kept_devices as d
        on v.event_slice = d.event_slice
        and v.device = d.device

),

lines as (

    select *
    from {{ ref('int_event_lines') }}
    where {{ is_rewritten(after=gap) }}

),

purchases as (

    select
        named.event_slice,
        named.utm_source,
        named.utm_medium,
        named.device,
        count(distinct case when lines.is_purchase then lines.order_id end) as purchases,
        sum(lines.amount) as revenue

    from lines
    inner join named
        on lines.event_slice = named.event_slice
        and lines.visitor = named.visitor
    group by named.event_slice, named.utm_source, named.utm_medium, named.device

),

final as (

    select
        named.event_slice,
        named.utm_source,
        named.utm_medium,
        named.device,
        cast(sum(named.visitors) as bigint) as visitors,
        cast(sum(named.visits) as bigint) as visits,
        cast(sum(named.events) as bigint) as events,
        cast(sum(named.views) as bigint) as page_and_product_views,
        coalesce(max(purchases.purchases), 0) as purchases,
        cast(coalesce(max(purchases.revenue), 0) as decimal(18, 2)) as revenue,
        cast(sum(named.views) as bigint) as views

    from named
    left join purchases
        on named.event_slice = purchases.event_slice
        and named.utm_source = purchases.utm_source
        and named.utm_medium = purchases.utm_medium
        and named.device = purchases.device
    group by named.event_slice, named.utm_source, named.utm_medium, named.device

)

select * from final
