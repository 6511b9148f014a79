{{ config(tags=['daily']) }}

select
    campaign_id,
    name as campaign_name,
    kind,
    offer_id,
    starts_on as starts_date,
    ends_on as ends_date,
    valid_from,
    valid_to

from {{ source('raw', 'campaigns') }}
