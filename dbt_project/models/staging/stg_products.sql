select
    product_id,
    name as product_name,
    category_id,
    price,
    valid_from,
    valid_to

from {{ source('raw', 'products') }}
