{#-
    The segments as of a point; see events.sql for `clock`. One row per customer of `customers`: customer_id, as_of, recency_days,
    frequency, monetary, the four scores and segment, as rfm_segments describes them. `rfm` is rfm_as_of at the same point.
-#}
{% macro rfm_segments_as_of(customers, rfm, segment_grids, clock) -%}
    {%- set as_of = as_of_clock(clock) -%}
    {%- set fewest_buyers = 5 -%}
    with

    customers as (

        select customer_id
        from {{ customers }}

    ),

    rfm as (

        select
            customer_id,
            recency_days,
            frequency,
            monetary

        from {{ rfm }}

    ),

    segment_grid as (

        select
            recency_score,
            fm_score,
            segment

        from {{ segment_grids }}
        where grid = {{ text_literal(var('segment_grid')) }}

    ),

    ranked as (

        select
            customer_id,
            count(*) over () as buyers,
            percent_rank() over (order by recency_days desc nulls first) as recency_rank,
            percent_rank() over (order by frequency asc nulls first) as frequency_rank,
            percent_rank() over (order by monetary asc nulls first) as monetary_rank

        from rfm
        where frequency > 0

    ),

    scored as (

        select
            rfm.customer_id,
            cast(least(5, 1 + floor(5 * coalesce(ranked.recency_rank, 0))) as bigint) as recency_score,
            cast(least(5, 1 + floor(5 * coalesce(ranked.frequency_rank, 0))) as bigint) as frequency_score,
            cast(least(5, 1 + floor(5 * coalesce(ranked.monetary_rank, 0))) as bigint) as monetary_score

        from rfm
        left join ranked on rfm.customer_id = ranked.customer_id
        where rfm.recency_days is not null
            and coalesce(ranked.buyers, {{ fewest_buyers }}) >= {{ fewest_buyers }}

    ),

    combined as (

        select
            customer_id,
            recency_score,
            frequency_score,
            monetary_score,
            cast(floor((frequency_score + monetary_score + 1) / 2.0) as bigint) as fm_score

        from scored

    )

    select
        customers.customer_id,
        {{ as_of }} as as_of,
        rfm.recency_days,
        cast(coalesce(rfm.frequency, 0) as bigint) as frequency,
        cast(coalesce(rfm.monetary, 0) as decimal(18, 2)) as monetary,
        combined.recency_score,
        combined.frequency_score,
        combined.monetary_score,
        combined.fm_score,
        case
            when rfm.recency_days is null then 'Prospect'
            when combined.customer_id is null then 'Unranked'
            else segment_grid.segment
        end as segment

    from customers
    left join rfm on customers.customer_id = rfm.customer_id
    left join combined on customers.customer_id = combined.customer_id
    left join segment_grid
        on combined.recency_score = segment_grid.recency_score
        and combined.fm_score = segment_grid.fm_score
{%- endmacro %}
