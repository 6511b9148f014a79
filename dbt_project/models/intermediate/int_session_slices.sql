{{ config(tags=['daily']) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}
{%- set gap, grace = visit_gap_minutes() | int, session_grace_minutes() | int %}
{%- set columns = ['first_event_at', 'is_late', 'event_slice', 'slice'] %}
{%- set in_order = 'order by ' ~ columns | join(' asc nulls last, ') ~ ' asc nulls last' %}

with

-- no two events of an event slice are a gap apart
activity as (

    select
        s.slice,
        s.event_slice,
        {{ visitor_of('s') }} as visitor,
        case when s.slice > s.event_slice + interval '{{ grace }}' minute then 1 else 0 end as is_late,
        -- null in the rows of slices that a version before 0.1.0 wrote and whose raw files retention has removed
        min(coalesce(s.first_event_at, s.event_slice)) as first_event_at,
        max(s.last_event_at) as last_event_at

    from {{ ref('int_sources_by_slice') }} as s
    where s.last_event_at is not null
        and s.slice < {{ as_of }}
        and s.event_slice < {{ as_of }}
        and s.event_slice >= {{ as_of }} - interval '{{ session_days() | int + 1 }}' day
    group by 1, 2, 3, 4

),

ordered as (

    select
        *,
        max(case when is_late = 0 then last_event_at end) over (
            partition by visitor
            {{ in_order }}
            rows between unbounded preceding and 1 preceding
        ) as previous_event_at,
        min(case when is_late = 0 then first_event_at end) over (
            partition by visitor
            {{ in_order }}
            rows between 1 following and unbounded following
        ) as next_event_at

    from activity

),

beginnings as (

    select
        *,
        max(
            case
                when is_late = 1 or first_event_at < previous_event_at + interval '{{ gap }}' minute then null
                else first_event_at
            end
        ) over (
            partition by visitor
            {{ in_order }}
            rows between unbounded preceding and current row
        ) as last_beginning

    from ordered

),

-- the on-time event after a late one that follows no session begins one
joined as (

    select
        *,
        case
            when is_late = 0 or first_event_at < previous_event_at + interval '{{ gap }}' minute then last_beginning
            when last_event_at > next_event_at - interval '{{ gap }}' minute then next_event_at
        end as began_at

    from beginnings

),

left_over as (

    select
        slice,
        event_slice,
        visitor,
        first_event_at,
        max(last_event_at) over (
            partition by visitor, slice
            order by first_event_at asc nulls last, event_slice asc nulls last
            rows between unbounded preceding and 1 preceding
        ) as previous_event_at

    from joined
    where began_at is null

),

late_sessions as (

    select
        slice,
        event_slice,
        visitor,
        max(
            case when first_event_at < previous_event_at + interval '{{ gap }}' minute then null else first_event_at end
        ) over (
            partition by visitor, slice
            order by first_event_at asc nulls last, event_slice asc nulls last
            rows between unbounded preceding and current row
        ) as began_at

    from left_over

),

final as (

    select
        slice,
        event_slice,
        visitor,
        md5(visitor || '/' || cast(began_at as string)) as session_id

    from joined
    where began_at is not null

    union all

    select
        slice,
        event_slice,
        visitor,
        md5(visitor || '/' || cast(began_at as string) || '/' || cast(slice as string)) as session_id

    from late_sessions

)

select * from final
