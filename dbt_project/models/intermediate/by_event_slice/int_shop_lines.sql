with

rewritten as (

    {{ event_slices_around(ref('int_touched_event_slices'), after=visit_gap_minutes() | int) }}

),

-- all lines of the orders, since a repeat, and the visit that brought the order, may lie in any slice
order_ids as (

    select order_id
    from {{ ref('int_purchases_by_slice') }}
    where event_slice in (select event_slice from rewritten)

    union

    select order_id
    from {{ source('ops', 'reference_lines') }}
    where event_slice in (select event_slice from rewritten)

),

event_lines as (

    {{ first_event_of_each_line(ref('int_purchases_by_slice'), 'order_id in (select order_id from order_ids)') }}

),

-- the reference table knows no offers
offers as (

    select
        order_id,
        product_id,
        line_no,
        min(offer_id) as offer_id

    from event_lines
    where offer_id is not null
    group by order_id, product_id, line_no

),

reference_lines as (

    select
        r.event_slice,
        r.order_id,
        r.product_id,
        r.line_no,
        offers.offer_id,
        r.amount,
        r.quantity

    from {{ source('ops', 'reference_lines') }} as r
    left join offers
        on {{ is_same_line('r', 'offers') }}
    where r.order_id in (select order_id from order_ids)

),

visits as (

    select
        order_id,
        coalesce(visitor_id, customer_id) as visitor,
        event_slice as visit_slice,
        row_number() over (
            partition by order_id
            order by slice asc nulls last, event_key asc nulls last
        ) as place

    from event_lines

),

lines as (

    {{ lines_of('event_lines', 'reference_lines', [
        'event_slice', 'order_id', 'product_id', 'offer_id', 'amount', 'quantity'
    ]) }}

),

final as (

    select
        lines.event_slice,
        lines.order_id,
        lines.product_id,
        lines.offer_id,
        visits.visitor,
        visits.visit_slice,
        lines.amount,
        {{ is_purchase_line('lines.amount', 'lines.quantity') }} as is_purchase

    from lines
    left join visits
        on lines.order_id = visits.order_id
        and visits.place = 1
    where lines.event_slice in (select event_slice from rewritten)

)

select * from final
