{{ config(tags=['daily']) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}
{%- set look_back = attribution_days() | int %}
{%- set first_moment = as_of ~ " - interval '" ~ path_days() ~ "' day" %}

with

touches as (

    select
        session_id,
        coalesce(customer_id, visitor_id) as person,
        started_at,
        local_date,
        orders,
        {{ channel_name('utm_source', 'utm_medium', 'utm_campaign') }} as channel,
        lag(started_at) over (
            partition by coalesce(customer_id, visitor_id)
            order by started_at asc nulls last, session_id asc nulls last
        ) as previous_started_at,
        lag(orders) over (
            partition by coalesce(customer_id, visitor_id)
            order by started_at asc nulls last, session_id asc nulls last
        ) as previous_orders

    from {{ ref('sessions') }}

),

journeys as (

    select
        session_id,
        person,
        started_at,
        local_date,
        orders,
        channel,
        sum(
            case
                when previous_orders = 0 and started_at < previous_started_at + interval '{{ look_back }}' day then 0
                else 1
            end
        ) over (
            partition by person
            order by started_at asc nulls last, session_id asc nulls last
            rows between unbounded preceding and current row
        ) as journey_no

    from touches

),

numbered as (

    select
        *,
        row_number() over (
            partition by person, journey_no
            order by started_at asc nulls last, session_id asc nulls last
        ) as touch_no,
        max(orders) over (partition by person, journey_no) as journey_orders,
        count(*) over (partition by person, journey_no) as journey_touches

    from journeys

),

-- where a path ends: at each session that an order is of, and at the last one of a journey without an order
path_ends as (

    select
        session_id,
        person,
        journey_no,
        touch_no,
        started_at,
        local_date,
        case when journey_orders = 0 and touch_no = journey_touches then 1 else 0 end as journeys_without_order

    from numbered
    where (journey_orders = 0 and touch_no = journey_touches)
        or session_id in (
            select session_id
            from {{ ref('int_order_sessions') }}
            where session_id is not null
        )

),

paths as (

    select
        e.session_id,
        e.local_date,
        e.started_at,
        e.journeys_without_order,
        {{ joined_in_order('n.channel', ' > ', 'n.touch_no') }} as path,
        count(*) as touches

    from path_ends as e
    inner join numbered as n
        on e.person = n.person
        and e.journey_no = n.journey_no
        and n.touch_no between e.touch_no - 99 and e.touch_no
        and n.started_at >= e.started_at - interval '{{ look_back }}' day
    group by 1, 2, 3, 4

),

every_path as (

    select
        {{ shop_date('o.ordered_at') }} as local_date,
        coalesce(paths.path, '(no visit)') as path,
        coalesce(paths.touches, 0) as touches,
        o.orders,
        o.revenue,
        0 as journeys_without_order

    from {{ ref('int_order_sessions') }} as o
    left join paths on o.session_id = paths.session_id
    where o.ordered_at >= {{ first_moment }}

    union all

    select
        local_date,
        path,
        touches,
        0 as orders,
        cast(0 as decimal(18, 2)) as revenue,
        journeys_without_order

    from paths
    where journeys_without_order = 1
        and started_at >= {{ first_moment }}

),

final as (

    select
        local_date,
        path,
        cast(touches as bigint) as touches,
        cast(sum(orders) as bigint) as orders,
        cast(sum(revenue) as decimal(18, 2)) as revenue,
        cast(sum(journeys_without_order) as bigint) as journeys_without_order,
        {{ as_of }} as as_of

    from every_path
    group by 1, 2, 3

)

select * from final
