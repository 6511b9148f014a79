with

rewritten as (

    select event_slice
    from {{ touched_event_slices(after=visit_gap_minutes() | int) }} as touched

),

-- all events of the lines, since a repeat may lie in any slice
order_ids as (

    select order_id
    from {{ ref('int_purchases_by_slice') }}
    where event_slice in (select event_slice from rewritten)

),

lines as (

    {{ first_event_of_each_line(ref('int_purchases_by_slice'), 'order_id in (select order_id from order_ids)') }}

),

final as (

    select
        event_slice,
        order_id,
        product_id,
        offer_id,
        coalesce(visitor_id, customer_id) as visitor,
        amount,
        {{ is_purchase_line() }} as is_purchase

    from lines
    where event_slice in (select event_slice from rewritten)

)

select * from final
