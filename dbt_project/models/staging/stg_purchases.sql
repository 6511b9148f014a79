select
    order_id,
    product_id,
    coalesce(line_no, 0) as line_no,
    customer_id,
    category_id,
    purchased_at,
    quantity,
    amount,
    valid_from,
    valid_to

from {{ source('raw', 'purchases') }}
