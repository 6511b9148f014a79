{{ config(tags=['daily']) }}

with

segments as (

    select
        as_of,
        customer_id,
        segment,
        monetary

    from {{ ref('customer_segments_weekly') }}

),

previous as (

    select
        as_of + interval '7' day as as_of,
        customer_id,
        segment,
        monetary

    from segments

),

moves as (

    select
        coalesce(segments.as_of, previous.as_of) as as_of,
        coalesce(previous.segment, '(not known)') as previous_segment,
        coalesce(segments.segment, '(not known)') as segment,
        coalesce(previous.monetary, 0) as previous_monetary,
        coalesce(segments.monetary, 0) as monetary

    from segments
    full outer join previous
        on segments.as_of = previous.as_of
        and segments.customer_id = previous.customer_id

),

-- weeks of which both ends are known
weeks as (

    select distinct segments.as_of
    from segments
    where segments.as_of in (select previous.as_of from previous)

),

final as (

    select
        as_of,
        previous_segment,
        segment,
        count(*) as customers,
        cast(sum(previous_monetary) as decimal(18, 2)) as previous_monetary,
        cast(sum(monetary) as decimal(18, 2)) as monetary

    from moves
    where as_of in (select weeks.as_of from weeks)
    group by as_of, previous_segment, segment

)

select * from final
