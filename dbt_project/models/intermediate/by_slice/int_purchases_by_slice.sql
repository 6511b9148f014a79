select
    slice,
    event_slice,
    event_key,
    event_at as purchased_at,
    customer_id,
    visitor_id,
    order_id,
    product_id,
    coalesce(line_no, 0) as line_no,
    case when line_no is null then coalesce(amount, 0) end as unnumbered_amount,
    category_id,
    offer_id,
    decision_id,
    quantity,
    coalesce(amount, 0) as amount

from {{ ref('stg_clicks') }}
where event_name = 'purchase' and order_id is not null
