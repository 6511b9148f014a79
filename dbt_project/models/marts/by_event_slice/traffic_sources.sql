{%- set gap = visit_gap_minutes() | int %}
{{ config(meta={'carries_minutes': gap}) }}

with

lines as (

    select *
    from {{ ref('int_shop_lines') }}
    where {{ is_rewritten(after=gap) }}

),
{%- if is_incremental() %}

-- an order counts for the visit that brought it, which may lie in any slice
visit_slices as (

    select visit_slice as event_slice
    from lines
    where visit_slice is not null

    union

    select event_slice
    from {{ touched_event_slices(after=gap) }} as touched

),
{%- endif %}

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
    {%- if is_incremental() %}
    where event_slice in ({{ event_slices_around('visit_slices', before=gap) }})
    {%- endif %}

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

-- once per slice that it reaches, to be joined by equality: a range of times compares each slice of a visitor with all of its
-- others (a till that sends a source all year: 38,400 slices, 3.4 CPU seconds instead of .02)
reaching_sources as (
    {%- for minutes in range(0, gap + 1, var('event_slice_minutes')) %}
    select
        event_slice,
        event_slice + interval '{{ minutes }}' minute as reached_slice,
        visitor,
        utm_source,
        utm_medium

    from named_sources
    where occurrence = 1
    {%- if not loop.last %}

    union all
    {% endif %}
    {%- endfor %}

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
    left join reaching_sources as s
        on v.visitor = s.visitor
        and v.event_slice = s.reached_slice

),

last_sources as (

    select *
    from visits
    where recency = 1

),

-- visits of the slices that are written, and orders: one row each
visits_and_orders as (

    select
        event_slice,
        utm_source,
        utm_medium,
        device,
        visitors,
        visits,
        events,
        views,
        cast(null as string) as order_id,
        cast(0 as decimal(18, 2)) as amount

    from last_sources
    where {{ is_rewritten(after=gap) }}

    union all

    select
        lines.event_slice,
        coalesce(last_sources.utm_source, '(no visit)') as utm_source,
        coalesce(last_sources.utm_medium, '(no visit)') as utm_medium,
        coalesce(last_sources.device, '(no visit)') as device,
        0 as visitors,
        0 as visits,
        0 as events,
        0 as views,
        case when lines.is_purchase then lines.order_id end as order_id,
        lines.amount

    from lines
    left join last_sources
        on lines.visit_slice = last_sources.event_slice
        and lines.visitor = last_sources.visitor

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
                case when utm_source in ('(direct)', '(no visit)') then 0 else 1 end asc nulls last,
                sum(visitors) desc nulls last,
                sum(events) desc nulls last,
                utm_source asc nulls last,
                utm_medium asc nulls last
        ) as place

    from visits_and_orders
    group by event_slice, utm_source, utm_medium

),

kept_devices as (

    select
        event_slice,
        device,
        row_number() over (
            partition by event_slice
            order by
                case when device = '(no visit)' then 0 else 1 end asc nulls last,
                sum(visitors) desc nulls last,
                sum(events) desc nulls last,
                device asc nulls last
        ) as place

    from visits_and_orders
    group by event_slice, device

),

named as (

    select
        v.event_slice,
        case when s.place <= 50 then v.utm_source else '(other)' end as utm_source,
        case when s.place <= 50 then v.utm_medium else '(other)' end as utm_medium,
        case when d.place <= 10 then v.device else '(other)' end as device,
        v.visitors,
        v.visits,
        v.events,
        v.views,
        v.order_id,
        v.amount

    from visits_and_orders as v
    inner join kept_sources as s
        on v.event_slice = s.event_slice
        and v.utm_source = s.utm_source
        and v.utm_medium = s.utm_medium
    inner join kept_devices as d
        on v.event_slice = d.event_slice
        and v.device = d.device

),

final as (

    select
        event_slice,
        utm_source,
        utm_medium,
        device,
        cast(sum(visitors) as bigint) as visitors,
        cast(sum(visits) as bigint) as visits,
        cast(sum(events) as bigint) as events,
        cast(sum(views) as bigint) as page_and_product_views,
        count(distinct order_id) as purchases,
        cast(sum(amount) as decimal(18, 2)) as revenue,
        cast(sum(views) as bigint) as views

    from named
    group by event_slice, utm_source, utm_medium, device

)

select * from final
