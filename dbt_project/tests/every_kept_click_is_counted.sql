{#- Slices with input are not empty: of every rewritten slice, int_activity_by_slice counts the events that were kept. -#}
{{ config(tags=['slice_check']) }}

with

kept as (

    select
        slice,
        count(*) as events

    from {{ ref('stg_clicks') }}
    group by slice

),

counted as (

    select
        slice,
        sum(events) as events

    from {{ ref('int_activity_by_slice') }}
    where slice in (select slice from {{ source('ops', 'pending_slices') }})
    group by slice

)

select
    coalesce(kept.slice, counted.slice) as slice,
    kept.events as kept_events,
    counted.events as counted_events

from kept
full outer join counted on kept.slice = counted.slice
where coalesce(kept.events, 0) <> coalesce(counted.events, 0)
