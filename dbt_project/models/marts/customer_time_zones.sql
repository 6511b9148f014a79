{{ config(tags=['daily']) }}

select
    customer_id,
    time_zone

from {{ ref('int_customer_time_zones') }}
