{{ config(tags=['daily']) }}

select
    offer_id,
    name as offer_name,
    category_id,
    product_id,
    condition,
    priority,
    starts_on as starts_date,
    ends_on as ends_date,
    valid_from,
    valid_to

from {{ source('raw', 'offers') }}
