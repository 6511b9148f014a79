{{ config(tags=['daily']) }}
{%- set as_of = as_of_clock(source('ops', 'clock')) %}

with

lines as (

    select
        customer_id,
        order_id,
        product_id,
        line_no,
        unnumbered_event_key,
        purchased_at,
        amount,
        is_purchase

    from {{ ref('int_purchase_lines') }}

),

-- when a line first came in; reference rows of the first load were known whenever they were made
arrivals as (

    select
        order_id,
        product_id,
        line_no,
        unnumbered_event_key,
        min(known_at) as known_at

    from (
        select
            order_id,
            product_id,
            line_no,
            {{ unnumbered_event_key() }} as unnumbered_event_key,
            slice + interval '{{ var("slice_minutes") }}' minute as known_at

        from {{ ref('int_purchases_by_slice') }}
        where slice < {{ as_of }}

        union all

        select
            order_id,
            product_id,
            line_no,
            cast(null as bigint) as unnumbered_event_key,
            valid_from as known_at

        from {{ ref('stg_purchases') }}
        where valid_from <= {{ as_of }}
    ) as every_arrival
    group by order_id, product_id, line_no, unnumbered_event_key

),

known_lines as (

    select
        l.customer_id,
        l.order_id,
        case when l.is_purchase then 'purchase' else 'return' end as kind,
        l.purchased_at as happened_at,
        greatest(l.purchased_at, a.known_at) as known_at,
        l.amount

    from lines as l
    inner join arrivals as a
        on l.order_id = a.order_id
        and coalesce(l.product_id, '') = coalesce(a.product_id, '')
        and l.line_no = a.line_no
        and coalesce(l.unnumbered_event_key, -1) = coalesce(a.unnumbered_event_key, -1)

),

final as (

    select
        customer_id,
        order_id,
        kind,
        happened_at,
        known_at,
        cast(sum(amount) as decimal(18, 2)) as amount

    from known_lines
    group by customer_id, order_id, kind, happened_at, known_at

)

select * from final
