{{ config(tags=['daily']) }}

select
    category_id,
    name as category_name,
    valid_from,
    valid_to

from {{ source('raw', 'categories') }}
